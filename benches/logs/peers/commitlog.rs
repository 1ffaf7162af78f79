//! `commitlog` 0.2.0.
//!
//! - with sync: `flush()`. It does **not** sync the segment: it calls `File::flush`, which does nothing, and syncs the
//!   index alone. So a loss of power is not survived.
//! - without: the records are in the page cache when the call returns.
//!
//! Opening trusts the index and looks at no record.

use std::ops::Range;
use std::path::Path;

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::{Log, Peer, Reader, Survives, touch_all, touch_ends};

pub const PEER: Peer = Peer {
    name: "commitlog",
    synced: Survives::Kill,
    unsynced: Some(Survives::Kill),
    reads_files: true,
    checks_when_opened: false,
    open: |dir, how| {
        let mut options = LogOptions::new(dir);
        // A call of 1024 × 1 KiB is more than its default of 1 MB.
        options.message_max_bytes(4 << 20);
        Box::new(Open {
            log: CommitLog::new(options).expect("the log opens"),
            sync: how.sync,
            buffer: MessageBuf::default(),
        })
    },
};

/// Bytes around a record of 1 KiB or less, so that a read takes one.
const AROUND: usize = 100;
/// Bytes of one step of a scan.
const STEP: usize = 1 << 20;

struct Open {
    log: CommitLog,
    sync: bool,
    buffer: MessageBuf,
}

impl Log for Open {
    fn append(&mut self, records: &[&[u8]]) {
        self.buffer.clear();
        for record in records {
            self.buffer.push(record).expect("the buffer takes it");
        }
        self.log.append(&mut self.buffer).expect("there is room");
        if self.sync {
            self.log.flush().expect("the disk works");
        }
    }

    fn records(&self) -> u64 {
        self.log.next_offset()
    }

    fn into_reader(self: Box<Self>) -> Box<dyn Reader> {
        Box::new(Reading(self.log))
    }

    fn discard(self: Box<Self>, _: &Path) {}
}

struct Reading(CommitLog);

impl Reader for Reading {
    fn get(&self, index: u64) {
        let found = self.0.read(index, ReadLimit::max_bytes(1024 + AROUND)).expect("it can be read");
        let message = found.iter().next().expect("it is there");
        assert_eq!(message.offset(), index);
        touch_ends(message.payload());
    }

    fn scan(&self, range: Range<u64>) -> u64 {
        let mut next = range.start;
        while next < range.end {
            let found = self.0.read(next, ReadLimit::max_bytes(STEP)).expect("it can be read");
            assert!(!found.is_empty(), "nothing at {next}");
            for message in found.iter().take_while(|message| message.offset() < range.end) {
                touch_all(message.payload());
                next = message.offset() + 1;
            }
        }
        next - range.start
    }
}
