//! A log on a simulated disk; the test runs its flushes and file work by hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::disk::sim::SimDisk;
use crate::error::OpenError;
use crate::log::Flusher;
use crate::log::directory::Identity;
use crate::log::names::BALLAST;
use crate::log::threads::FlushScheduler;
use crate::log::{Background, Log, LogOptions};
use crate::types::Incarnation;

/// Flushes and does file work when the test says so, so that a crash may come before.
pub(crate) struct Later {
    disk: SimDisk,
    flushes: Mutex<Vec<Arc<Flusher>>>,
    jobs: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    /// File work is done at once.
    at_once: AtomicBool,
    /// Calls that failed while file work was done.
    failures: AtomicU64,
}

impl FlushScheduler for Later {
    fn schedule(&self, log: Arc<Flusher>, _: Duration) {
        self.flushes.lock().push(log);
    }
}

impl Background for Later {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        if self.at_once.load(Ordering::Relaxed) { self.perform(job) } else { self.jobs.lock().push(job) }
    }
}

impl Later {
    pub(crate) fn new(disk: &SimDisk, at_once: bool) -> Arc<Self> {
        disk.set_expendable(BALLAST);
        let (flushes, jobs, failures) = Default::default();
        Arc::new(Self { disk: disk.clone(), flushes, jobs, at_once: at_once.into(), failures })
    }

    /// Does the queued file work.
    pub(crate) fn work(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock());
        jobs.into_iter().for_each(|job| self.perform(job));
    }

    /// Does the queued file work, and any that this work queues.
    pub(crate) fn work_at_once(&self) {
        self.at_once.store(true, Ordering::Relaxed);
        self.work();
    }

    /// Runs the passes that are due. Returns whether there were any.
    pub(crate) fn flush(&self) -> bool {
        let due = std::mem::take(&mut *self.flushes.lock());
        due.iter().for_each(|log| log.flush());
        !due.is_empty()
    }

    /// Drops the log, which holds this scheduler.
    pub(crate) fn forget(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock());
        let flushes = std::mem::take(&mut *self.flushes.lock());
        drop((jobs, flushes));
    }

    /// Calls that failed while file work was done: a log may go on after those.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn perform(&self, job: Box<dyn FnOnce() + Send>) {
        let before = self.disk.failures();
        job();
        self.failures.fetch_add(self.disk.failures() - before, Ordering::Relaxed);
    }
}

/// Opens the log of `disk` with segments of `size`.
pub(crate) fn open(
    disk: &SimDisk,
    size: u64,
    interval: Option<Duration>,
    later: &Arc<Later>,
) -> Result<Log, OpenError> {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: size,
        incarnation: Incarnation::from_u128(1),
    };
    let options = LogOptions { segment_size: size, interval, scheduler: later.clone(), background: later.clone() };
    Ok(Log::open(Arc::new(disk.clone()), PathBuf::from("/data"), identity, options)?.0)
}
