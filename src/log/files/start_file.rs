//! Where the log begins.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::log_files::LogFiles;
use super::names;
use crate::disk::{Disk, is_exhausted};
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::sealed;
use crate::format::segment::Cursor;
use crate::log::directory::{Directory, io_error, unseal};

/// Mark of the start file.
pub(crate) const MAGIC: [u8; 8] = *b"DLEDGSTA";
/// Attempts to write the start file while the process has no free descriptor, and the pause between two: one second in
/// all, in which another task should close a file.
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The `start` file of a log.
pub(in crate::log) struct StartFile {
    files: Arc<LogFiles>,
    point: Mutex<StartPoint>,
    /// Held while another start is written, so that readers of `point` do not wait for the disk.
    changing: Mutex<()>,
    /// Number of the first entry that is not purged: `point` without its lock.
    first_number: AtomicU64,
}

/// The content of the `start` file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartPoint {
    /// The end of the purged entries, if any were purged.
    pub(crate) purged: Option<PurgePoint>,
    /// Raft's metadata snapshot; opaque here.
    pub(crate) snapshot: Option<Vec<u8>>,
}

/// The last purged entry, and what the first remaining one must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurgePoint {
    /// Term of the last purged entry.
    pub(crate) term: u64,
    /// Number of the last purged entry.
    pub(crate) number: u64,
    /// What the first remaining entry must continue.
    pub(crate) next: Cursor,
}

impl StartPoint {
    /// Reads the file; a log that has never been purged has none.
    pub(in crate::log) fn read(disk: &dyn Disk, directory: &Directory) -> Result<Self, OpenError> {
        let path = directory.file(names::START);
        match disk.read(&path) {
            Ok(bytes) => {
                let start: Self = unseal(&path, &MAGIC, &bytes, "start of the log", "where the log begins")?;
                start.check(path, directory.identity().segment_size)?;
                Ok(start)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Refuses a place where no log of segments of `size` bytes can begin.
    fn check(&self, file: PathBuf, size: u64) -> Result<(), Damage> {
        match self.purged {
            Some(PurgePoint { number, next, .. })
                if number.checked_add(1) != Some(next.number) || !next.can_begin(size) =>
            {
                let found = format!("{next:?} behind entry {number}");
                let mismatch = Mismatch::new("start of the log", found, "a place where a log can begin");
                Err(Damage { file, position: next.position, index: next.index, mismatch })
            }
            _ => Ok(()),
        }
    }
}

impl StartFile {
    pub(in crate::log) fn new(files: Arc<LogFiles>, point: StartPoint) -> Self {
        let first_number = point.purged.map_or(0, |purged| purged.number + 1).into();
        Self { files, point: Mutex::new(point), changing: Mutex::default(), first_number }
    }

    /// Where the log begins.
    pub(in crate::log) fn point(&self) -> StartPoint {
        self.point.lock().clone()
    }

    /// The last purged entry, if any was purged.
    pub(in crate::log) fn purged(&self) -> Option<PurgePoint> {
        self.point.lock().purged
    }

    /// Number of the first entry that is not purged.
    pub(in crate::log) fn first_number(&self) -> u64 {
        self.first_number.load(Ordering::Acquire)
    }

    /// Applies `change` to the start point and replaces the file. Durable on return.
    pub(in crate::log) fn change(&self, change: impl FnOnce(&mut StartPoint)) -> io::Result<()> {
        let _alone = self.changing.lock();
        let mut changed = self.point();
        change(&mut changed);
        let bytes = sealed::encode(&MAGIC, &changed).map_err(io::Error::other)?;
        self.write_surely(&bytes)?;
        let mut point = self.point.lock();
        if let Some(purged) = changed.purged {
            self.first_number.store(purged.number + 1, Ordering::Release);
        }
        *point = changed;
        Ok(())
    }

    /// Keeps Raft's metadata snapshot. Durable on return.
    pub(in crate::log) fn save_snapshot(&self, snapshot: Vec<u8>) -> io::Result<()> {
        self.files.check()?;
        let saved = self.change(|start| start.snapshot = Some(snapshot));
        self.files.or_fail("saving the snapshot", saved)
    }

    /// Writes the file, and tries again while the process lacks a descriptor: nothing is written then.
    fn write_surely(&self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            match self.write(bytes) {
                Err(error) if is_exhausted(&error) => std::thread::sleep(PAUSE),
                written => return written,
            }
        }
        self.write(bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let path = self.files.directory().file(names::START);
        self.files.ballast().write(|| self.files.disk().write_atomic(&path, bytes))
    }
}
