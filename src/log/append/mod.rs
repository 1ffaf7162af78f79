//! Writing entries, and the room that they need.
//!
//! | file | what it is |
//! |---|---|
//! | [`admission`] | whether entries can be stored, asked before Raft sees them |
//! | [`spare`] | the segment file prepared ahead |
//! | [`writer`] | append, roll, truncate |

pub(crate) mod admission;
pub(crate) mod spare;
pub(crate) mod writer;
