//! Who runs flush passes and file work in a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use tokio::sync::watch;

use dledger::seams::{Background, FlushScheduler, Flusher, Rng};

/// How slow the syncs of a machine are, through all its lives.
#[derive(Default)]
pub(crate) struct Pace {
    state: watch::Sender<Slowness>,
    held_up: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Slowness {
    /// While it is true, no pass begins.
    hangs: bool,
    /// Every pass takes so much longer, and every save of a vote.
    more: Duration,
}

impl Pace {
    pub(crate) fn hang(&self, hangs: bool) {
        self.state.send_modify(|state| state.hangs = hangs);
    }

    pub(crate) fn slow_down(&self, more: Duration) {
        self.state.send_modify(|state| state.more = more);
    }

    /// Passes that hung or were slow so far.
    pub(crate) fn held_up(&self) -> u64 {
        self.held_up.load(Ordering::Relaxed)
    }

    fn more(&self) -> Duration {
        self.state.borrow().more
    }

    async fn wait(&self) {
        let Slowness { hangs, more } = *self.state.borrow();
        if hangs || !more.is_zero() {
            self.held_up.fetch_add(1, Ordering::Relaxed);
        }
        SimRuntime::sleep(more).await;
        // No error: the sender is here.
        drop(self.state.subscribe().wait_for(|state| !state.hangs).await);
    }
}

/// A disk that takes its time over every sync, of one life of a machine: a pass that is still queued when the life
/// ends finds a disk that answers with errors.
pub(crate) struct SimScheduler {
    rng: Mutex<Rng>,
    /// No pass takes longer on a disk that is well.
    slowest: Duration,
    pace: Arc<Pace>,
}

impl SimScheduler {
    pub(crate) fn new(rng: Rng, slowest: Duration, pace: Arc<Pace>) -> Self {
        Self { rng: Mutex::new(rng), slowest, pace }
    }
}

impl FlushScheduler for SimScheduler {
    fn schedule(&self, flusher: Arc<Flusher>, delay: Duration) {
        let takes = Duration::from_micros(self.rng.lock().below(self.slowest.as_micros() as u64 + 1));
        let pace = self.pace.clone();
        // Detached: the end of the pass is told through the log.
        drop(SimRuntime::spawn(async move {
            SimRuntime::sleep(delay + takes).await;
            pace.wait().await;
            flusher.flush();
        }));
    }

    fn vote_delay(&self) -> Duration {
        self.pace.more()
    }
}

/// Does file work at once: there is no second thread.
pub(crate) struct InlineBackground;

impl Background for InlineBackground {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}
