//! Writing entries, and the room that they need.
//!
//! | file | what it is |
//! |---|---|
//! | [`admission`] | the answer to an entry that is to be stored |
//! | [`capacity`] | [`Capacity`](capacity::Capacity): whether entries can be stored, asked before Raft sees them |
//! | [`spare`] | the segment file prepared ahead |
//! | [`sparse`] | a copied segment whose blocks are not all there |
//! | [`writer`] | append, roll, truncate |

pub(crate) mod admission;
pub(crate) mod capacity;
pub(crate) mod spare;
pub(crate) mod sparse;
pub(crate) mod writer;
