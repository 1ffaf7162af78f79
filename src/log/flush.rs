//! Group commit: what waits for a sync, and one pass over it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Log, Shared};
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

    #[cfg(test)]
    pub(super) fn durable_for_review(&self) -> Cursor {
        self.state().durable
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

impl Shared {
    /// One pass: syncs everything written so far, then completes everything that waited. Called by the scheduler.
    pub(crate) fn flush(&self) {
        let _one_at_a_time = self.flush.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, durable, files_changed) = {
            let mut state = self.flush.state();
            state.scheduled = false;
            state.truncated = None;
            (std::mem::take(&mut state.waiting), state.durable, std::mem::take(&mut state.files_changed))
        };
        let synced = self.check().and_then(|()| self.sync(durable, files_changed));
        let result = match synced {
            Ok(upto) => {
                self.advance_durable(upto);
                self.remember_commit()
            }
            Err(error) => Err(error),
        };
        let Some(newest) = waiting.pop() else { return };
        for older in waiting {
            older.superseded();
        }
        newest.complete(result);
    }

    /// Syncs what lies behind `durable`. Returns up to where the log is durable then.
    fn sync(&self, durable: Cursor, files_changed: bool) -> io::Result<Cursor> {
        let (dirty, upto) = {
            let segments = self.segments();
            let dirty: Vec<_> = segments.iter().filter(|s| s.end_position() > durable.position).cloned().collect();
            let upto = segments.last().map_or(durable, |last| last.end());
            (dirty, upto)
        };
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

    #[cfg(test)]
    pub(super) fn sync_for_review(&self, durable: Cursor) -> Cursor {
        #[allow(clippy::unwrap_used)]
        self.sync(durable, false).unwrap()
    }

    #[cfg(test)]
    pub(super) fn finish_pass_for_review(&self, upto: Cursor) {
        self.advance_durable(upto);
        #[allow(clippy::unwrap_used)]
        self.remember_commit().unwrap();
    }

    fn advance_durable(&self, upto: Cursor) {
        let mut state = self.flush.state();
        let upto = match state.truncated.take() {
            Some(cut) if cut.position < upto.position => cut,
            _ => upto,
        };
        state.durable = upto;
        self.progress.set_durable(upto.index);
    }

    /// Notes the commit point, never further than what is durable here: so a start that does not find it knows that
    /// something was lost.
    fn remember_commit(&self) -> io::Result<()> {
        let (point, durable) = (self.progress.commit_point(), self.flush.state().durable);
        if point.number > durable.number {
            return Ok(());
        }
        let written = self.hard_state().remember_commit(point);
        self.or_fail("writing the commit point", written)
    }

    /// Syncs everything, ends the log's file work and lets others have the directory. The log takes no write after.
    pub(super) fn close(&self) -> io::Result<()> {
        self.flush();
        let closed = self.check().and_then(|()| {
            self.remember_commit()?;
            let synced = self.hard_state().sync();
            self.or_fail("syncing the commit point", synced)
        });
        let _ = self.failure.set("the log is closed".into());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // The sender is dropped with the job, whether it ran or its thread is gone already.
        self.options.background.run(Box::new(move || drop(done)));
        let _ = wait.recv();
        self.directory.unlock();
        closed
    }
}

/// Used by schedulers that hold a list of logs.
pub(crate) type FlushTarget = Arc<Shared>;
