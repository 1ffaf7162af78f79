//! What a simulated node holds, seen from inside: for invariants.

use std::ops::Range;
use std::path::PathBuf;

use super::cluster::{SimCluster, group};
use dledger::seams::{EntryView, LedgerView, PointView, VoteView};

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

impl SimCluster {
    /// What node `i` holds; `None` if it is down.
    pub fn view(&self, i: usize) -> Option<NodeView> {
        let LedgerView { vote, first, durable, end, committed, numbers } = LedgerView::of(&self.ledger(i)?);
        let (start, disk) = (self.starts(i), self.nodes()[i].disks);
        Some(NodeView { start, disk, vote, first, durable, end, committed, numbers })
    }

    /// Entry `number` of node `i`; `None` if it is down, or does not have it or not undamaged.
    pub fn entry(&self, i: usize, number: u64) -> Option<EntryView> {
        EntryView::of(&self.ledger(i)?, number)
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
