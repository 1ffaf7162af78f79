//! Writing entries, and the room that entries need.
//!
//! | file | what it is |
//! |---|---|
//! | [`admission`] | [`Admission`](admission::Admission): whether there is room for a batch |
//! | [`capacity`] | [`Capacity`](capacity::Capacity): whether entries can be stored, asked before Raft sees them |
//! | [`spare`] | the segment file prepared ahead |
//! | [`sparse`] | [`Sparse`](sparse::Sparse): a copied active segment that lacks blocks |
//! | [`writer`] | append, roll, truncate |

pub(crate) mod admission;
pub(crate) mod capacity;
pub(crate) mod spare;
pub(crate) mod sparse;
pub(crate) mod writer;
