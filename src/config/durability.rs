//! What an ack means for the disks.

use std::time::Duration;

/// What an ack means for the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// An ack means: fsynced on a quorum. Survives power loss of all nodes at once.
    #[default]
    Sync,
    /// An ack means: in the page cache of a quorum, and fsynced within this interval. Survives the death of all
    /// processes. A loss of power within the interval can lose acknowledged records: on a quorum of nodes at once, or
    /// on one node while another that has them is out of reach of the next election. This is DLedger's and Kafka's
    /// bargain. Votes are fsynced all the same.
    Interval(Duration),
}
