//! The local log of a node, without Raft around it, for the benches. No part of the API.
//!
//! Nothing is shorter than in a node: what is appended goes through `Draft::batch` and `Log::append_draft` as from the
//! proposer and `raft/storage/log_store`, is waited for through `Log::on_durable` and the node's flush thread, and is
//! committed through `Committer::commit` as by `raft/storage/state_machine`.

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Durability;
use crate::disk::real::RealDisk;
use crate::error::{Damage, OpenError, ReadError};
use crate::format::frame::Draft;
use crate::log::Completion;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions};
use crate::types::{Incarnation, ReadLimit, Record};

const TERM: u64 = 1;

/// The writing side of a log in a directory of its own.
pub struct LocalLog {
    log: Log,
}

/// The reading side; any number of them, on any thread.
#[derive(Clone)]
pub struct LocalReader {
    log: LogReader,
}

impl LocalLog {
    /// Opens the log in `dir`, making it if it is not there, with a flush thread and a file thread of its own.
    ///
    /// # Errors
    /// As a node's start.
    pub fn open(dir: &Path, segment_size: u64, durability: Durability) -> Result<Self, OpenError> {
        let failed = |what: &'static str| move |source| OpenError::Io { op: what, path: dir.to_owned(), source };
        let invalid = |error: &dyn ToString| failed("name")(io::Error::other(error.to_string()));
        let wanted = Identity {
            cluster: "local".parse().map_err(|error| invalid(&error))?,
            group: "local".parse().map_err(|error| invalid(&error))?,
            node: "n0".parse().map_err(|error| invalid(&error))?,
            segment_size,
            incarnation: Incarnation::random(),
        };
        let options = LogOptions {
            segment_size,
            interval: match durability {
                Durability::Sync => None,
                Durability::Interval(interval) => Some(interval),
            },
            scheduler: Arc::new(FlushThread::start().map_err(failed("start a thread for"))?),
            background: Arc::new(BackgroundThread::start().map_err(failed("start a thread for"))?),
        };
        let (log, _) = Log::open(Arc::new(RealDisk), dir.to_owned(), wanted, options)?;
        Ok(Self { log })
    }

    /// Writes `records` as one entry. Returns the index of the first. They are neither durable nor committed yet.
    ///
    /// # Errors
    /// If they are too large for a segment, or the system fails.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> io::Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Ok(self.log.append_draft(Draft::batch(records), TERM, now)?.index)
    }

    /// Waits until all that was appended is as durable as the setting says: synced, or written.
    ///
    /// # Errors
    /// If the system failed.
    pub fn wait_durable(&mut self) -> io::Result<()> {
        let (done, wait) = mpsc::channel();
        self.log.on_durable(Completion::new(move |result| {
            // Nobody listens any more: the caller is gone.
            let _ = done.send(result);
        }));
        wait.recv().map_err(io::Error::other)?
    }

    /// Declares all that was appended committed, as the state machine of a node without peers does.
    ///
    /// # Errors
    /// If the last entry is damaged.
    pub fn commit(&self) -> Result<(), Damage> {
        match self.log.end().number.checked_sub(1) {
            Some(last) => self.log.committer().commit(last),
            None => Ok(()),
        }
    }

    /// Index after the last record.
    pub fn end(&self) -> u64 {
        self.log.end().index
    }

    /// A reader.
    pub fn reader(&self) -> LocalReader {
        LocalReader { log: self.log.reader() }
    }

    /// Makes everything durable and lets others have the directory.
    ///
    /// # Errors
    /// If a sync fails or one failed before.
    pub fn close(self) -> io::Result<()> {
        self.log.closer().close()
    }
}

impl LocalReader {
    /// The committed record `index`.
    ///
    /// # Errors
    /// Not committed yet, or damaged.
    pub fn get(&self, index: u64) -> Result<Record, ReadError> {
        self.log.record(index)
    }

    /// Committed records from `first` on, until the limit.
    ///
    /// # Errors
    /// As [`LocalReader::get`].
    pub fn scan(&self, first: u64, limit: ReadLimit) -> Result<Vec<Record>, ReadError> {
        self.log.records(first..u64::MAX, limit)
    }

    /// Index after the last committed record.
    pub fn committed(&self) -> u64 {
        self.log.progress().committed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_after_the_commit_and_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LocalLog::open(dir.path(), 1 << 20, Durability::Sync).unwrap();
        let reader = log.reader();
        assert_eq!(log.append(&["a", "b"]).unwrap(), 0);
        assert_eq!(log.append(&["c"]).unwrap(), 2);
        log.wait_durable().unwrap();
        assert_eq!(reader.committed(), 0, "durable is not committed");
        assert!(reader.get(0).is_err());
        log.commit().unwrap();
        assert_eq!(&reader.get(1).unwrap().body[..], b"b");
        log.close().unwrap();
        drop(reader);
        let log = LocalLog::open(dir.path(), 1 << 20, Durability::Sync).unwrap();
        assert_eq!(log.end(), 3);
        let records = log.reader().scan(0, ReadLimit::default()).unwrap();
        assert_eq!(records.iter().map(|record| &record.body[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }
}
