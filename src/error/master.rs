//! Waiting for a master that did not come.

use std::time::Duration;

use super::absent;

/// No master was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMasterError {
    /// There was none in time. One may come yet.
    #[error("no master within {waited:?}: {}", absent(waiting.as_ref()))]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// Who is missing, as far as the node can tell, and what to do.
        waiting: Option<String>,
    },
    /// This node's disk is a member no more ([`Role::Removed`](crate::Role::Removed)).
    #[error("this node will have no master: {reason}")]
    Removed {
        /// Who says so, and what to do.
        reason: String,
    },
    /// The ledger is stopped or closed on this node.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// The first reason.
        reason: String,
    },
}
