//! The cluster that a client command talks to.
//!
//! | file | what it is |
//! |---|---|
//! | `target` | [`Target`]: the options that say which ledger and which peers |
//! | `roster` | asks the peers, and the members that the peers name |
//! | `clusters` | whether all nodes that answered are of one cluster |
//! | `reach` | whether a member answers where the membership has it |

pub(crate) mod clusters;
pub(crate) mod reach;
pub(crate) mod roster;
#[allow(clippy::module_inception, reason = "the folder has the name of its main type")]
mod target;

pub(crate) use target::Target;
