//! The logs that are compared, behind one trait.
//!
//! What *without sync* and *with sync* mean differs from log to log; [`Peer`] says what each really gives, from reading
//! its source, and the tables carry it on.

mod commitlog;
mod dledger;
mod mrecordlog;
mod okaywal;
mod raft_engine;

use std::hint::black_box;
use std::ops::Range;
use std::path::Path;

/// Bytes of a segment file: the default of a node. Others keep the default of theirs.
pub const SEGMENT: u64 = 256 << 20;

/// What survives once a call of [`Log::append`] has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// A loss of power.
    Power,
    /// `kill -9`, but no loss of power: the page cache has it.
    Kill,
    /// Nothing: it may still be in a buffer of the process.
    Nothing,
}

/// A log that is compared.
pub struct Peer {
    pub name: &'static str,
    /// What its own sync after each call gives.
    pub synced: Survives,
    /// What it gives without; `None`: it always syncs.
    pub unsynced: Option<Survives>,
    /// Whether reads come from files that can be cold; else from a copy in memory.
    pub reads_files: bool,
    /// Whether opening checks checksums of what it finds, of the tail at least.
    pub checks_when_opened: bool,
    /// Opens the log in a directory, which may hold one.
    pub open: fn(&Path, Use) -> Box<dyn Log>,
}

/// How a log is going to be used.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// A sync after each call.
    pub sync: bool,
    /// Most bytes of records that will be in it.
    pub bytes: u64,
}

/// An open log.
pub trait Log {
    /// Appends records in one call; with sync, waits for it.
    fn append(&mut self, records: &[&[u8]]);
    /// How many records there are.
    fn records(&self) -> u64;
    /// No more appends: reads of what is there.
    fn into_reader(self: Box<Self>) -> Box<dyn Reader>;
    /// Throws the log away; its directory goes next.
    fn discard(self: Box<Self>, dir: &Path);
}

/// Reads, from any thread.
pub trait Reader: Send + Sync {
    /// Reads record `index` and touches its first and last byte.
    fn get(&self, index: u64);
    /// Reads records `range` in order and touches every byte. Returns how many there were.
    fn scan(&self, range: Range<u64>) -> u64;
    /// Lets go of what the page cache must keep as long as it is mapped, and takes it up again. Untimed; before the
    /// cache is dropped.
    fn let_go(&mut self) {}
}

/// All of them, this crate first.
pub const PEERS: &[Peer] = &[dledger::PEER, raft_engine::PEER, commitlog::PEER, mrecordlog::PEER, okaywal::PEER];

/// Touches the ends of a record.
fn touch_ends(body: &[u8]) {
    black_box(body.first().copied().unwrap_or(0) ^ body.last().copied().unwrap_or(0));
}

/// Touches all of a record.
fn touch_all(body: &[u8]) {
    black_box(body.iter().fold(0, |all, byte| all ^ byte));
}
