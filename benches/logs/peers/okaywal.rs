//! `okaywal` 0.3.1.
//!
//! - with sync: `commit()`, an `fdatasync` behind each entry;
//! - without: it cannot.
//!
//! It is a write-ahead log: it has no index, so the position of every record is kept here, in memory, and it wants to
//! empty each file (a checkpoint) once it is full. The file is made larger than what is written, and a checkpoint
//! never comes. Making it writes zeros to all of it, which is not timed.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use okaywal::{Configuration, Entry, EntryId, LogManager, LogPosition, ReadChunkResult, SegmentReader, WriteAheadLog};
use parking_lot::Mutex;

use super::{Log, Peer, Reader, Survives, touch_all, touch_ends};

pub const PEER: Peer = Peer {
    name: "okaywal",
    synced: Survives::Power,
    unsynced: None,
    reads_files: true,
    checks_when_opened: true,
    open: |dir, how| {
        let found = Found::default();
        // 10 bytes around a record, of 128 bytes at least.
        let file = u32::try_from(how.bytes + how.bytes / 8 + (1 << 20)).expect("a file of it is smaller");
        let configuration = Configuration::default_for(dir).preallocate_bytes(file).checkpoint_after_bytes(file.into());
        let log = configuration.open(found.clone()).expect("the log opens");
        let positions = std::mem::take(&mut *found.0.lock());
        Box::new(Open { log, positions })
    },
};

struct Open {
    log: WriteAheadLog,
    positions: Vec<LogPosition>,
}

/// Where the records are that opening found.
#[derive(Debug, Clone, Default)]
struct Found(Arc<Mutex<Vec<LogPosition>>>);

impl LogManager for Found {
    /// An entry that was being written when the process was killed does not count: it has no end, or a chunk whose
    /// checksum is wrong.
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut positions = Vec::new();
        loop {
            match entry.read_chunk()? {
                ReadChunkResult::Chunk(mut chunk) => {
                    positions.push(chunk.log_position());
                    chunk.read_all()?;
                    if !chunk.check_crc()? {
                        return Ok(());
                    }
                }
                ReadChunkResult::EndOfEntry => break,
                ReadChunkResult::AbortedEntry => return Ok(()),
            }
        }
        self.0.lock().append(&mut positions);
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

impl Log for Open {
    fn append(&mut self, records: &[&[u8]]) {
        let mut entry = self.log.begin_entry().expect("the log is open");
        for record in records {
            self.positions.push(entry.write_chunk(record).expect("the disk works").position);
        }
        entry.commit().expect("the disk works");
    }

    fn records(&self) -> u64 {
        self.positions.len() as u64
    }

    fn into_reader(self: Box<Self>) -> Box<dyn Reader> {
        Box::new(Reading { log: self.log, positions: self.positions })
    }

    fn discard(self: Box<Self>, _: &Path) {
        self.log.shutdown().expect("the disk works");
    }
}

struct Reading {
    log: WriteAheadLog,
    positions: Vec<LogPosition>,
}

impl Reading {
    fn read(&self, index: u64, body: &mut Vec<u8>) {
        body.clear();
        let position = self.positions[usize::try_from(index).expect("it fits")];
        let mut chunk = self.log.read_at(position).expect("it is there");
        chunk.read_to_end(body).expect("it can be read");
        assert!(chunk.crc_is_valid().expect("it is read to its end"), "record {index} is damaged");
    }
}

impl Reader for Reading {
    fn get(&self, index: u64) {
        let mut body = Vec::with_capacity(1024);
        self.read(index, &mut body);
        touch_ends(&body);
    }

    fn scan(&self, range: Range<u64>) -> u64 {
        let (mut body, count) = (Vec::with_capacity(1024), range.end - range.start);
        for index in range {
            self.read(index, &mut body);
            touch_all(&body);
        }
        count
    }
}
