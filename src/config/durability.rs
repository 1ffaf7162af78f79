//! What an ack means for the disks.

use std::time::Duration;

/// What an ack means for the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// An ack means: fsynced on a quorum. Survives power loss of all nodes at once.
    #[default]
    Sync,
    /// An ack means: in the page cache of a quorum, and fsynced within this interval. Survives the death of all
    /// processes. A power loss within the interval can lose acknowledged records: if it hits a quorum of nodes at once,
    /// or one node while another node that has the records cannot take part in the next election. DLedger and Kafka
    /// make the same bargain. Votes are fsynced all the same.
    Interval(Duration),
}
