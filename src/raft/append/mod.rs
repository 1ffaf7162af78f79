//! From an append that waits to a batch that is committed.
//!
//! | file | what it is |
//! |---|---|
//! | [`proposer`] | the task that turns waiting appends into batches |
//! | [`disk_admission`] | keeps entries away from Raft for which the log has no room |
//! | [`waiter`] | one append that waits for its outcome |
//! | [`inflight`] | a batch on its way through Raft, with the appends that wait for it |
//! | [`responder`] | how openraft tells the outcome of a batch |
//! | [`window`] | the batches in flight, and when the next one may follow |

pub(crate) mod disk_admission;
pub(crate) mod inflight;
pub(crate) mod proposer;
pub(crate) mod responder;
pub(crate) mod waiter;
pub(crate) mod window;
