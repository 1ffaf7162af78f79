//! `raft-engine` 0.4.2, the log of TiKV.
//!
//! - with sync: `write(batch, true)`, an `fdatasync` behind each batch;
//! - without: `write(batch, false)`; the batch is in the page cache when the call returns. It syncs when a file is
//!   full.
//!
//! Compression is off, unlike its default: the records are random, and without it is faster on all of them. An entry is
//! a protobuf message, and raft-engine asks it for its index, which is put in front of the record.

use std::ops::Range;
use std::path::Path;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::{Log, Peer, Reader, Survives, touch_all, touch_ends};

pub const PEER: Peer = Peer {
    name: "raft-engine",
    synced: Survives::Power,
    unsynced: Some(Survives::Kill),
    reads_files: true,
    checks_when_opened: true,
    open: |dir, how| {
        let config = Config {
            dir: dir.display().to_string(),
            batch_compression_threshold: ReadableSize::kb(0),
            ..Config::default()
        };
        let engine = Engine::open(config).expect("the log opens");
        let next = engine.last_index(GROUP).map_or(0, |last| last + 1);
        Box::new(Open { engine, next, sync: how.sync, batch: LogBatch::default() })
    },
};

const GROUP: u64 = 1;
const INDEX: usize = size_of::<u64>();
/// Entries of one step of a scan.
const STEP: u64 = 1024;

struct Open {
    engine: Engine,
    next: u64,
    sync: bool,
    batch: LogBatch,
}

/// How an entry is known.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        u64::from_le_bytes(entry.value[..INDEX].try_into().expect("the index is in front"))
    }
}

fn entry(index: u64, record: &[u8]) -> BytesValue {
    let mut entry = BytesValue::new();
    entry.value = [&index.to_le_bytes(), record].concat();
    entry
}

impl Log for Open {
    fn append(&mut self, records: &[&[u8]]) {
        let entries: Vec<_> = (self.next..).zip(records).map(|(index, record)| entry(index, record)).collect();
        self.next += records.len() as u64;
        self.batch.add_entries::<Indexed>(GROUP, &entries).expect("the batch takes them");
        self.engine.write(&mut self.batch, self.sync).expect("the disk works");
    }

    fn records(&self) -> u64 {
        self.next
    }

    fn into_reader(self: Box<Self>) -> Box<dyn Reader> {
        Box::new(Reading(self.engine))
    }

    fn discard(self: Box<Self>, _: &Path) {}
}

struct Reading(Engine);

impl Reader for Reading {
    fn get(&self, index: u64) {
        let entry = self.0.get_entry::<Indexed>(GROUP, index).expect("it can be read").expect("it is there");
        touch_ends(&entry.value[INDEX..]);
    }

    fn scan(&self, range: Range<u64>) -> u64 {
        let (mut next, mut entries) = (range.start, Vec::new());
        while next < range.end {
            let end = range.end.min(next + STEP);
            entries.clear();
            self.0.fetch_entries_to::<Indexed>(GROUP, next, end, None, &mut entries).expect("it can be read");
            entries.iter().for_each(|entry| touch_all(&entry.value[INDEX..]));
            next += entries.len() as u64;
        }
        next - range.start
    }
}
