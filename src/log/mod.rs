//! Many segments as one log: one writer, a group-commit flusher, cheap readers.
//!
//! The type of a handle says what it may do: the writer ([`Log`]) appends, truncates and purges; a [`LogReader`] reads;
//! a [`Committer`] commits; a [`LogCloser`] ends the log; [`Health`] has damage repaired; [`Capacity`] admits entries.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Log`], and the parts that its handles share |
//! | `append` | the writer, and the room that entries need |
//! | [`closer`] | [`LogCloser`] |
//! | [`committer`] | [`Committer`] |
//! | `files` | the files in the directory beside the segments |
//! | `read` | entries and records, from any thread |
//! | [`recovery`] | what a start finds, and what it does about it |
//! | [`segments`] | the list of segments |
//! | `sync` | group commit |
//! | `upkeep` | purge, retention, scrub and [`repair`] |

mod append;
mod closer;
mod committer;
mod files;
mod read;
pub(crate) mod recovery;
mod segments;
mod sync;
mod upkeep;

pub(crate) use append::admission;
use append::{capacity, spare};
pub(crate) use files::{directory, failure, names, unsynced_names};
use files::{hard_state, start_file};
pub(crate) use read::{progress, reader};
pub(crate) use recovery::offline_access;
use recovery::{lost_entries, open, scan};
use sync::flusher;
pub(crate) use sync::threads;
pub(crate) use upkeep::{age, recheck, repair, retention, scrub};

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::Retention;
use crate::format::hard_state::{HardVote, LogPoint};
use crate::format::segment::Cursor;
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;
use append::sparse::Sparse;
pub(crate) use capacity::Capacity;
pub(crate) use closer::LogCloser;
pub(crate) use committer::Committer;
use directory::Identity;
use files::log_files::LogFiles;
pub use flusher::Flusher;
use hard_state::HardStateFile;
#[cfg(test)]
use open::Recovered;
use progress::Progress;
use read::uncommitted::Uncommitted;
pub(crate) use reader::LogReader;
use retention::Unlinked;
use segments::SegmentList;
use spare::Spare;
#[cfg(feature = "internals")]
pub(crate) use start_file::MAGIC as START_MAGIC;
use start_file::StartFile;
pub(crate) use start_file::{PurgePoint, StartPoint};
pub(crate) use sync::completion::Completion;
use threads::FlushScheduler;
pub(crate) use upkeep::health::Health;

/// What a log is made with, besides its directory.
#[derive(Clone)]
pub(crate) struct LogOptions {
    /// Bytes of a segment file.
    pub(crate) segment_size: u64,
    /// `None`: an append is complete when it is synced. Else an append is complete when it is written, and the flusher
    /// syncs it within this time.
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

/// The writer of a log, of which there is one; it makes all other handles.
pub(crate) struct Log {
    parts: Arc<Parts>,
    /// The active segment. While the disk has no room for one: what its first entry will continue.
    active: Result<ActiveSegment, Cursor>,
}

/// What a log consists of. Each part owns its state; a handle holds the parts that it needs, or reads all of them.
pub(in crate::log) struct Parts {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    uncommitted: Uncommitted,
    progress: Arc<Progress>,
    start: StartFile,
    flusher: Arc<Flusher>,
    spare: Arc<Spare>,
    /// The active segment, while there is no room for all of its blocks.
    sparse: Arc<Sparse>,
    unlinked: Unlinked,
    health: Arc<Health>,
}

impl Parts {
    /// The parts of a log that begins at `start` and is synced up to `durable`.
    fn new(
        files: LogFiles,
        segments: Vec<Arc<Segment>>,
        progress: Progress,
        hard_state: HardStateFile,
        durable: LogPoint,
        start: StartPoint,
    ) -> Self {
        let (files, progress) = (Arc::new(files), Arc::new(progress));
        let segments = Arc::new(SegmentList::new(segments, files.segment_size()));
        let flusher = Flusher::new(files.clone(), segments.clone(), progress.clone(), hard_state, durable);
        let flusher = Arc::new(flusher);
        Self {
            uncommitted: Uncommitted::default(),
            progress,
            start: StartFile::new(files.clone(), start),
            spare: Arc::new(Spare::new(files.clone(), segments.clone())),
            sparse: Arc::default(),
            unlinked: Unlinked::default(),
            health: Arc::new(Health::new(files.clone(), segments.clone(), flusher.clone())),
            files,
            segments,
            flusher,
        }
    }
}

impl Log {
    fn new(parts: Arc<Parts>, active: Result<ActiveSegment, Cursor>) -> Self {
        Self { parts, active }
    }

    /// Reads the log.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader::new(self.parts.clone())
    }

    /// Commits entries.
    pub(crate) fn committer(&self) -> Committer {
        Committer::new(self.parts.clone())
    }

    /// Ends the log.
    pub(crate) fn closer(&self) -> LogCloser {
        let Parts { files, flusher, spare, .. } = &*self.parts;
        LogCloser { files: files.clone(), flusher: flusher.clone(), spare: spare.clone() }
    }

    /// Knows what is damaged, and has it repaired.
    pub(crate) fn health(&self) -> Arc<Health> {
        self.parts.health.clone()
    }

    /// Knows what room there is for entries.
    pub(crate) fn capacity(&self) -> Capacity {
        let Parts { files, segments, flusher, spare, sparse, .. } = &*self.parts;
        let (files, segments, flusher) = (files.clone(), segments.clone(), flusher.clone());
        Capacity { files, segments, flusher, spare: spare.clone(), sparse: sparse.clone() }
    }

    /// What the directory was made for, with its incarnation.
    pub(crate) fn identity(&self) -> &Identity {
        self.parts.files.directory().identity()
    }

    /// Whether the log has never had a vote or an entry.
    pub(crate) fn is_pristine(&self) -> bool {
        let begins_at_genesis = self.parts.start.point() == StartPoint::default();
        begins_at_genesis && self.end().number == 0 && self.reader().vote().is_none()
    }

    /// First, committed, durable, end.
    pub(crate) fn progress(&self) -> &Progress {
        &self.parts.progress
    }

    /// The last purged entry, if any was purged.
    pub(crate) fn purged(&self) -> Option<PurgePoint> {
        self.parts.start.purged()
    }

    /// Limits the votes that are saved at once: the task that saves one holds a permit meanwhile.
    pub(crate) fn vote_places(&self) -> Arc<Semaphore> {
        self.parts.files.options().scheduler.vote_places()
    }

    /// How much longer the save of a vote takes than its calls.
    pub(crate) fn vote_delay(&self) -> Duration {
        self.parts.files.options().scheduler.vote_delay()
    }

    /// Saves the vote. Durable on return.
    ///
    /// # Errors
    /// If the system fails; the log takes no further write then.
    pub(crate) fn save_vote(&mut self, vote: HardVote) -> io::Result<()> {
        self.parts.flusher.save_vote(vote)
    }

    /// The work of [`save_vote`](Self::save_vote), for another thread. The caller must not write to the log until that
    /// thread has done it.
    pub(crate) fn saving(&mut self, vote: HardVote) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let flusher = self.parts.flusher.clone();
        move || flusher.save_vote(vote)
    }

    /// Calls `done` when everything written so far is as durable as the log's setting says.
    pub(crate) fn on_durable(&mut self, done: Completion) {
        self.parts.flusher.on_durable(done);
    }

    /// Keeps the disk below `retention.refuse`: no segment file is made that would leave more in use.
    pub(crate) fn refuse_above(&mut self, retention: &Retention) {
        self.parts.spare.refuse_above(retention.refuse);
    }
}
