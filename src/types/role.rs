//! The broker role that follows from the Raft role.

use super::Member;

/// What a node is for one ledger, as the program that embeds it sees it.
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
        /// Which node says so, and what to do.
        reason: String,
    },
    /// The ledger was stopped on this node, in good order: by [`Node::shutdown`](crate::Node::shutdown), by
    /// [`Node::remove_ledger`](crate::Node::remove_ledger), because the last handle of its node was dropped, or with
    /// the runtime that it ran on. Nothing is wrong with it.
    Stopped,
    /// The ledger failed on this node, or could not be opened. A restart of the node may open it.
    Closed {
        /// What can be done about it.
        kind: ClosedKind,
        /// What closed it.
        reason: String,
    },
}

/// Who leads, as it is known from afar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// The term it is master of. Of two masters, the one of the higher term is the newer.
    pub term: u64,
    /// Which node it is, and where.
    pub member: Member,
}

/// What closed a ledger, as far as it decides what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosedKind {
    /// Stored bytes are not what was written. They can be had from the other replicas:
    /// [`RepairPolicy::FromPeers`](crate::RepairPolicy::FromPeers), `dledger log repair`.
    Damaged,
    /// The operating system failed a call, so only a restart can tell what the disk holds. Check the disk.
    Storage,
    /// The disk is full, or the process has no file descriptor or no memory mapping left, at a point where the ledger
    /// needs one to go on. It goes on after a restart, once there is room.
    Exhausted,
    /// Another process has the directory open, or another [`Node`](crate::Node) of this one. The node opens the ledger
    /// as soon as the directory is free.
    InUse,
    /// What is configured, or the version of this program, does not fit what is there.
    Refused,
    /// A bug: something happened that should not be able to. What is on the disk is as safe as it was.
    Internal,
    /// A node of another version, asked from afar, tells no more than the reason.
    Untold,
}

/// Why nothing more comes of a ledger that was [stopped](Role::Stopped).
const STOPPED: &str = "it was stopped: the node was shut down, or hosts it no more";

impl Role {
    /// Whether this is [`Role::Master`].
    pub fn is_master(&self) -> bool {
        matches!(self, Role::Master { .. })
    }

    /// The term it is of, unless the ledger is stopped or closed.
    pub fn term(&self) -> Option<u64> {
        match self {
            Role::Electing { term } | Role::Master { term } | Role::Slave { term, .. } | Role::Removed { term, .. } => {
                Some(*term)
            }
            Role::Stopped | Role::Closed { .. } => None,
        }
    }

    /// Whether this role is the last one: the ledger is [stopped](Role::Stopped) or [closed](Role::Closed), and this
    /// handle of it is of no more use.
    pub fn is_final(&self) -> bool {
        matches!(self, Role::Stopped | Role::Closed { .. })
    }

    /// Why the ledger is closed or stopped on the node, or the node removed from it; `None` for the other roles.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Role::Removed { reason, .. } => Some(reason),
            _ => self.final_reason(),
        }
    }

    /// Why this role [is the last one](Role::is_final).
    pub(crate) fn final_reason(&self) -> Option<&str> {
        match self {
            Role::Stopped => Some(STOPPED),
            Role::Closed { reason, .. } => Some(reason),
            Role::Electing { .. } | Role::Master { .. } | Role::Slave { .. } | Role::Removed { .. } => None,
        }
    }

    /// One word for tables and messages: `master`, `slave`, `electing`, `removed`, `stopped`, `closed`.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Electing { .. } => "electing",
            Role::Master { .. } => "master",
            Role::Slave { .. } => "slave",
            Role::Removed { .. } => "removed",
            Role::Stopped => "stopped",
            Role::Closed { .. } => "closed",
        }
    }
}
