//! What a repair did.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::NodeId;

/// The damage that a repair found, and what it put in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// Every range that the repair replaced, by position.
    pub ranges: Vec<RepairedRange>,
    /// Files behind the end of the log that the repair removed: peers have said that nothing in them is committed.
    pub removed: Vec<PathBuf>,
    /// Index after the last record of the log.
    pub end: u64,
    /// Position after the last entry of the log.
    pub end_position: u64,
    /// False for a dry run, which changes no segment.
    pub done: bool,
}

/// A run of bytes that a repair replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedRange {
    /// The segment.
    pub file: PathBuf,
    /// Where, in the ledger's address space.
    pub positions: Range<u64>,
    /// What is there now.
    pub what: Repaired,
}

/// What a repair put in the place of damaged bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// The header of a segment: it follows from the entries before.
    Header,
    /// Entries that a peer has committed.
    Entries {
        /// How many.
        entries: u64,
        /// Their records; empty if they hold none.
        indexes: Range<u64>,
        /// The peer.
        from: NodeId,
    },
    /// The blank at the end of a segment: it follows from the entries around it.
    Blank,
    /// Zeros behind the end of the log: a peer has said that nothing there is committed.
    Tail,
}

impl fmt::Display for RepairedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.positions;
        write!(f, "{} positions {start} to {end}: ", self.file.display())?;
        match &self.what {
            Repaired::Header => f.write_str("segment header"),
            Repaired::Entries { entries, indexes, from } if indexes.is_empty() => {
                write!(f, "{entries} entries without records, from {from}")
            }
            Repaired::Entries { entries, indexes, from } => {
                write!(f, "{entries} entries with indexes {} to {}, from {from}", indexes.start, indexes.end - 1)
            }
            Repaired::Blank => f.write_str("blank"),
            Repaired::Tail => f.write_str("zeros behind the end of the log"),
        }
    }
}
