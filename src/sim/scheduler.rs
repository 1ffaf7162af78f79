//! Who runs flush passes and file work in a simulation.

use std::sync::Mutex;
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use tokio::sync::watch;

use super::file::lock;
use super::rng::Rng;
use crate::log::Background;
use crate::log::flush::FlushTarget;
use crate::log::flusher::Scheduler;

/// A disk that takes its time over every sync, of one life of a machine: a pass that is still queued when the life
/// ends finds a disk that answers with errors.
pub(crate) struct SimScheduler {
    rng: Mutex<Rng>,
    /// No pass takes longer.
    slowest: Duration,
    /// While it is true, no pass begins.
    hangs: watch::Receiver<bool>,
}

impl SimScheduler {
    pub(crate) fn new(rng: Rng, slowest: Duration, hangs: watch::Receiver<bool>) -> Self {
        Self { rng: Mutex::new(rng), slowest, hangs }
    }
}

impl Scheduler for SimScheduler {
    fn schedule(&self, log: FlushTarget, delay: Duration) {
        let takes = Duration::from_micros(lock(&self.rng).below(self.slowest.as_micros() as u64 + 1));
        let mut hangs = self.hangs.clone();
        // Detached: the end of the pass is told through the log.
        drop(SimRuntime::spawn(async move {
            SimRuntime::sleep(delay + takes).await;
            // An error: the node is gone, and its disk answers with errors.
            drop(hangs.wait_for(|hangs| !hangs).await);
            log.flush();
        }));
    }
}

/// Does file work at once: there is no second thread.
pub(crate) struct InlineBackground;

impl Background for InlineBackground {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}
