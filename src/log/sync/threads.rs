//! The threads that run flush passes and slow file work.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::flusher::Flusher;
use crate::log::Background;

/// Runs a flush pass over a log, now or a little later. The simulation has its own.
pub trait FlushScheduler: Send + Sync + 'static {
    /// Has [`flush`](Flusher::flush) called on `log` once, after `delay`.
    fn schedule(&self, log: Arc<Flusher>, delay: Duration);

    /// `log` is closed: a pass that is still to come has nothing to do. A scheduler that holds the flusher until then
    /// drops it, because it keeps the files mapped.
    fn forget(&self, _log: &Flusher) {}

    /// Limits the votes that are saved at once, because each save needs a thread.
    fn vote_places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    /// How much longer the save of a vote takes than the calls of the disk do: a simulated disk takes its time.
    fn vote_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// Votes that a node saves at once: ledgers that elect at the same time share these threads.
const VOTES: usize = 4;

/// One thread per node: when it wakes, it runs the passes of all logs that are due.
pub(crate) struct FlushThread {
    queue: Arc<Queue>,
    vote_places: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    logs: Vec<(Instant, Arc<Flusher>)>,
    stopping: bool,
}

impl FlushThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = queue.clone();
        let thread = std::thread::Builder::new().name("dledger-flush".into()).spawn(move || theirs.run())?;
        Ok(Self { queue, vote_places: Arc::new(Semaphore::new(VOTES)), thread: Some(thread) })
    }
}

impl FlushScheduler for FlushThread {
    fn vote_places(&self) -> Arc<Semaphore> {
        self.vote_places.clone()
    }

    fn schedule(&self, log: Arc<Flusher>, delay: Duration) {
        let due = Instant::now() + delay;
        self.queue.state().logs.push((due, log));
        self.queue.changed.notify_one();
    }

    fn forget(&self, log: &Flusher) {
        // The caller holds the log, so it is not dropped here.
        self.queue.state().logs.retain(|(_, other)| !std::ptr::eq(Arc::as_ptr(other), log));
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let due: Vec<_> = state.logs.extract_if(.., |(at, _)| *at <= now).map(|(_, log)| log).collect();
            if !due.is_empty() {
                drop(state);
                for log in &due {
                    // A panic must not end the syncs of all other logs; the completions of this one have failed by
                    // then.
                    if catch_unwind(AssertUnwindSafe(|| log.flush())).is_err() {
                        log.panicked();
                    }
                }
                drop(due);
                state = self.state();
                continue;
            }
            if state.stopping {
                return;
            }
            match state.logs.iter().map(|(at, _)| *at).min() {
                Some(next) => {
                    let wait = next.saturating_duration_since(now);
                    self.changed.wait_for(&mut state, wait);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}

impl Drop for FlushThread {
    /// Passes that are due still run; later ones are the closing of their logs.
    fn drop(&mut self) {
        self.queue.state().stopping = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic in a pass has already failed its completions.
            let _ = thread.join();
        }
    }
}

/// One thread per node for slow file work: preparing and removing segments.
pub(crate) struct BackgroundThread {
    queue: Arc<(Mutex<JobQueue>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct JobQueue {
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    stopping: bool,
}

impl BackgroundThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start() -> io::Result<Self> {
        let queue = Arc::new((Mutex::new(JobQueue::default()), Condvar::new()));
        let theirs = queue.clone();
        let run = move || {
            let (jobs, changed) = &*theirs;
            let mut state = jobs.lock();
            loop {
                match state.jobs.pop_front() {
                    Some(job) => {
                        drop(state);
                        // The next job must run all the same; the panic hook has reported this one.
                        let _ = catch_unwind(AssertUnwindSafe(job));
                        state = jobs.lock();
                    }
                    None if state.stopping => return,
                    None => changed.wait(&mut state),
                }
            }
        };
        let thread = std::thread::Builder::new().name("dledger-files".into()).spawn(run)?;
        Ok(Self { queue, thread: Some(thread) })
    }
}

impl Background for BackgroundThread {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.queue.0.lock().jobs.push_back(job);
        self.queue.1.notify_one();
    }
}

impl Drop for BackgroundThread {
    /// Queued jobs still run.
    fn drop(&mut self) {
        self.queue.0.lock().stopping = true;
        self.queue.1.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A job that panicked has been reported by the panic hook; nothing waits for it.
            let _ = thread.join();
        }
    }
}
