//! Raft's state as the broker's role.
//!
//! | file | what it is |
//! |---|---|
//! | [`task`] | the task that turns Raft's state into the broker's role |
//! | [`decide`] | the role that openraft's state means, and whether this node may ask for votes |
//! | [`listener`] | whether the leader is heard |
//! | [`view`] | the cluster as this node shows it |
//! | [`tenure`] | since when this node has been the master |
//! | [`standing`] | whether a node hears its leader, is a member still, and why it waits |

mod decide;
mod listener;
pub(crate) mod standing;
pub(crate) mod task;
pub(crate) mod tenure;
pub(crate) mod view;
