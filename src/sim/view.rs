//! What a simulated node holds, seen from inside: for invariants.

use std::ops::Range;
use std::path::PathBuf;

use super::cluster::{SimCluster, group};
use crate::format::entry::{EntryHeader, EntryKind};

/// What a running node holds at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Which life of its process.
    pub start: u64,
    /// Which disk: counts those that were lost.
    pub disk: u64,
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
        let size = crate::format::entry::ENTRY_HEADER as u64 + u64::from(header.body);
        Self { number, term, index, records, position, size, previous, chain, rolls: kind == EntryKind::Roll }
    }
}

impl SimCluster {
    /// What node `i` holds; `None` if it is down.
    pub fn view(&self, i: usize) -> Option<NodeView> {
        let (ledger, start) = (self.ledger(i)?, self.starts(i));
        let log = &ledger.replica().log;
        let (progress, point) = (log.progress(), log.progress().commit_point());
        let vote = log.vote().map(|vote| VoteView {
            term: vote.term,
            node: vote.node.map(|node| node.to_string()),
            granted: vote.granted,
        });
        Some(NodeView {
            start,
            disk: self.nodes()[i].disks,
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
        })
    }

    /// Entry `number` of node `i`; `None` if it is down, or does not have it or not undamaged.
    pub fn entry(&self, i: usize, number: u64) -> Option<EntryView> {
        self.ledger(i)?.replica().log.entry_header(number).ok().flatten().map(EntryView::from)
    }

    /// These bytes of the ledger of node `i`, running or not, as its process sees them. `None` if no file is there for
    /// them.
    pub fn live_bytes(&self, i: usize, positions: Range<u64>) -> Option<Vec<u8>> {
        let (file, range) = self.place(i, positions);
        self.nodes()[i].disk.live_bytes(&file, range)
    }

    /// What a power loss of node `i` now would leave of these bytes of its ledger: what a disk knows, not what the node
    /// says. `None` if it might leave no file for them.
    pub fn durable_bytes(&self, i: usize, positions: Range<u64>) -> Option<Vec<u8>> {
        let (file, range) = self.place(i, positions);
        self.nodes()[i].disk.durable_bytes(&file, range)
    }

    /// The segment file of node `i` that has these positions, and where in it.
    pub(super) fn place(&self, i: usize, positions: Range<u64>) -> (PathBuf, Range<u64>) {
        let config = &self.nodes()[i].config;
        let start = positions.start / config.segment_size * config.segment_size;
        let file = config.data_dir.join(group().as_str()).join(format!("{start:020}"));
        (file, positions.start - start..positions.end - start)
    }
}
