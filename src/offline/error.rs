//! [`OfflineError`]: why a tool refused or failed.

use std::path::PathBuf;

use crate::error::{Mismatch, OpenError};

/// Why a tool refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The directory cannot be opened: it is in use, it has a later format version, or the system fails; or the tool
    /// needs a file that is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The directory is not a ledger's.
    #[error("{} is not the directory of a ledger: {why}", dir.display())]
    NoLedger {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file that the tool needs is damaged.
    #[error("{} is damaged ({}: found {}, expected {}): restore this node from another replica",
        file.display(), mismatch.what, mismatch.found, mismatch.expected)]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What the file holds, and what it should hold.
        mismatch: Mismatch,
    },
    /// Two directories hold different ledgers.
    #[error("these are not two replicas of one ledger: {what} is {left} in {} and {right} in {}",
        left_dir.display(), right_dir.display())]
    OtherLedger {
        /// What differs: cluster, group or segment size.
        what: &'static str,
        /// The value in the left directory.
        left: String,
        /// The value in the right directory.
        right: String,
        /// The left directory.
        left_dir: PathBuf,
        /// The right directory.
        right_dir: PathBuf,
    },
    /// The cut would split a batch.
    #[error("record {to} is inside a batch of records {first} to {last}, which cannot be split: truncate to {first} or \
        to {}", last + 1)]
    InsideBatch {
        /// The index asked for.
        to: u64,
        /// First record of the batch.
        first: u64,
        /// Last record of the batch.
        last: u64,
    },
    /// The cut would remove entries that are known to be committed.
    #[error(
        "a cut before index {to} removes entries from number {number} on, and of those up to index {committed} some \
        are known to be committed: this node may have acknowledged them. --discard-committed removes them anyway"
    )]
    Committed {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last record known to be committed.
        committed: u64,
    },
    /// The cut would remove entries that this node has synced, and so may have acknowledged.
    #[error(
        "a cut before index {to} removes entries from number {number} on, and this node has synced those up to index \
        {durable} and may have acknowledged them. --discard-committed removes them anyway"
    )]
    Synced {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last record noted as synced.
        durable: u64,
    },
    /// The cut would remove entries that this node may have acknowledged although no note says that they were synced.
    #[error(
        "a cut before index {to} removes entries from number {number} on that a start would not remove: with \
        `interval`, or after a loss of power, this node may have acknowledged them without a note (the readable ones \
        end at index {acknowledged}). --discard-committed removes them anyway"
    )]
    Acknowledged {
        /// The index asked for.
        to: u64,
        /// Number of the first entry that would go.
        number: u64,
        /// Index after the last readable record of those entries.
        acknowledged: u64,
    },
    /// The part of the log that the cut would keep is damaged.
    #[error("the log is damaged at index {index}, before {to} ({what} in {} at position {position}): truncate to \
        {index} or a lower index, or repair it", file.display())]
    DamageBefore {
        /// The index asked for.
        to: u64,
        /// Index of the first record that cannot be read.
        index: u64,
        /// The damaged file.
        file: PathBuf,
        /// Position of the damage.
        position: u64,
        /// What does not fit.
        what: String,
    },
    /// The log has no such record.
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
    #[error("a start would refuse the directory: {why}")]
    StartRefused {
        /// What the start would report.
        why: String,
    },
    /// A start of the node would begin the log anew and remove what is stored.
    #[error("no cluster can be made of {}: {why}. The new cluster would keep none of its records: choose another \
        survivor; or start the node, which begins the log anew, stop it and try again", dir.display())]
    BeginsAnew {
        /// The directory.
        dir: PathBuf,
        /// What was interrupted, and where the log would begin anew.
        why: String,
    },
    /// The node is already the only member of its cluster.
    #[error(
        "{} is a cluster of {node} alone already, formed or made so by `recover`: there is nothing to do. Start the \
        node",
        dir.display()
    )]
    AloneAlready {
        /// The directory.
        dir: PathBuf,
        /// The node.
        node: String,
    },
    /// The directory holds no membership to make a cluster of.
    #[error("no cluster can be made of {}: {why}", dir.display())]
    NotAMember {
        /// The directory.
        dir: PathBuf,
        /// What is missing, and what to do.
        why: String,
    },
    /// The cut was made, but a start would still refuse the directory.
    #[error("the log was cut, but a start would still refuse the directory: {why}")]
    StillRefused {
        /// What the start would report.
        why: String,
    },
}
