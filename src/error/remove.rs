//! Records that were not removed.

use std::time::Duration;

use super::Damage;
use crate::types::Span;

/// Records were not removed. The node may still have all of those that were to go; it has changed nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The index is above what this node knows to be committed.
    #[error(
        "cannot remove what is below index {index}: this node has committed up to {committed}. Name that one at most"
    )]
    NotCommitted {
        /// The index that was named.
        index: u64,
        /// Index after the last committed record.
        committed: u64,
    },
    /// The removal did not end in time: this node is the master and still sends the records to other nodes, or it is
    /// very slow. The removal may yet happen.
    #[error("not removed within {}: it is in use, or the node is very slow. Try again", Span(*waited))]
    Busy {
        /// How long the call waited.
        waited: Duration,
    },
    /// An entry where the log is to begin cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The ledger is closed on this node.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// What closed it.
        reason: String,
    },
}
