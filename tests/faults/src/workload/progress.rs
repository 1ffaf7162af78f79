//! What came of the calls, and how long none was acknowledged.

use std::time::{Duration, Instant};

use dledger::ClientError;
use dledger::error::Outcome;
use dledger_history::{Answer, NodeStatusEvent, Recorder, What};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// Counts of one scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Calls that ended.
    pub ops: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Appends refused.
    pub failed: u64,
    /// Appends that nobody knows the outcome of.
    pub unknown: u64,
    /// Reads and gets that were answered.
    pub reads: u64,
    /// Those that were not.
    pub reads_failed: u64,
    /// Records that tails delivered.
    pub tailed: u64,
    /// How often a node said what it is.
    pub statuses: u64,
    /// The index after the highest one that was acknowledged.
    pub end: u64,
}

/// What came of the calls, and how long none was acknowledged.
pub struct Progress {
    recorder: Recorder,
    figures: watch::Sender<Figures>,
    gaps: Mutex<Gaps>,
}

#[derive(Debug)]
struct Gaps {
    last: Instant,
    longest: Duration,
}

impl Progress {
    pub(super) fn new(recorder: Recorder) -> Self {
        let gaps = Mutex::new(Gaps { last: Instant::now(), longest: Duration::ZERO });
        Self { recorder, figures: watch::Sender::default(), gaps }
    }

    /// Where the calls are written down.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The counts by now.
    pub fn figures(&self) -> Figures {
        *self.figures.borrow()
    }

    /// Longest time without an ack since the first one, or since [`Progress::begin`].
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.gaps.lock();
        gaps.longest.max(gaps.last.elapsed())
    }

    /// What was before does not count: no fault was there.
    pub fn begin(&self) {
        *self.gaps.lock() = Gaps { last: Instant::now(), longest: Duration::ZERO };
    }

    /// Waits until that number of further records is acknowledged.
    ///
    /// # Errors
    /// Not in time.
    pub async fn acked(&self, more: u64, within: Duration) -> Result<(), String> {
        let mut figures = self.figures.subscribe();
        let goal = figures.borrow().acked + more;
        let reached = figures.wait_for(|figures| figures.acked >= goal);
        match tokio::time::timeout(within, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("no {more} more records were acknowledged within {within:?}")),
        }
    }

    /// An append was acknowledged.
    pub(super) fn acknowledged(&self, op: u64, acks: Vec<dledger_history::Acked>) {
        let (count, end) = (acks.len() as u64, acks.iter().map(|ack| ack.index + 1).max().unwrap_or(0));
        self.recorder.ok(op, Answer::Acked { acks });
        {
            let mut gaps = self.gaps.lock();
            gaps.longest = gaps.longest.max(gaps.last.elapsed());
            gaps.last = Instant::now();
        }
        self.count(|figures| {
            figures.ops += 1;
            figures.acked += count;
            figures.end = figures.end.max(end);
        });
    }

    /// An append was not acknowledged.
    pub(super) fn not_acknowledged(&self, op: u64, error: &ClientError) {
        let unknown = error.outcome() == Outcome::Unknown;
        if unknown {
            self.recorder.unknown(op, error);
        } else {
            self.recorder.fail(op, error);
        }
        self.count(|figures| {
            figures.ops += 1;
            figures.unknown += u64::from(unknown);
            figures.failed += u64::from(!unknown);
        });
    }

    /// A read was answered.
    pub(super) fn read(&self, op: u64, answer: Answer) {
        self.recorder.ok(op, answer);
        self.count(|figures| {
            figures.ops += 1;
            figures.reads += 1;
        });
    }

    /// A read was not answered: it has no effect in any case.
    pub(super) fn not_read(&self, op: u64, error: impl ToString) {
        self.recorder.fail(op, error);
        self.count(|figures| {
            figures.ops += 1;
            figures.reads_failed += 1;
        });
    }

    /// A tail delivered records.
    pub(super) fn tailed(&self, records: u64) {
        self.count(|figures| figures.tailed += records);
    }

    /// A node said what it is.
    pub(super) fn status(&self, event: NodeStatusEvent) {
        self.recorder.record(What::Status(event));
        self.count(|figures| figures.statuses += 1);
    }

    fn count(&self, change: impl FnOnce(&mut Figures)) {
        self.figures.send_modify(change);
    }
}
