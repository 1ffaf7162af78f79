//! One clock for all ledgers of a node.
//!
//! | file | what it is |
//! |---|---|
//! | [`ticker`] | one clock for all ledgers of a node, in place of openraft's for each |
//! | [`idle`] | when the leader of an idle ledger may leave out a heartbeat |

mod idle;
pub(crate) mod ticker;
