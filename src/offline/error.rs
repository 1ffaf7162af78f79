//! Why a tool did not do what it was asked to do.

use std::path::PathBuf;

use crate::error::{Mismatch, OpenError};

/// A tool could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The directory cannot be opened: it is in use, it has a later format version, or the system fails; or the tool
    /// needs a file that is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Not the directory of a ledger.
    #[error("{} is not the directory of a ledger: {why}", dir.display())]
    NoLedger {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file that is needed for this is damaged.
    #[error("{} is damaged ({}: found {}, expected {}): restore this node from another replica",
        file.display(), mismatch.what, mismatch.found, mismatch.expected)]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is there, and what should be.
        mismatch: Mismatch,
    },
    /// Two directories hold different ledgers.
    #[error("these are not two replicas of one ledger: {what} is {left} in {} and {right} in {}",
        left_dir.display(), right_dir.display())]
    OtherLedger {
        /// What differs: cluster, group or segment size.
        what: &'static str,
        /// In the one.
        left: String,
        /// In the other.
        right: String,
        /// The one.
        left_dir: PathBuf,
        /// The other.
        right_dir: PathBuf,
    },
    /// A batch is never split.
    #[error("record {to} is inside a batch of records {first} to {last}, which stays or goes as a whole: truncate to \
        {first} or to {}", last + 1)]
    InsideBatch {
        /// The index asked for.
        to: u64,
        /// First record of the batch.
        first: u64,
        /// Last record of the batch.
        last: u64,
    },
    /// What is to go is known to be committed.
    #[error(
        "a cut before index {to} removes entries from number {number} on, and of those up to index {committed} some \
        are known to be committed: this node may have acknowledged them. With --discard-committed they go all the same"
    )]
    Committed {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last record known to be committed.
        committed: u64,
    },
    /// What is to go was synced, so that others may count on it.
    #[error(
        "a cut before index {to} removes entries from number {number} on, and those up to index {durable} were synced \
        here and may have been acknowledged. With --discard-committed they go all the same"
    )]
    Synced {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last record noted as synced.
        durable: u64,
    },
    /// What is to go may have been acknowledged, although it is not noted as synced.
    #[error(
        "a cut before index {to} removes entries from number {number} on that a start would not give up: with \
        `interval`, or after a loss of power, they may have been acknowledged without a note (what can be read of them \
        ends at index {acknowledged}). With --discard-committed they go all the same"
    )]
    Acknowledged {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last of their records that can be read.
        acknowledged: u64,
    },
    /// What is to be kept is damaged already.
    #[error("the log is damaged at index {index}, before {to} ({what} in {} at position {position}): truncate to \
        {index} or a lower index, or repair it", file.display())]
    DamageBefore {
        /// The index asked for.
        to: u64,
        /// The first record that cannot be had.
        index: u64,
        /// The file.
        file: PathBuf,
        /// Where.
        position: u64,
        /// What does not fit.
        what: String,
    },
    /// No such record.
    #[error("there is no record {to}: the log holds the records from {first} up to, but not including, {end}")]
    OutOfRange {
        /// The index asked for.
        to: u64,
        /// Lowest index stored.
        first: u64,
        /// Index after the last record.
        end: u64,
    },
    /// A start would refuse the directory as it is.
    #[error("a start would refuse it: {why}")]
    StartRefused {
        /// What it would say.
        why: String,
    },
    /// A start of the node would begin the log anew and remove what is stored.
    #[error("no cluster can be made of {}: {why}. Nothing of it would be kept: choose another survivor; or start the \
        node, which begins the log anew, stop it and try again", dir.display())]
    BeginsAnew {
        /// The directory.
        dir: PathBuf,
        /// What was interrupted, and where the log would begin.
        why: String,
    },
    /// There is nobody to be given up.
    #[error(
        "{} is a cluster of {node} alone already, formed or made so by `recover`: there is nothing to do. Start the \
        node",
        dir.display()
    )]
    AloneAlready {
        /// The directory.
        dir: PathBuf,
        /// Its node.
        node: String,
    },
    /// No cluster can be made of what the directory holds.
    #[error("no cluster can be made of {}: {why}", dir.display())]
    NotAMember {
        /// The directory.
        dir: PathBuf,
        /// What is missing, and what to do.
        why: String,
    },
    /// The cut was made, and a start would still refuse.
    #[error("the log was cut, and a start would still refuse: {why}")]
    StillRefused {
        /// What it would say.
        why: String,
    },
}
