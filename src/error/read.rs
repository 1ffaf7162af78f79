//! Reads that did not end with records.

use std::time::Duration;

use super::Damage;
use crate::types::{Consistency, Span};

/// A read did not end with records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The index is not committed yet.
    #[error("index {index} is not there yet: this node has committed up to {committed}. Read again later, or use tail")]
    NotYet {
        /// The index asked for.
        index: u64,
        /// Index after the last committed record.
        committed: u64,
    },
    /// Retention has removed the index.
    #[error("index {index} has been removed: the first one stored is {first}. Go on from there")]
    Removed {
        /// The index asked for.
        index: u64,
        /// Lowest index still stored.
        first: u64,
    },
    /// The stored bytes are damaged; they are not served.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// This node could not make sure in time that it has all that the read must see: there is no leader, the leader has
    /// no quorum, or this node is behind. The node fails the read rather than give an answer that may be stale.
    #[error(
        "no {consistency} read within {} ({reason}): check that a quorum of the members is up and reachable and read \
         again, or be content with what this node has (local)",
        Span(*waited)
    )]
    Unconfirmed {
        /// The consistency that was asked for.
        consistency: Consistency,
        /// How long the node tried.
        waited: Duration,
        /// What was missing last.
        reason: String,
    },
    /// This node's disk is a member no more ([`Role::Removed`](crate::Role::Removed)): no further record comes here.
    /// The records that it has can still be read.
    #[error("no further record comes to this node ({reason}): go on at a member")]
    NoMember {
        /// Who says so, and what to do.
        reason: String,
    },
    /// No committed record begins at the position.
    #[error("no committed record begins at position {position}: {}", neighbours(*before, *after))]
    NoRecordAt {
        /// The position asked for.
        position: u64,
        /// The nearest position before it at which a record begins. `None`: retention has removed the records before
        /// it, if there were any.
        before: Option<u64>,
        /// The nearest position behind it at which a record begins. `None`: nothing is committed there yet.
        after: Option<u64>,
    },
    /// The ledger is closed on this node.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// What closed it.
        reason: String,
    },
}

fn neighbours(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("the nearest ones begin at {before} and {after}"),
        (Some(before), None) => format!("the last one begins at {before}"),
        (None, Some(after)) => format!("the first one stored begins at {after}"),
        (None, None) => "none is stored".into(),
    }
}
