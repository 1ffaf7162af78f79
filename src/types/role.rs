//! The broker role that follows from the Raft role.

use super::Member;

/// What a node is for one ledger, as the broker that embeds it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// No master is known, or none has been heard for so long that another is to be elected; or this node leads but
    /// has not committed an entry of its own term yet, or has lost sight of the quorum. What it waits for, where that
    /// lasts: [`Status::waiting`](crate::Status::waiting).
    Electing {
        /// Current term.
        term: u64,
    },
    /// This node is the master: it has committed an entry of its own term, so it holds every committed record, and it
    /// has heard from a quorum within the lease (the upper election timeout).
    Master {
        /// The term it is master of.
        term: u64,
    },
    /// Another node leads.
    Slave {
        /// Current term.
        term: u64,
        /// The node that leads.
        master: Member,
    },
    /// This node's disk was a member and is none any more. It gets no more records; those that it has can be read. It
    /// does not come back: with an empty directory, the node can be added as a new one.
    Removed {
        /// Current term.
        term: u64,
        /// Who says so, and what to do.
        reason: String,
    },
    /// The ledger is closed on this node and will not come back without a restart.
    Closed {
        /// The first reason.
        reason: String,
    },
}

impl Role {
    /// Whether this is [`Role::Master`].
    pub fn is_master(&self) -> bool {
        matches!(self, Role::Master { .. })
    }

    /// The term it is of, unless the ledger is closed.
    pub fn term(&self) -> Option<u64> {
        match self {
            Role::Electing { term } | Role::Master { term } | Role::Slave { term, .. } | Role::Removed { term, .. } => {
                Some(*term)
            }
            Role::Closed { .. } => None,
        }
    }

    /// One word for tables and messages: `master`, `slave`, `electing`, `removed`, `closed`.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Electing { .. } => "electing",
            Role::Master { .. } => "master",
            Role::Slave { .. } => "slave",
            Role::Removed { .. } => "removed",
            Role::Closed { .. } => "closed",
        }
    }
}
