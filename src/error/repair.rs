//! Damage that could not be repaired.

use std::path::PathBuf;

use super::{Mismatch, OpenError};

/// A damaged directory could not be repaired. What was there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The directory cannot be read, or what is damaged exists on no other node, like a vote.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What a peer sent does not continue this log.
    #[error("what it sent does not fit: {0}")]
    Differs(Mismatch),
    /// The peer does not know yet what is committed where the damage is.
    #[error(
        "it has committed {committed} entries, and what is committed at position {position} (index {index}) is not \
         settled yet: try again when a master has committed more"
    )]
    NotSettled {
        /// Where the damage is.
        position: u64,
        /// Index of the first record there.
        index: u64,
        /// How many entries the peer has committed.
        committed: u64,
    },
    /// The repaired file of a segment does not hold what the repair wrote to it.
    #[error("{} was written and does not hold what it should ({found}): check the disk", file.display())]
    Unverified {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: String,
    },
    /// No peer could help.
    #[error("no peer could repair it: {}", said(peers))]
    NoPeer {
        /// The address of each peer, and why it could not help.
        peers: Vec<(String, String)>,
    },
}

fn said(peers: &[(String, String)]) -> String {
    if peers.is_empty() {
        return "there is none".into();
    }
    peers.iter().map(|(peer, why)| format!("{peer}: {why}")).collect::<Vec<_>>().join("; ")
}
