//! Waiting for a master that did not come.

use std::time::Duration;

use crate::types::Member;

/// No master was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMasterError {
    /// There was no master in time. One may come yet.
    #[error("no master within {waited:?}: {}", absent(waiting.as_ref()))]
    TimedOut {
        /// How long the call waited.
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
        /// What closed it.
        reason: String,
    },
}

pub(super) fn absent(waiting: Option<&String>) -> &str {
    waiting.map_or("check that a quorum of the members is up and reachable", String::as_str)
}

pub(super) fn known(master: &Option<Member>) -> String {
    match master {
        Some(m) => format!("{} at {} is", m.id, m.address),
        None => "none is known".into(),
    }
}
