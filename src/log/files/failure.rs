//! Why a log takes no further write.

use std::io;

use crate::disk::is_transient;
use crate::types::{ClosedKind, Role};

/// Why a log takes no further write. The first reason stays for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The node closed or abandoned the log.
    Ended,
    /// The log failed.
    Failed {
        /// What the operator can do about it.
        kind: ClosedKind,
        /// What happened.
        reason: String,
    },
}

impl Failure {
    /// The failure that a failed system call leads to.
    pub(in crate::log) fn of(error: &io::Error, reason: String) -> Self {
        let kind = match error.kind() {
            _ if is_transient(error) => ClosedKind::Exhausted,
            // The log itself refuses with these kinds, and only what a working Raft never asks for.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => ClosedKind::Internal,
            _ => ClosedKind::Storage,
        };
        Self::Failed { kind, reason }
    }

    /// The reason, for log lines and errors.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Ended => "the log is closed",
            Self::Failed { reason, .. } => reason,
        }
    }

    /// The role of a ledger whose log failed like this.
    pub(crate) fn role(&self) -> Role {
        match self.clone() {
            Self::Ended => Role::Stopped,
            Self::Failed { kind, reason } => Role::Closed { kind, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_it_follows_from_what_the_system_said() {
        let kind = |error: io::Error| match Failure::of(&error, "why".into()) {
            Failure::Failed { kind, .. } => kind,
            Failure::Ended => panic!("it failed"),
        };
        for full in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::MFILE] {
            assert_eq!(kind(full.into()), ClosedKind::Exhausted);
        }
        assert_eq!(kind(rustix::io::Errno::IO.into()), ClosedKind::Storage);
        assert_eq!(kind(io::ErrorKind::InvalidData.into()), ClosedKind::Internal);
    }
}
