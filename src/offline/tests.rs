//! The laws of the tools, on a small real log.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::*;
use crate::disk::hooked::HookedDisk;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::Completion;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions};
use crate::types::Incarnation;

mod cuts;
mod diffs;
mod dumps;
mod flips;
mod notes;
mod recover;

const SIZE: u64 = 8192;
const ENTRIES: u64 = 49;

fn identity(node: &str) -> Identity {
    Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: node.parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::from_u128(7),
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_size: SIZE,
        interval: None,
        scheduler: Arc::new(FlushThread::start().unwrap()),
        background: Arc::new(BackgroundThread::start().unwrap()),
    }
}

/// What was appended, entry by entry.
#[derive(Debug, Clone, PartialEq)]
struct Appended {
    number: u64,
    index: u64,
    position: u64,
    kind: EntryKindName,
    records: Vec<Vec<u8>>,
}

/// A log of two segments and a bit, all of it committed and noted.
struct Sample {
    dir: tempfile::TempDir,
    appended: Vec<Appended>,
}

impl Sample {
    fn new() -> Self {
        Self::of(ENTRIES)
    }

    fn of(entries: u64) -> Self {
        let mut sample = Self::empty();
        let mut log = sample.log();
        for term in [3, 4] {
            log.save_vote(HardVote { term, node: Some("n0".parse().unwrap()), granted: true }).unwrap();
        }
        log.committer().save_snapshot(b"members and so on".to_vec()).unwrap();
        sample.append(&mut log, entries);
        close(log);
        sample
    }

    /// In memory, where there is such a place: thousands of files are written.
    fn empty() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { dir, appended: Vec::new() }
    }

    fn log(&self) -> Log {
        Log::open(Arc::new(HookedDisk::without_syncs()), self.path(), identity("n0"), options()).unwrap().0
    }

    /// Batches of one to four records, their lengths all remainders of eight, and entries without records in between.
    fn append(&mut self, log: &mut Log, entries: u64) {
        for _ in 0..entries {
            let n = log.end().number;
            let (draft, records) = match n % 10 {
                0 => (Draft::control(EntryKind::Membership, b"members"), vec![]),
                7 => (Draft::control(EntryKind::Blank, b""), vec![]),
                _ => {
                    let record = |i: u64| (0..60 + (n * 13 + i * 5) % 150).map(|at| (n + i + at) as u8 | 1).collect();
                    let records: Vec<Vec<u8>> = (0..1 + n % 4).map(record).collect();
                    (Draft::batch(&records), records)
                }
            };
            let header = log.append_draft(draft, 4, 1_700_000_000_000 + n).unwrap();
            let kind = EntryItem::new(&header, true).kind;
            let (number, index, position) = (header.number, header.index, header.position);
            self.appended.push(Appended { number, index, position, kind, records });
            if n % 15 == 14 {
                flush(log);
                log.committer().commit(n).unwrap();
            }
        }
        if entries > 0 {
            flush(log);
            log.committer().commit(log.end().number - 1).unwrap();
            flush(log);
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("g")
    }

    fn stopped(&self) -> StoppedLedger {
        StoppedLedger::open_on(Arc::new(HookedDisk::without_syncs()), self.path()).unwrap()
    }

    fn segment(&self, position: u64) -> PathBuf {
        self.path().join(names::segment(position / SIZE * SIZE))
    }

    fn records(&self) -> Vec<Vec<u8>> {
        self.appended.iter().flat_map(|entry| entry.records.clone()).collect()
    }

    fn batch(&self, number: u64) -> &Appended {
        let batch = &self.appended[number as usize];
        assert_eq!((batch.number, batch.kind), (number, EntryKindName::Batch));
        batch
    }

    /// Flips a bit of the byte at `position`.
    fn flip(&self, position: u64) {
        flip(&self.segment(position), position % SIZE);
    }

    /// All files and their bytes.
    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let file = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        std::fs::read_dir(self.path()).unwrap().map(file).collect()
    }

    /// Makes a new file where the content differs, so that no mapping of the old file changes.
    fn restore(&self, content: &BTreeMap<String, Vec<u8>>) {
        let found = self.content();
        for name in found.keys().filter(|name| found.get(*name) != content.get(*name)) {
            std::fs::remove_file(self.path().join(name)).unwrap();
        }
        for (name, bytes) in content.iter().filter(|(name, bytes)| found.get(*name) != Some(bytes)) {
            std::fs::write(self.path().join(name), bytes).unwrap();
        }
    }
}

fn flip(file: &Path, at: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at as usize] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

fn flush(log: &mut Log) {
    let (sender, receiver) = mpsc::channel();
    log.on_durable(Completion::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap().unwrap();
}

fn close(log: Log) {
    log.closer().close().unwrap();
}

/// Everything a check reports, without its progress.
fn verified(ledger: &StoppedLedger) -> (Vec<Finding>, VerifySummary) {
    let mut findings = Vec::new();
    let summary = ledger.verify(&mut |checked| -> Result<(), OfflineError> {
        if let VerifyEvent::Finding(finding) = checked {
            findings.push(finding);
        }
        Ok(())
    });
    (findings, summary.unwrap())
}

fn dumped(ledger: &StoppedLedger, options: DumpOptions) -> Vec<DumpItem> {
    let mut items = Vec::new();
    let dumped = ledger.dump(options, &mut |item| -> Result<(), OfflineError> {
        items.push(item);
        Ok(())
    });
    dumped.unwrap();
    items
}
