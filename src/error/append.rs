//! Appends that did not end with an ack, and whether their records can be in the log.

use std::time::Duration;

use super::master::{absent, known};
use crate::types::{Member, Span};

/// An append did not end with an ack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Refused: another node is the master.
    #[error("this node is not the master ({}): append there", known(master))]
    NotMaster {
        /// The master, if known.
        master: Option<Member>,
    },
    /// Refused: the leadership under which they were to be appended is over.
    #[error("the leadership of term {term} is over: decide again as master of another term, or leave it to the master")]
    TermOver {
        /// The term.
        term: u64,
    },
    /// Refused: no master took the records up within the deadline: there was none, or it had too much to do.
    #[error(
        "no master took the records up within {}: {}. Then append again",
        Span(*waited),
        absent(waiting.as_ref())
    )]
    NoMaster {
        /// How long the append waited.
        waited: Duration,
        /// Why there is no master, as far as the node can tell, and what to do.
        waiting: Option<String>,
    },
    /// Refused: over the limit.
    #[error("{what} of {size} bytes is over the limit of {limit}: split it, or raise the limit on all nodes")]
    TooLarge {
        /// Record or batch.
        what: &'static str,
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// Refused: a batch without records has no index.
    #[error("the batch is empty: append at least one record")]
    EmptyBatch,
    /// Refused: too many bytes are in flight; at once by [`try_submit`](crate::Ledger::try_submit), after its timeout
    /// by the others.
    #[error("{inflight_limit} bytes are in flight already: append again later, or use the waiting append")]
    Busy {
        /// The limit, bytes.
        inflight_limit: usize,
    },
    /// Refused: the master's disk has no room for another segment file, and those that it has are full. Reads, votes
    /// and changes of the membership go on. As soon as there is room the master takes appends again, without a restart.
    #[error(
        "the master has no room for more records ({reason}): free space on its disk, remove old records, or have a \
         node lead that has room (`dledger transfer`), then append again"
    )]
    DiskFull {
        /// What there is no room for, and what the operating system said.
        reason: String,
    },
    /// Refused: the master's process has no file descriptor or no memory mapping left for another segment, and those
    /// that it has are full. Its disk is sound. Once the process has both, the master takes appends again, without a
    /// restart.
    #[error(
        "the master's process can open or map no further file ({reason}): raise its limit of open files (ulimit -n) or \
         vm.max_map_count, or close what uses them up, then append again"
    )]
    Exhausted {
        /// What is missing, and what the operating system said.
        reason: String,
    },
    /// Refused: the ledger was closed on this node before the records reached it.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// What closed it.
        reason: String,
    },
    /// Unknown: the records may be in the log.
    #[error("the outcome is unknown ({reason}): look for the records before appending them again")]
    Unknown {
        /// Why the outcome is not known.
        reason: String,
    },
}

impl AppendError {
    /// Whether the records can be in the log.
    pub fn outcome(&self) -> Outcome {
        match self {
            AppendError::Unknown { .. } => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }
}

/// What is known of the records of a failed append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They are not in the log and never will be: safe to append again.
    Refused,
    /// They may or may not be in the log: appending again may write them twice.
    Unknown,
}
