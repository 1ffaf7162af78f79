//! [`DumpItem`]: what a dump shows.

use serde::{Serialize, Serializer};

use super::Finding;
use crate::format::batch::{Batch, RECORD_HEADER};
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};

/// One thing in a ledger's directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "item", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DumpItem {
    /// A file.
    File {
        /// Its name.
        name: String,
        /// What the file is for.
        kind: &'static str,
        /// The file's size; `None` if the file cannot be opened.
        bytes: Option<u64>,
    },
    /// The cluster, ledger and node that the directory was made for.
    Identity {
        /// The cluster.
        cluster: String,
        /// The ledger.
        group: String,
        /// The node.
        node: String,
        /// The disk.
        incarnation: String,
        /// Bytes of a segment.
        segment_size: u64,
    },
    /// Where the log begins, if records have been removed, and Raft's metadata snapshot, if there is one.
    Start {
        /// Number of the last removed entry.
        removed_number: Option<u64>,
        /// Term of the last removed entry.
        removed_term: Option<u64>,
        /// Lowest index stored.
        first: u64,
        /// Position of the first entry.
        position: u64,
        /// Bytes of the snapshot.
        snapshot_bytes: Option<usize>,
    },
    /// A vote slot of the hard state.
    Vote {
        /// 0 or 1.
        slot: u8,
        /// Number of the write; the slot with the higher one is newer.
        sequence: u64,
        /// The term.
        term: u64,
        /// The node that the vote is for.
        node: Option<String>,
        /// Whether a quorum granted it.
        granted: bool,
    },
    /// A progress slot of the hard state.
    Progress {
        /// 2 or 3.
        slot: u8,
        /// Number of the write; the slot with the higher one is newer.
        sequence: u64,
        /// Every entry before this point was known to be committed.
        committed: DumpPoint,
        /// Every entry before this point was synced.
        durable: DumpPoint,
    },
    /// A progress slot that was never written.
    EmptySlot {
        /// 2 or 3.
        slot: u8,
    },
    /// A segment, as its header says.
    Segment {
        /// First position.
        position: u64,
        /// Number of its first entry.
        number: u64,
        /// Index of its first record.
        index: u64,
        /// Term of the entry before.
        term: u64,
        /// Timestamp of the entry before.
        timestamp: u64,
        /// Chain value of the entry before.
        #[serde(serialize_with = "hex")]
        chain: u32,
        /// Bytes.
        size: u64,
    },
    /// An entry.
    Entry(EntryItem),
    /// A stretch without entries.
    Blank {
        /// Where the blank begins.
        position: u64,
        /// Bytes of the blank.
        length: u64,
        /// Chain value of the entry before.
        #[serde(serialize_with = "hex")]
        chain: u32,
        /// Whether it is the end of its segment.
        seals: bool,
    },
    /// Bytes that are not as they were written. The items that follow were found behind them.
    Damage(Finding),
    /// The end of the log, as far as it could be followed.
    End {
        /// Position of the next entry.
        position: u64,
        /// Number of the next entry.
        number: u64,
        /// Index of the next record.
        index: u64,
        /// Chain value of the last entry.
        #[serde(serialize_with = "hex")]
        chain: u32,
        /// How many stretches of damage there are.
        damages: u64,
    },
}

/// A point between two entries, as the hard state notes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DumpPoint {
    /// Number of the entry after.
    pub number: u64,
    /// Index of the record after.
    pub index: u64,
    /// Position after the last entry before.
    pub position: u64,
    /// Chain value of that entry.
    #[serde(serialize_with = "hex")]
    pub chain: u32,
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKindName {
    /// Nothing: a leader's first entry.
    Blank,
    /// The members of the cluster.
    Membership,
    /// Records.
    Batch,
    /// Nothing: it begins a segment.
    Roll,
}

impl EntryKindName {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Membership => "membership",
            Self::Batch => "batch",
            Self::Roll => "roll",
        }
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryItem {
    /// The entry's number.
    pub number: u64,
    /// What the entry holds.
    pub kind: EntryKindName,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Index of the entry's first record; without records, of the next one.
    pub index: u64,
    /// Number of records.
    pub count: u32,
    /// Where the entry begins.
    pub position: u64,
    /// Bytes of the whole entry.
    pub length: u64,
    /// The leader's commit point, as an index, when it wrote the entry.
    pub committed: u64,
    /// The leader's clock, milliseconds since 1970.
    pub timestamp: u64,
    /// Chain value of the entry before.
    #[serde(serialize_with = "hex")]
    pub previous: u32,
    /// Chain value of this entry.
    #[serde(serialize_with = "hex")]
    pub chain: u32,
    /// Whether every byte is as it was written, and the entry continues the one before.
    pub verified: bool,
    /// The records, if the entry is verified and the [`DumpOptions`](super::DumpOptions) ask for bodies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DumpedRecord>,
}

/// A record in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DumpedRecord {
    /// The record's index.
    pub index: u64,
    /// Where the record begins.
    pub position: u64,
    /// The record's bytes.
    #[serde(skip)]
    pub body: Vec<u8>,
}

impl EntryItem {
    pub(super) fn new(header: &EntryHeader, verified: bool) -> Self {
        Self {
            number: header.number,
            kind: match header.kind {
                EntryKind::Blank => EntryKindName::Blank,
                EntryKind::Membership => EntryKindName::Membership,
                EntryKind::Batch => EntryKindName::Batch,
                EntryKind::Roll => EntryKindName::Roll,
            },
            term: header.term,
            index: header.index,
            count: header.records,
            position: header.position,
            length: header.length() as u64,
            committed: header.committed,
            timestamp: header.timestamp,
            previous: header.previous,
            chain: header.chain,
            verified,
            records: Vec::new(),
        }
    }
}

/// The records of a whole entry that is a batch.
pub(super) fn records(header: &EntryHeader, entry: &[u8]) -> Vec<DumpedRecord> {
    let Some(body) = entry.get(ENTRY_HEADER..ENTRY_HEADER + header.body as usize) else { return Vec::new() };
    let Ok(batch) = Batch::parse(body, header.records as usize) else { return Vec::new() };
    let record = |slot: usize| {
        let range = batch.locate(slot)?;
        Some(DumpedRecord {
            index: header.index + slot as u64,
            position: header.position + (ENTRY_HEADER + range.start) as u64,
            body: body[range.start + RECORD_HEADER..range.end].to_vec(),
        })
    };
    (0..header.records as usize).map_while(record).collect()
}

/// Serialises a chain value as eight hex digits, as all tools print it.
fn hex<S: Serializer>(chain: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{chain:08x}"))
}
