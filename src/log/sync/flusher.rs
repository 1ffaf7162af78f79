//! Group commit: what waits for a sync, and one pass over it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::completion::Completion;
use crate::format::hard_state::{HardVote, LogPoint};
use crate::log::files::log_files::LogFiles;
use crate::log::hard_state::HardStateFile;
use crate::log::progress::Progress;
use crate::log::segments::SegmentList;
use crate::types::ClosedKind;

/// Makes a log durable, and keeps the hard state, which notes how far the log is durable.
pub struct Flusher {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    progress: Arc<Progress>,
    hard_state: Mutex<HardStateFile>,
    queue: Mutex<FlushQueue>,
    /// Held during a pass.
    pass: Mutex<()>,
}

/// What waits for the next pass.
struct FlushQueue {
    waiting: Vec<Completion>,
    /// Every entry before this point is synced.
    durable: LogPoint,
    /// The log has added a segment file: the next pass must sync its name too.
    files_changed: bool,
    /// The scheduler has been asked for a pass that has not begun yet.
    scheduled: bool,
}

/// One pass over a log.
pub(in crate::log) struct Pass {
    waiting: Vec<Completion>,
    /// Every entry before this point was synced when the pass began.
    durable: LogPoint,
    /// The commit point when the pass began: all before it is durable when the pass is over.
    committed: LogPoint,
}

impl Flusher {
    /// The flusher of a log that is synced up to `durable`.
    pub(in crate::log) fn new(
        files: Arc<LogFiles>,
        segments: Arc<SegmentList>,
        progress: Arc<Progress>,
        hard_state: HardStateFile,
        durable: LogPoint,
    ) -> Self {
        let queue = FlushQueue { waiting: Vec::new(), durable, files_changed: false, scheduled: false };
        let (hard_state, queue) = (Mutex::new(hard_state), Mutex::new(queue));
        Self { files, segments, progress, hard_state, queue, pass: Mutex::new(()) }
    }

    pub(in crate::log) fn hard_state(&self) -> MutexGuard<'_, HardStateFile> {
        self.hard_state.lock()
    }

    /// Every entry before this position is synced.
    pub(in crate::log) fn durable_position(&self) -> u64 {
        self.queue.lock().durable.position
    }

    /// Every entry before this position is committed and durable.
    pub(in crate::log) fn settled_position(&self) -> u64 {
        self.progress.commit_point().position.min(self.durable_position())
    }

    /// Closes the descriptors of the segments that are durable and committed.
    pub(in crate::log) fn release_settled(&self) {
        if self.segments.can_release(self.progress.commit_point().position) {
            self.segments.release_below(self.settled_position());
        }
    }

    /// Has the next pass sync the directory, because the log has added a segment file.
    pub(in crate::log) fn files_changed(&self) {
        self.queue.lock().files_changed = true;
    }

    /// Keeps passes from beginning, and waits for a pass under way: the entries that a pass found when it began must
    /// still exist when it notes them.
    pub(in crate::log) fn hold(&self) -> MutexGuard<'_, ()> {
        self.pass.lock()
    }

    /// To be called, with the flush held, before the log removes the entries from `cut` on: notes that they are not
    /// durable any more, so that no start takes their absence for damage. Durable on return.
    pub(in crate::log) fn lower_durable(&self, cut: LogPoint) -> io::Result<()> {
        let mut queue = self.queue.lock();
        if cut.position < queue.durable.position {
            queue.durable = cut;
        }
        drop(queue);
        self.progress.lower_durable(cut.index);
        self.hard_state().lower(cut)
    }

    /// Notes that the log has begun anew at `next`. To be called with the flush held.
    pub(in crate::log) fn restarted(&self, next: LogPoint) {
        let mut queue = self.queue.lock();
        (queue.durable, queue.files_changed) = (next, true);
        self.progress.set_durable(next.index);
    }

    /// Saves the vote. Durable on return.
    pub(in crate::log) fn save_vote(&self, vote: HardVote) -> io::Result<()> {
        self.files.check()?;
        if self.files.options().interval.is_none() {
            // Raft takes votes and entries as one sequence: a durable vote tells it that all entries written before the
            // vote are durable too, and releases their acknowledgements.
            self.flush();
        }
        // Once the log is closed, its directory may belong to another log.
        let _not_closed = self.hold();
        self.files.check()?;
        let saved = self.files.writing(|| self.hard_state().save_vote(vote));
        self.files.or_fail("saving the vote", saved)
    }

    /// Calls `done` when everything written so far is as durable as the log's setting says.
    pub(in crate::log) fn on_durable(self: &Arc<Self>, done: Completion) {
        let options = self.files.options();
        let mut queue = self.queue.lock();
        let after = match options.interval {
            None => {
                queue.waiting.push(done);
                Duration::ZERO
            }
            Some(interval) => {
                // The bargain of `Durability::Interval`: written is enough; a sync follows.
                done.complete(self.files.check());
                interval
            }
        };
        if !queue.scheduled {
            queue.scheduled = true;
            drop(queue);
            options.scheduler.schedule(self.clone(), after);
        }
    }

    /// One pass: syncs everything written so far, then completes everything that waited. Called by the scheduler.
    pub fn flush(&self) {
        let _one_at_a_time = self.hold();
        let mut pass = self.begin_pass();
        let mut waiting = std::mem::take(&mut pass.waiting);
        let result = self.files.syncing(|| {
            let synced = self.files.check().and_then(|()| self.sync(&pass));
            synced.and_then(|upto| self.end_pass(&pass, upto))
        });
        let Some(newest) = waiting.pop() else { return };
        for older in waiting {
            older.superseded();
        }
        newest.complete(result);
    }

    pub(in crate::log) fn begin_pass(&self) -> Pass {
        let committed = self.progress.commit_point();
        let mut queue = self.queue.lock();
        queue.scheduled = false;
        Pass { waiting: std::mem::take(&mut queue.waiting), durable: queue.durable, committed }
    }

    /// Syncs everything written since the last pass. Returns up to where the log is durable then.
    pub(in crate::log) fn sync(&self, pass: &Pass) -> io::Result<LogPoint> {
        let durable = pass.durable;
        let (dirty, upto) = {
            let segments = self.segments.read();
            let dirty: Vec<_> = segments.iter().filter(|s| s.end_position() > durable.position).cloned().collect();
            let upto = segments.last().map_or(durable, |last| last.end().point());
            (dirty, upto)
        };
        // Taken after the segments were: the sync of the directory covers the name of every one of them.
        let files_changed = std::mem::take(&mut self.queue.lock().files_changed);
        for segment in dirty {
            self.files.or_fail("syncing", segment.sync())?;
        }
        if files_changed {
            let synced = self.files.directory().sync();
            self.files.or_fail("syncing the directory", synced)?;
        }
        Ok(upto)
    }

    /// Notes that every entry before `upto` is synced, and the commit point of the beginning of the pass, which is
    /// never further: a start that misses a noted entry knows that something was lost. Comes before the completions, so
    /// a process that dies leaves no acknowledged entry without a note.
    pub(in crate::log) fn end_pass(&self, pass: &Pass, upto: LogPoint) -> io::Result<()> {
        self.queue.lock().durable = upto;
        self.progress.set_durable(upto.index);
        let written = self.hard_state().note(pass.committed, upto);
        self.files.or_fail("noting what is durable", written)?;
        self.release_settled();
        Ok(())
    }

    /// Syncs the commit point, which the passes only write.
    pub(in crate::log) fn sync_hard_state(&self) -> io::Result<()> {
        self.files.check()?;
        let synced = self.hard_state().sync();
        self.files.or_fail("syncing the commit point", synced)
    }

    /// Ends the log: it takes no write from now on, and no pass begins.
    pub(in crate::log) fn abandon(&self) {
        let _no_pass = self.hold();
        self.files.end();
        self.files.options().scheduler.forget(self);
    }

    /// Stops the log, because a pass panicked.
    pub(super) fn panicked(&self) {
        self.files.fail(ClosedKind::Internal, "a flush pass panicked".into());
    }
}
