//! Many segments as one log: one writer, a group-commit flusher, cheap readers.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Log`], the writer's half, and what all halves share |
//! | `append` | the writer, and the room that it needs |
//! | `files` | what lies in the directory beside the segments |
//! | `read` | entries and records, from any thread |
//! | [`recovery`] | what is found at a start, and what is done about it |
//! | `sync` | group commit |
//! | `upkeep` | retention, scrub and [`repair`] |

mod append;
mod files;
mod read;
pub(crate) mod recovery;
mod sync;
mod upkeep;

pub(crate) use append::admission;
use append::spare;
use append::writer;
use files::{call_timer, hard_state, start_file};
pub(crate) use files::{directory, failure, names, unsynced_names};
use read::uncommitted;
pub(crate) use read::{progress, reader};
pub(crate) use recovery::offline_access;
use recovery::{lost_entries, open, scan};
pub(crate) use sync::{flush, threads};
pub(crate) use upkeep::{age, recheck, repair, retention, scrub};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod version_tests;

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use crate::disk::Disk;
use crate::format::hard_state::HardVote;
use crate::format::segment::Cursor;
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;
use crate::types::{ClosedKind, Group};
use admission::Sparse;
use call_timer::CallTimer;
use directory::Directory;
use failure::Failure;
use flush::FlushQueue;
use hard_state::HardStateFile;
#[cfg(test)]
use open::Recovered;
use progress::Progress;
use retention::Unlinked;
use scrub::Health;
use spare::Spare;
pub(crate) use start_file::StartPoint;
#[cfg(feature = "internals")]
pub(crate) use start_file::{MAGIC as START_MAGIC, PurgePoint};
use threads::FlushScheduler;
use uncommitted::Uncommitted;

/// What a log is made with, besides its directory.
#[derive(Clone)]
pub(crate) struct LogOptions {
    /// Bytes of a segment file.
    pub(crate) segment_size: u64,
    /// `None`: an append is complete when it is synced. Else when it is written, and synced within this time.
    pub(crate) interval: Option<Duration>,
    /// Runs flush passes.
    pub(crate) scheduler: Arc<dyn FlushScheduler>,
    /// Runs slow file work beside the writer: preparing, removing.
    pub(crate) background: Arc<dyn Background>,
}

/// Runs jobs one after the other, beside the caller.
pub trait Background: Send + Sync + 'static {
    /// Queues a job.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// The writer's half of a log. There is one; readers come from [`Log::reader`].
pub(crate) struct Log {
    shared: Arc<Shared>,
    /// The one that is written to. Without one, what its first entry will continue: there was no room for it yet.
    active: Result<ActiveSegment, Cursor>,
}

/// What the writer, the readers and the flusher share.
pub struct Shared {
    disk: Arc<dyn Disk>,
    directory: Directory,
    options: LogOptions,
    /// Ascending by position, the active one last; empty while there is no room for that. Held for writing while
    /// entries are removed.
    segments: RwLock<Vec<Arc<Segment>>>,
    tail: Mutex<Uncommitted>,
    start: Mutex<StartPoint>,
    /// Held while another start is written down: who reads it does not wait for the disk.
    changing_start: Mutex<()>,
    hard_state: Mutex<HardStateFile>,
    spare: Spare,
    /// The active segment, while there is no room for all of its blocks.
    sparse: Sparse,
    going: Unlinked,
    /// Segments that end at this position or before it hold no descriptor.
    let_go_below: AtomicU64,
    /// Told when a segment is begun, and when one cannot be made: retention may have something to do.
    grown: Notify,
    flush: FlushQueue,
    /// Flush passes, and calls of the writer, that wait for the disk.
    syncing: CallTimer,
    writing: CallTimer,
    progress: Progress,
    /// Number of the first entry that is not purged: `start` without waiting for its writes.
    first_number: AtomicU64,
    health: Health,
    failure: OnceLock<Failure>,
}

impl Log {
    /// A reader; cheap, any number of them.
    pub(crate) fn reader(&self) -> reader::LogReader {
        reader::LogReader::new(self.shared.clone())
    }

    /// Whether it has never had a vote or an entry.
    pub(crate) fn is_pristine(&self) -> bool {
        let begins_later = {
            let start = self.shared.start_point();
            start.purged.is_some() || start.snapshot.is_some()
        };
        !begins_later && self.end().number == 0 && self.reader().vote().is_none()
    }

    /// What the log knows of itself.
    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Where whoever saves a vote takes a place meanwhile.
    pub(crate) fn vote_places(&self) -> Arc<Semaphore> {
        self.shared.options.scheduler.vote_places()
    }

    /// How much longer the save of a vote takes than its calls.
    pub(crate) fn vote_delay(&self) -> Duration {
        self.shared.options.scheduler.vote_delay()
    }

    /// Saves the vote. Durable on return.
    ///
    /// # Errors
    /// If the system fails; the log takes no further write then.
    pub(crate) fn save_vote(&mut self, vote: HardVote) -> io::Result<()> {
        self.shared.save_vote(vote)
    }

    /// What [`save_vote`](Self::save_vote) does, for another thread. Until it has been done the log is not to be
    /// written to.
    pub(crate) fn saving(&mut self, vote: HardVote) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let shared = self.shared.clone();
        move || shared.save_vote(vote)
    }
}

impl Shared {
    /// The ledger whose log it is.
    fn group(&self) -> &Group {
        &self.directory.identity().group
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Stops the log for a reason that is not the system's.
    fn fail(&self, kind: ClosedKind, reason: String) {
        self.failure.get_or_init(|| {
            tracing::error!(group = %self.group(), %reason, "the log stops");
            Failure::Failed { kind, reason }
        });
    }

    fn save_vote(&self, vote: HardVote) -> io::Result<()> {
        self.check()?;
        if self.options.interval.is_none() {
            // Raft takes what is saved and synced as one sequence: a vote that is durable says that all entries written
            // before it are, and releases their acknowledgements.
            self.flush();
        }
        // A log that is closed meanwhile is not written to: its directory may be another log's by then.
        let _not_closed = self.hold_flush();
        self.check()?;
        let saved = self.writing.during(|| self.hard_state().save_vote(vote));
        self.or_fail("saving the vote", saved)
    }

    /// Refuses to go on after a failure.
    fn check(&self) -> io::Result<()> {
        match self.failure() {
            Some(failure) => Err(io::Error::other(failure.reason().to_owned())),
            None => Ok(()),
        }
    }

    /// Keeps the first failure for ever: what the disk holds is not known any more.
    fn or_fail<T>(&self, doing: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let reason = format!("{doing} in {}: {error}", self.directory.path().display());
            let first = self.failure.get_or_init(|| Failure::of(&error, reason)).reason();
            tracing::error!(group = %self.group(), reason = %first, "the log stops");
            io::Error::new(error.kind(), first.to_owned())
        })
    }

    fn hard_state(&self) -> parking_lot::MutexGuard<'_, HardStateFile> {
        self.hard_state.lock()
    }

    fn tail(&self) -> parking_lot::MutexGuard<'_, Uncommitted> {
        self.tail.lock()
    }

    fn segments(&self) -> parking_lot::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read()
    }

    fn segments_mut(&self) -> parking_lot::RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.segments.write()
    }

    /// Where the log begins.
    fn start_point(&self) -> parking_lot::MutexGuard<'_, StartPoint> {
        self.start.lock()
    }
}
