//! This crate's log, as a node uses it.
//!
//! - with sync: `Durability::Sync`. A call returns when the node's flush thread has synced what it wrote (`fdatasync`).
//! - without: `Durability::Interval` with the longest interval the configuration takes, so that hardly a sync falls
//!   into the measurement, as none does with the others. It is in the page cache when the call returns.
//!
//! A call is one entry: appended, waited for, committed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dledger::seams::{LocalLog, LocalReader};
use dledger::{Durability, ReadLimit};

use super::{Log, Peer, Reader, SEGMENT, Survives, touch_all, touch_ends};

pub const PEER: Peer = Peer {
    name: "dledger",
    synced: Survives::Power,
    unsynced: Some(Survives::Kill),
    reads_files: true,
    checks_when_opened: true,
    open: |dir, how| Box::new(Open { log: open(dir, how.sync), dir: dir.to_owned() }),
};

struct Open {
    log: LocalLog,
    dir: PathBuf,
}

struct Reading {
    /// Taken only while the log is opened anew.
    log: Option<(LocalLog, LocalReader)>,
    dir: PathBuf,
}

fn open(dir: &Path, sync: bool) -> LocalLog {
    let durability = if sync { Durability::Sync } else { Durability::Interval(Duration::from_secs(60)) };
    LocalLog::open(dir, SEGMENT, durability).expect("the log opens")
}

impl Log for Open {
    fn append(&mut self, records: &[&[u8]]) {
        self.log.append(records).expect("there is room");
        self.log.wait_durable().expect("the disk works");
        self.log.commit().expect("the entry is sound");
    }

    fn records(&self) -> u64 {
        self.log.end()
    }

    fn into_reader(self: Box<Self>) -> Box<dyn Reader> {
        let reader = self.log.reader();
        Box::new(Reading { log: Some((self.log, reader)), dir: self.dir })
    }

    fn discard(self: Box<Self>, dir: &Path) {
        // Closing syncs what was written. Emptied files make that cheap; nothing reads the mappings any more. The
        // file thread may be renaming one.
        for file in std::fs::read_dir(dir).expect("the directory is there").flatten() {
            match std::fs::OpenOptions::new().write(true).open(file.path()) {
                Ok(file) => file.set_len(0).expect("the file can be emptied"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
            }
        }
        self.log.close().expect("the disk works");
    }
}

impl Reading {
    fn reader(&self) -> &LocalReader {
        let (_, reader) = self.log.as_ref().expect("the log is open");
        reader
    }
}

impl Reader for Reading {
    fn get(&self, index: u64) {
        touch_ends(&self.reader().get(index).expect("the record is there").body);
    }

    fn scan(&self, range: Range<u64>) -> u64 {
        let mut next = range.start;
        while next < range.end {
            let left = usize::try_from(range.end - next).expect("it fits");
            let limit = ReadLimit { records: left, ..ReadLimit::default() };
            for record in self.reader().scan(next, limit).expect("the records are there") {
                touch_all(&record.body);
                next = record.index + 1;
            }
        }
        next - range.start
    }

    /// A fresh mapping has no page in use. What was opened anew is verified at its first read, which is measured.
    fn let_go(&mut self) {
        let (log, reader) = self.log.take().expect("the log is open");
        drop(reader);
        log.close().expect("the disk works");
        let log = open(&self.dir, true);
        let reader = log.reader();
        self.log = Some((log, reader));
    }
}
