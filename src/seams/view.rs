//! What a ledger holds, seen from inside: for invariants.

use std::ops::Range;

use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::node::Ledger;

/// What a running ledger holds at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    /// Its vote, as last saved.
    pub vote: Option<VoteView>,
    /// Lowest index stored.
    pub first: u64,
    /// Index after the last synced record.
    pub durable: u64,
    /// Index after the last record.
    pub end: u64,
    /// Up to where it knows the log to be committed.
    pub committed: PointView,
    /// Numbers of its entries.
    pub numbers: Range<u64>,
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteView {
    /// Of which term.
    pub term: u64,
    /// For whom.
    pub node: Option<String>,
    /// Whether a quorum granted it: that node leads the term.
    pub granted: bool,
}

/// A place in a log, named by what is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointView {
    /// Number of the entry after.
    pub number: u64,
    /// Index of the record after.
    pub index: u64,
    /// Position after the last entry before.
    pub position: u64,
    /// Chain value of the last entry before.
    pub chain: u32,
}

/// An entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView {
    /// Its number.
    pub number: u64,
    /// Its term.
    pub term: u64,
    /// Index of its first record, or of the next one if it has none.
    pub index: u64,
    /// How many records.
    pub records: u32,
    /// Where it begins.
    pub position: u64,
    /// Bytes it takes, without padding.
    pub size: u64,
    /// Chain value of the entry before.
    pub previous: u32,
    /// Its chain value.
    pub chain: u32,
    /// Whether it has ended the segment before it.
    pub rolls: bool,
}

impl From<EntryHeader> for EntryView {
    fn from(header: EntryHeader) -> Self {
        let EntryHeader { position, number, term, index, records, previous, chain, kind, .. } = header;
        let size = ENTRY_HEADER as u64 + u64::from(header.body);
        Self { number, term, index, records, position, size, previous, chain, rolls: kind == EntryKind::Roll }
    }
}

impl LedgerView {
    /// What `ledger` holds now.
    pub fn of(ledger: &Ledger) -> Self {
        let log = &ledger.replica().log;
        let (progress, point) = (log.progress(), log.progress().commit_point());
        let vote = log.vote().map(|vote| VoteView {
            term: vote.term,
            node: vote.node.map(|node| node.to_string()),
            granted: vote.granted,
        });
        Self {
            vote,
            first: progress.first(),
            durable: progress.durable(),
            end: progress.end(),
            committed: PointView {
                number: point.number,
                index: point.index,
                position: point.position,
                chain: point.chain,
            },
            numbers: log.numbers(),
        }
    }
}

impl EntryView {
    /// Entry `number` of `ledger`; `None` if it is not there, or not undamaged.
    pub fn of(ledger: &Ledger, number: u64) -> Option<Self> {
        ledger.replica().log.entry_header(number).ok().flatten().map(Self::from)
    }
}
