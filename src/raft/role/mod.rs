//! Raft's state as the broker's role.
//!
//! | file | what it is |
//! |---|---|
//! | [`task`] | the task that turns Raft's state into the broker's role |
//! | [`tenure`] | since when this node has been the master |
//! | [`standing`] | whether a node hears its leader, is a member still, and why it waits |

pub(crate) mod standing;
pub(crate) mod task;
pub(crate) mod tenure;
