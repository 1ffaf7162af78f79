//! A whole directory of which one file is anything at all.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::segment::SIZE;
use super::{both, checksums};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::OpenError;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::hard_state::{HardVote, SLOT, SLOT_DISTANCE};
use crate::log::directory::Identity;
use crate::log::threads::FlushScheduler;
use crate::log::{Background, Log, LogOptions};
use crate::log::{Completion, Flusher};
use crate::types::{Incarnation, ReadLimit};

/// Names and contents, in ascending order of names.
type Files = Vec<(String, Vec<u8>)>;

const DIR: &str = "/ledger";

/// Runs flushes when it is told to, and file work at once.
#[derive(Default)]
struct ByHand(Mutex<Vec<Arc<Flusher>>>);

impl FlushScheduler for ByHand {
    fn schedule(&self, log: Arc<Flusher>, _: Duration) {
        self.0.lock().push(log);
    }
}

impl ByHand {
    fn flush(&self) {
        let due = std::mem::take(&mut *self.0.lock());
        due.iter().for_each(|log| log.flush());
    }
}

impl Background for ByHand {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

fn open(disk: &SimDisk) -> Result<(Log, Arc<ByHand>), OpenError> {
    let identity = Identity {
        cluster: "c".parse().expect("a name"),
        group: "g".parse().expect("a name"),
        node: "n0".parse().expect("a name"),
        segment_size: SIZE as u64,
        incarnation: Incarnation::from_u128(1),
    };
    let by_hand = Arc::new(ByHand::default());
    let (scheduler, background) = (by_hand.clone(), by_hand.clone());
    let options = LogOptions { segment_size: SIZE as u64, interval: None, scheduler, background };
    Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), identity, options).map(|(log, _)| (log, by_hand))
}

/// A log of four segments with all that can be in one; purged, also where it begins.
fn written(purged: bool) -> std::io::Result<Files> {
    let disk = SimDisk::new();
    let (mut log, by_hand) = open(&disk).map_err(std::io::Error::other)?;
    log.save_vote(HardVote { term: 1, node: Some("n0".parse().expect("a name")), granted: true })?;
    log.append_draft(Draft::control(EntryKind::Membership, &super::seeds::members()), 1, 1000)?;
    log.append_draft(Draft::control(EntryKind::Blank, b""), 1, 1001)?;
    for number in 0..13 {
        if number == 11 {
            log.append_draft(Draft::control(EntryKind::Roll, b""), 1, 2000)?;
        }
        let large = vec![number; 1200];
        log.append_draft(Draft::batch(&[&large[..], b"", b"small"]), 1, 2000)?;
    }
    log.committer().commit(log.end().number - 3).map_err(std::io::Error::other)?;
    log.on_durable(Completion::new(drop));
    by_hand.flush();
    if purged {
        log.committer().save_snapshot(super::seeds::snapshot().remove(0))?;
        log.purge(1, 8)?;
    }
    log.closer().close()?;
    files(&disk)
}

fn files(disk: &SimDisk) -> std::io::Result<Files> {
    let names = disk.list(Path::new(DIR))?;
    names.into_iter().map(|name| Ok((name.clone(), disk.read(&Path::new(DIR).join(name))?))).collect()
}

/// All files of both logs, as they were written.
fn originals() -> &'static [Files; 2] {
    static ORIGINALS: OnceLock<[Files; 2]> = OnceLock::new();
    ORIGINALS.get_or_init(|| [false, true].map(|purged| written(purged).expect("a simulated disk takes it")))
}

/// The files, each behind the byte that says which one it is.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    let logs = originals().iter().zip([0, 128]);
    let inputs = logs.flat_map(|(files, log)| files.iter().enumerate().map(move |(at, file)| (log | at as u8, file)));
    inputs.map(|(which, (name, bytes))| [&[which], &packed(name, bytes)[..]].concat()).collect()
}

/// A hard-state file without the zeros between its slots, which nobody reads.
fn packed(name: &str, bytes: &[u8]) -> Vec<u8> {
    match name {
        "hard-state" => bytes.chunks(SLOT_DISTANCE as usize).flat_map(|block| &block[..SLOT]).copied().collect(),
        _ => bytes.to_vec(),
    }
}

/// The reverse of [`packed`].
fn unpacked(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    if name == "hard-state" {
        whole.clear();
        for (number, slot) in bytes.chunks(SLOT).enumerate() {
            whole.resize(number * SLOT_DISTANCE as usize, 0);
            whole.extend(slot);
        }
        whole.resize(whole.len().next_multiple_of(SLOT_DISTANCE as usize), 0);
    }
    whole
}

/// The first byte says which log and which of its files; the rest is that file.
pub fn directory(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let files = &originals()[usize::from(which >> 7)];
    let (name, _) = &files[usize::from(which & 127) % files.len()];
    let repair = |bytes: &mut [u8]| match name.as_str() {
        "identity" | "start" => checksums::sealed(bytes),
        "hard-state" => checksums::slots(bytes),
        name if name.ends_with(".index") => checksums::around(bytes),
        _ => checksums::segment(bytes),
    };
    both(&unpacked(name, content), repair, |content| opened(files, name, content));
}

fn opened(files: &[(String, Vec<u8>)], replaced: &str, content: &[u8]) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).expect("there is memory");
    for (name, bytes) in files {
        let bytes = if name == replaced { content } else { bytes };
        disk.write_atomic(&Path::new(DIR).join(name), bytes).expect("there is memory");
    }
    let before = self::files(&disk).expect("it can be read");
    match open(&disk) {
        Err(_) => assert_eq!(self::files(&disk).expect("it can be read"), before, "refused, and changed"),
        Ok((log, _)) => {
            let (end, seen) = (log.end(), everything(&log));
            drop(log);
            // What was cut is cut: the same log opens again.
            let (log, _) = open(&disk).expect("it was opened just now");
            assert_eq!((log.end(), everything(&log)), (end, seen));
        }
    }
}

/// All that can be read: indexes of records, and how many entries are whole.
fn everything(log: &Log) -> (Vec<u64>, usize) {
    let reader = log.reader();
    let (first, committed) = (reader.progress().first(), reader.progress().committed());
    assert!(first <= committed && committed <= reader.progress().end(), "{first}, {committed}");
    let mut indexes = Vec::new();
    let mut from = first;
    while from < committed {
        let records = reader.records(from..committed, ReadLimit::records(100)).unwrap_or_default();
        indexes.extend(records.iter().map(|record| record.index));
        // Damage is not served; behind it there may be more.
        from = records.last().map_or(from, |last| last.index) + 1;
    }
    let whole = reader.numbers().filter(|number| reader.frame(*number).is_ok_and(|frame| frame.is_some())).count();
    (indexes, whole)
}
