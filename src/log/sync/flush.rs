//! Group commit: what waits for a sync, and one pass over it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::format::hard_state::LogPoint;
use crate::log::failure::Failure;
use crate::log::{Log, Shared};

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
pub(in crate::log) struct FlushQueue {
    state: Mutex<State>,
    /// Held during a pass.
    pass: Mutex<()>,
}

struct State {
    waiting: Vec<Completion>,
    /// Everything before is synced.
    durable: LogPoint,
    files_changed: bool,
    scheduled: bool,
}

impl FlushQueue {
    /// Everything before `durable` has been synced.
    pub(in crate::log) fn new(durable: LogPoint) -> Self {
        let state = State { waiting: Vec::new(), durable, files_changed: false, scheduled: false };
        Self { state: Mutex::new(state), pass: Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A segment file was added: its name must become durable too.
    pub(in crate::log) fn files_changed(&self) {
        self.state().files_changed = true;
    }
}

impl Shared {
    /// Everything before is synced.
    pub(in crate::log) fn durable_position(&self) -> u64 {
        self.flush.state().durable.position
    }

    /// Lets go of the descriptors of the segments of which all is durable and committed: nothing is written to them any
    /// more. Their mappings stay.
    pub(in crate::log) fn let_go(&self) {
        let size = self.options.segment_size;
        let settled = |position: u64| position / size * size;
        let committed = self.progress.commit_point().position;
        if settled(committed) <= self.let_go_below.load(Ordering::Acquire) {
            return;
        }
        let end = settled(committed.min(self.durable_position()));
        let before = self.let_go_below.fetch_max(end, Ordering::AcqRel);
        let segments = self.segments();
        let settled = segments.iter().rev().skip_while(|segment| segment.end_position() > end);
        settled.take_while(|segment| segment.end_position() > before).for_each(|segment| segment.let_go());
    }

    /// Keeps passes from beginning, and waits for the one that runs: what a pass found when it began must still be
    /// there when it notes it.
    pub(in crate::log) fn hold_flush(&self) -> MutexGuard<'_, ()> {
        self.flush.pass.lock()
    }

    /// Before entries from `cut` on are removed: they are not durable any more, and no start may take it for damage
    /// that they are not there. Durable on return. To be called with the flush held.
    pub(in crate::log) fn lower_durable(&self, cut: LogPoint) -> io::Result<()> {
        let mut state = self.flush.state();
        if cut.position < state.durable.position {
            state.durable = cut;
        }
        drop(state);
        self.progress.lower_durable(cut.index);
        self.hard_state().lower(cut)
    }

    /// The log has begun anew at `next`. To be called with the flush held.
    pub(in crate::log) fn restarted(&self, next: LogPoint) {
        let mut state = self.flush.state();
        (state.durable, state.files_changed) = (next, true);
        self.progress.set_durable(next.index);
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
pub(in crate::log) struct Pass {
    waiting: Vec<Completion>,
    /// Everything before was synced when the pass began.
    durable: LogPoint,
    /// What was known to be committed then: it is durable when the pass is over.
    committed: LogPoint,
}

impl Shared {
    /// One pass: syncs everything written so far, then completes everything that waited. Called by the scheduler.
    pub fn flush(&self) {
        let _one_at_a_time = self.hold_flush();
        let mut pass = self.begin_pass();
        let mut waiting = std::mem::take(&mut pass.waiting);
        let result = self.syncing.during(|| {
            let synced = self.check().and_then(|()| self.sync(&pass));
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
        let mut state = self.flush.state();
        state.scheduled = false;
        Pass { waiting: std::mem::take(&mut state.waiting), durable: state.durable, committed }
    }

    /// Syncs what lies behind `durable`. Returns up to where the log is durable then.
    pub(in crate::log) fn sync(&self, pass: &Pass) -> io::Result<LogPoint> {
        let durable = pass.durable;
        let (dirty, upto) = {
            let segments = self.segments();
            let dirty: Vec<_> = segments.iter().filter(|s| s.end_position() > durable.position).cloned().collect();
            let upto = segments.last().map_or(durable, |last| last.end().point());
            (dirty, upto)
        };
        // Taken after the segments were: the name of every one of them is covered.
        let files_changed = std::mem::take(&mut self.flush.state().files_changed);
        for segment in dirty {
            self.or_fail("syncing", segment.sync())?;
        }
        if files_changed {
            let synced = self.directory.sync();
            self.or_fail("syncing the directory", synced)?;
        }
        Ok(upto)
    }

    /// Everything before `upto` is synced. Notes that, and the commit point of the beginning of the pass, which is
    /// never further: a start that does not find what is noted knows that something was lost. Comes before anybody is
    /// told, so a process that dies leaves nothing acknowledged that is not noted.
    pub(in crate::log) fn end_pass(&self, pass: &Pass, upto: LogPoint) -> io::Result<()> {
        self.flush.state().durable = upto;
        self.progress.set_durable(upto.index);
        let written = self.hard_state().note(pass.committed, upto);
        self.or_fail("noting what is durable", written)?;
        self.let_go();
        Ok(())
    }

    /// Syncs everything, ends the log's file work and lets others have the directory. The log takes no write after.
    pub(in crate::log) fn close(&self) -> io::Result<()> {
        if self.failure() == Some(&Failure::Ended) {
            return Ok(());
        }
        self.flush();
        let closed = self.check().and_then(|()| {
            let synced = self.hard_state().sync();
            self.or_fail("syncing the commit point", synced)
        });
        self.abandon();
        self.end();
        closed
    }

    /// Takes no write from now on, nor a flush.
    pub(in crate::log) fn abandon(&self) {
        let _no_pass = self.hold_flush();
        // An error: there is a reason already, and the first one is kept.
        let _ = self.failure.set(Failure::Ended);
        self.options.scheduler.forget(self);
    }

    /// Ends the file work of a log that takes no write any more, and lets others have the directory.
    pub(in crate::log) fn end(&self) {
        self.end_spare();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // Jobs run in order and a panic in one does not end the thread, so this one comes.
        self.options.background.run(Box::new(move || drop(done)));
        let _ = wait.recv();
        self.directory.unlock();
    }
}

/// Used by schedulers that hold a list of logs.
pub type FlushTarget = Arc<Shared>;
