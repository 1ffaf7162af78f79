//! `mrecordlog` 0.4.0, the log of Quickwit.
//!
//! - with sync: `SyncPolicy::OnAppend`. It hands its buffer to the system after each call and never calls `fsync`, so a
//!   loss of power is not survived.
//! - without: `SyncPolicy::OnDelay`; what a call wrote may stay in the process' buffer until a later one.
//!
//! It keeps every record in memory and reads from there: nothing of it is ever cold, and opening reads all.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use mrecordlog::{MultiRecordLog, SyncPolicy};
use tokio::runtime::{Builder, Runtime};

use super::{Log, Peer, Reader, Survives, touch_all, touch_ends};

pub const PEER: Peer = Peer {
    name: "mrecordlog",
    synced: Survives::Kill,
    unsynced: Some(Survives::Nothing),
    reads_files: false,
    checks_when_opened: true,
    open: |dir, how| {
        let runtime = Builder::new_current_thread().build().expect("a runtime starts");
        let policy = if how.sync { SyncPolicy::OnAppend } else { SyncPolicy::OnDelay(Duration::from_secs(60)) };
        std::fs::create_dir_all(dir).expect("the directory can be made");
        let mut log = runtime.block_on(MultiRecordLog::open_with_prefs(dir, policy)).expect("the log opens");
        if !log.queue_exists(QUEUE) {
            runtime.block_on(log.create_queue(QUEUE)).expect("the disk works");
        }
        Box::new(Open { log, runtime })
    },
};

const QUEUE: &str = "q";

struct Open {
    log: MultiRecordLog,
    runtime: Runtime,
}

impl Log for Open {
    fn append(&mut self, records: &[&[u8]]) {
        self.runtime.block_on(self.log.append_records(QUEUE, None, records.iter().copied())).expect("the disk works");
    }

    fn records(&self) -> u64 {
        self.log.range(QUEUE, ..).expect("the queue is there").last().map_or(0, |(index, _)| index + 1)
    }

    fn into_reader(self: Box<Self>) -> Box<dyn Reader> {
        Box::new(Reading(self.log))
    }

    fn discard(self: Box<Self>, _: &Path) {}
}

struct Reading(MultiRecordLog);

impl Reader for Reading {
    fn get(&self, index: u64) {
        let mut found = self.0.range(QUEUE, index..=index).expect("the queue is there");
        touch_ends(&found.next().expect("it is there").1);
    }

    fn scan(&self, range: Range<u64>) -> u64 {
        let found = self.0.range(QUEUE, range).expect("the queue is there");
        found.map(|(_, record)| touch_all(&record)).count() as u64
    }
}
