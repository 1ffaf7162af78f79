//! Tools for the directory of a ledger whose node is stopped: dump, verify, truncate, compare, repair, recover.
//!
//! A [`StoppedLedger`] holds the directory's lock, so no node can start in the directory meanwhile.
//! [`StoppedLedger::to_read`] does without the lock where it cannot take it, and needs no right to write. The identity
//! file in the directory names its cluster, ledger and node. Only [`StoppedLedger::truncate`],
//! [`StoppedLedger::make_new_cluster`] and [`repair()`] write; files that root makes there are given to the directory's
//! owner. The tools read all files with `pread`, so that they can report a bad sector and read the rest.
//!
//! | file | what it is |
//! |---|---|
//! | `dump`, `item` | [`StoppedLedger::dump`]: shows the whole directory, in order; goes on behind damage |
//! | `verify`, `finding` | [`StoppedLedger::verify`]: checks every byte |
//! | `start_prediction` | what a start of the node would do about the findings |
//! | `truncate` | [`StoppedLedger::truncate`]: removes records from an index on, also in front of damage |
//! | `recover` | [`StoppedLedger::make_new_cluster`]: makes a cluster of one, when the quorum is lost for good |
//! | `diff` | [`diff()`]: finds the first difference between two replicas |
//! | `repair` | [`repair()`]: gets damaged ranges back from running replicas |
//! | `survey` | the walk over all segments that dump, verify, truncate and diff share |
//! | `sidefiles` | the files beside the segments |
//! | `error` | [`OfflineError`]: why a tool refused or failed |
//!
//! ```
//! use dledger::offline::{VerifyEvent, OfflineError, StoppedLedger};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let builder = dledger::Node::builder(dledger::NodeId::new(0), "127.0.0.1:0").single().group("g".parse()?);
//! # let node = builder.data_dir(dir.path()).configure(|c| c.segment_size = 32 << 20).start().await?;
//! # node.ledger("g")?.append("hello").await?;
//! # node.shutdown().await;
//! let ledger = StoppedLedger::open(dir.path().join("g"))?; // the directory of the ledger "g"
//! let summary = ledger.verify(&mut |checked| -> Result<(), OfflineError> {
//!     if let VerifyEvent::Finding(finding) = checked {
//!         println!("{finding}");
//!     }
//!     Ok(())
//! })?;
//! assert_eq!((summary.damages, summary.records), (0, 1));
//! # Ok(())
//! # }
//! ```

mod diff;
mod dump;
mod error;
mod finding;
mod item;
mod recover;
mod repair;
mod sidefiles;
mod start_prediction;
mod survey;
mod truncate;
mod verify;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use diff::{Comparison, Difference, FieldDifference, Side, diff};
pub use dump::DumpOptions;
pub use error::OfflineError;
pub use finding::{AtStart, Finding, Severity};
pub use item::{DumpItem, DumpPoint, DumpedRecord, EntryItem, EntryKindName};
pub use recover::{GivenUpMember, NewCluster};
pub use repair::repair;
pub use truncate::Truncation;
pub use verify::{VerifyEvent, VerifySummary};

use crate::disk::read_only::ReadOnlyDisk;
use crate::disk::real::RealDisk;
use crate::disk::{Disk, owner};
use crate::error::{Mismatch, OpenError};
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::log::StartPoint;
use crate::log::directory::{Directory, Identity, io_error};
use crate::log::names::{self, FileKind};
use crate::log::offline_access;
use crate::log::unsynced_names::put_back;

/// The directory of one ledger of a stopped node; locked, unless [`unlocked`](StoppedLedger::unlocked) says otherwise.
pub struct StoppedLedger {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// The directory, if its identity can be read.
    directory: Result<Directory, UnusableFile>,
    /// Where the log begins, if the start file can be read.
    start: Result<StartPoint, UnusableFile>,
    segment_size: u64,
    /// The names of all files, ascending.
    names: Vec<String>,
    /// Why the lock is not held, if it is not.
    unlocked: Option<String>,
    _lock: Option<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for StoppedLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoppedLedger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The lock, or why it is not held.
type Locked = (Option<Box<dyn Send + Sync>>, Option<String>);

/// A note for the user of a tool that writes in `dir`, if the user is root: the tool gives the files that it makes
/// there to the directory's owner.
pub fn given_to_owner(dir: &Path) -> Option<String> {
    let (uid, gid) = owner::given_to(dir)?;
    Some(format!("run by root: files that are made in {} are given to its owner, {uid}:{gid}", dir.display()))
}

/// A damaged or missing file without which no start is possible.
#[derive(Debug, Clone)]
struct UnusableFile {
    file: PathBuf,
    mismatch: Mismatch,
}

impl From<&UnusableFile> for OfflineError {
    fn from(UnusableFile { file, mismatch }: &UnusableFile) -> Self {
        Self::Damaged { file: file.clone(), mismatch: mismatch.clone() }
    }
}

impl StoppedLedger {
    /// Locks the directory of a ledger: the one in a node's data directory that has the name of the group.
    ///
    /// # Errors
    /// If the directory is in use, is not a ledger's, or is of a later format version; or the system fails.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, OfflineError> {
        Self::open_on(Arc::new(RealDisk), dir.into())
    }

    /// Opens the directory only for reading: makes no file and opens none for writing, so the right to read is enough,
    /// and a read-only file system will do. [`StoppedLedger::truncate`] fails. Other readers may open it at the same
    /// time. If the lock cannot be taken ([`StoppedLedger::unlocked`] says why), a node may start meanwhile.
    ///
    /// # Errors
    /// As [`StoppedLedger::open`].
    pub fn to_read(dir: impl Into<PathBuf>) -> Result<Self, OfflineError> {
        Self::look_on(Arc::new(ReadOnlyDisk), dir.into())
    }

    fn open_on(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, OfflineError> {
        Self::with_lock(disk, path, |disk, path| Ok((Some(offline_access::lock(disk, path)?), None)))
    }

    fn look_on(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, OfflineError> {
        Self::with_lock(disk, path, |disk, path| match offline_access::lock(disk, path) {
            Ok(lock) => Ok((Some(lock), None)),
            Err(OpenError::Io { source, .. }) => {
                let why = match source.kind() {
                    io::ErrorKind::NotFound => format!("it has no file {}", names::LOCK),
                    _ => source.to_string(),
                };
                Ok((None, Some(why)))
            }
            Err(locked) => Err(locked.into()),
        })
    }

    fn with_lock(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        lock: impl FnOnce(&dyn Disk, &Path) -> Result<Locked, OfflineError>,
    ) -> Result<Self, OfflineError> {
        let names = list(disk.as_ref(), &path)?;
        if !names.iter().any(|name| names::kind(name).is_some_and(|kind| kind != FileKind::Temporary)) {
            return Err(no_ledger(disk.as_ref(), path, &names));
        }
        let (lock, unlocked) = lock(disk.as_ref(), &path)?;
        // A start may have died while it renamed files: give them their names back, as the next start would.
        let _ = put_back(disk.as_ref(), &path)?;
        let names = list(disk.as_ref(), &path)?;
        let directory = usable(offline_access::open(disk.as_ref(), &path), "identity")?;
        let start = match &directory {
            Ok(directory) => usable(offline_access::start_point(disk.as_ref(), directory), "start of the log")?,
            Err(unusable) => Err(unusable.clone()),
        };
        let mut stopped = Self { disk, path, directory, start, segment_size: 0, names, unlocked, _lock: lock };
        stopped.segment_size = match &stopped.directory {
            Ok(directory) => directory.identity().segment_size,
            Err(_) => stopped.guess_segment_size(),
        };
        if stopped.segment_size <= SEGMENT_HEADER as u64 {
            let why = format!("its segments have {} bytes, too few for a header and entries", stopped.segment_size);
            return Err(OfflineError::NoLedger { dir: stopped.path, why });
        }
        Ok(stopped)
    }

    /// Why the directory is read without its lock; `None` if the lock is held. Without the lock a node may start
    /// meanwhile, and a tool may see half of a write of that node.
    pub fn unlocked(&self) -> Option<&str> {
        self.unlocked.as_deref()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of a segment.
    pub fn segment_size(&self) -> u64 {
        self.segment_size
    }

    fn identity(&self) -> Result<&Identity, &UnusableFile> {
        self.directory.as_ref().map(Directory::identity)
    }

    /// What the first stored entry continues, if that is known.
    fn base(&self) -> Option<Cursor> {
        let (identity, start) = (self.identity().ok()?, self.start.as_ref().ok()?);
        Some(start.purged.map_or(identity.genesis(), |purged| purged.next))
    }

    fn segment_path(&self, position: u64) -> PathBuf {
        self.path.join(names::segment(position))
    }

    fn index_path(&self, position: u64) -> PathBuf {
        self.path.join(names::index(position))
    }

    /// Positions of the segments that belong to the log, ascending.
    fn positions(&self) -> Vec<u64> {
        let begins = self.base().map_or(0, |base| base.position / self.segment_size * self.segment_size);
        let counts = |at: &u64| *at >= begins && at.is_multiple_of(self.segment_size);
        let segment = |name: &String| match names::kind(name) {
            Some(FileKind::Segment(at)) => Some(at),
            _ => None,
        };
        // The names are ascending and zero-padded, so the positions are ascending too.
        self.names.iter().filter_map(segment).filter(counts).collect()
    }

    /// The segment size in the first good segment header; without one, the size of the largest segment file.
    fn guess_segment_size(&self) -> u64 {
        let mut largest = 0;
        for name in self.names.iter().filter(|name| matches!(names::kind(name), Some(FileKind::Segment(_)))) {
            let Ok(file) = self.disk.open(&self.path.join(name)) else { continue };
            let mut bytes = [0; SEGMENT_HEADER];
            match file.read_at(&mut bytes, 0).map(|()| SegmentHeader::decode(&bytes)) {
                Ok(Ok(header)) => return header.size,
                _ => largest = largest.max(file.size()),
            }
        }
        largest
    }

    fn io<T>(op: &'static str, path: &Path, result: io::Result<T>) -> Result<T, OfflineError> {
        result.map_err(|error| io_error(op, path)(error).into())
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, OfflineError> {
    StoppedLedger::io("list", dir, disk.list(dir))
}

/// The error for a directory that is not a ledger's. If it contains a ledger's directory, the error names that one.
fn no_ledger(disk: &dyn Disk, dir: PathBuf, names: &[String]) -> OfflineError {
    let ledger = names.iter().find(|name| disk.read(&dir.join(name).join(names::IDENTITY)).is_ok());
    let why = match ledger {
        Some(name) => format!("but {name} in it is: give {}", dir.join(name).display()),
        None => "it holds no file of a ledger".into(),
    };
    OfflineError::NoLedger { dir, why }
}

/// Turns damage into a value, because the tools report it; any other error ends the tool.
fn usable<T>(opened: Result<T, OpenError>, what: &'static str) -> Result<Result<T, UnusableFile>, OfflineError> {
    match opened {
        Ok(value) => Ok(Ok(value)),
        Err(OpenError::Damaged(d)) => {
            Ok(Err(UnusableFile { file: d.file, mismatch: Mismatch { what: what.into(), ..d.mismatch } }))
        }
        Err(OpenError::Unexpected { path, .. }) => {
            let mismatch = Mismatch::new(what, "no file", "what the directory was made for");
            Ok(Err(UnusableFile { file: path.join(names::IDENTITY), mismatch }))
        }
        Err(error) => Err(error.into()),
    }
}
