//! Group commit: what waits for a sync, and one pass over it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Log, Shared};
use crate::format::hard_state::CommitPoint;
use crate::format::segment::Cursor;

/// Called once with the outcome of a flush that covers what was written before it was queued.
pub(crate) struct Completion(Option<Box<dyn FnOnce(io::Result<()>) + Send>>);

impl Completion {
    pub(crate) fn new(done: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    fn complete(mut self, result: io::Result<()>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }

    /// A newer completion of the same pass speaks for this one: Raft takes completions as a watermark.
    fn superseded(mut self) {
        self.0 = None;
    }
}

impl Drop for Completion {
    /// Whoever waits must hear something: a flush that is forgotten would look like a slow disk for ever.
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(io::Error::other("the flusher is gone")));
        }
    }
}

/// What waits for the next pass.
pub(super) struct FlushQueue {
    state: Mutex<State>,
    /// One pass at a time.
    pass: Mutex<()>,
}

struct State {
    waiting: Vec<Completion>,
    /// Everything before is synced.
    durable: Cursor,
    /// Lowest truncation since the running pass began.
    truncated: Option<Cursor>,
    files_changed: bool,
    scheduled: bool,
}

impl FlushQueue {
    /// Everything before `durable` has been synced.
    pub(super) fn new(durable: Cursor) -> Self {
        let state = State { waiting: Vec::new(), durable, truncated: None, files_changed: false, scheduled: false };
        Self { state: Mutex::new(state), pass: Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment file was added: its name must become durable too.
    pub(super) fn files_changed(&self) {
        self.state().files_changed = true;
    }

    /// Entries from `cut` on are gone.
    pub(super) fn truncated(&self, cut: Cursor) {
        let mut state = self.state();
        if cut.position < state.durable.position {
            state.durable = cut;
        }
        if state.truncated.is_none_or(|lowest| cut.position < lowest.position) {
            state.truncated = Some(cut);
        }
    }

    /// The log begins anew at `next`.
    pub(super) fn restarted(&self, next: Cursor) {
        let mut state = self.state();
        (state.durable, state.truncated, state.files_changed) = (next, Some(next), true);
    }
}

impl Log {
    /// Calls `done` when everything written so far is as durable as the log's setting says.
    pub(crate) fn on_durable(&mut self, done: Completion) {
        let shared = &self.shared;
        let mut state = shared.flush.state();
        let after = match shared.options.interval {
            None => {
                state.waiting.push(done);
                Duration::ZERO
            }
            Some(interval) => {
                // The bargain of `Durability::Interval`: written is enough; a sync follows.
                match shared.check() {
                    Ok(()) => done.complete(Ok(())),
                    failed => done.complete(failed),
                }
                interval
            }
        };
        if !state.scheduled {
            state.scheduled = true;
            drop(state);
            shared.options.scheduler.schedule(shared.clone(), after);
        }
    }
}

/// One pass over a log.
pub(super) struct Pass {
    waiting: Vec<Completion>,
    /// Everything before was synced when the pass began.
    durable: Cursor,
    /// What was known to be committed then: it is durable when the pass is over.
    committed: CommitPoint,
}

impl Shared {
    /// One pass: syncs everything written so far, then completes everything that waited. Called by the scheduler.
    pub(crate) fn flush(&self) {
        let _one_at_a_time = self.flush.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pass = self.begin_pass();
        let mut waiting = std::mem::take(&mut pass.waiting);
        let synced = self.check().and_then(|()| self.sync(&pass));
        let result = synced.and_then(|upto| self.end_pass(&pass, upto));
        let Some(newest) = waiting.pop() else { return };
        for older in waiting {
            older.superseded();
        }
        newest.complete(result);
    }

    pub(super) fn begin_pass(&self) -> Pass {
        let committed = self.progress.commit_point();
        let mut state = self.flush.state();
        state.scheduled = false;
        state.truncated = None;
        Pass { waiting: std::mem::take(&mut state.waiting), durable: state.durable, committed }
    }

    /// Syncs what lies behind `durable`. Returns up to where the log is durable then.
    pub(super) fn sync(&self, pass: &Pass) -> io::Result<Cursor> {
        let durable = pass.durable;
        let (dirty, upto) = {
            let segments = self.segments();
            let dirty: Vec<_> = segments.iter().filter(|s| s.end_position() > durable.position).cloned().collect();
            let upto = segments.last().map_or(durable, |last| last.end());
            (dirty, upto)
        };
        // Taken after the segments were: the name of every one of them is covered.
        let files_changed = std::mem::take(&mut self.flush.state().files_changed);
        for segment in dirty {
            let synced = segment.sync();
            self.or_fail("syncing", synced)?;
        }
        if files_changed {
            let synced = self.disk.sync_dir(self.directory.path());
            self.or_fail("syncing the directory", synced)?;
        }
        Ok(upto)
    }

    /// Everything before `upto` is synced. Notes the commit point of the beginning of the pass: so it is never further
    /// than what is durable here, and a start that does not find it knows that something was lost.
    pub(super) fn end_pass(&self, pass: &Pass, upto: Cursor) -> io::Result<()> {
        let mut state = self.flush.state();
        let upto = match state.truncated.take() {
            Some(cut) if cut.position < upto.position => cut,
            _ => upto,
        };
        state.durable = upto;
        self.progress.set_durable(upto.index);
        drop(state);
        let written = self.hard_state().remember_commit(pass.committed);
        self.or_fail("writing the commit point", written)
    }

    /// Syncs everything, ends the log's file work and lets others have the directory. The log takes no write after.
    pub(super) fn close(&self) -> io::Result<()> {
        if self.failure() == Some(CLOSED) {
            return Ok(());
        }
        self.flush();
        let closed = self.check().and_then(|()| {
            let synced = self.hard_state().sync();
            self.or_fail("syncing the commit point", synced)
        });
        let _ = self.failure.set(CLOSED.into());
        self.options.scheduler.forget(self);
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // Jobs run in order and a panic in one does not end the thread, so this one comes.
        self.options.background.run(Box::new(move || drop(done)));
        let _ = wait.recv();
        self.directory.unlock();
        closed
    }
}

/// What a log says that was closed cleanly.
const CLOSED: &str = "the log is closed";

/// Used by schedulers that hold a list of logs.
pub(crate) type FlushTarget = Arc<Shared>;
