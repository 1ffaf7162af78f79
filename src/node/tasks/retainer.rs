//! The task that removes old segments, on every node by itself.

use std::time::Duration;

use super::roll_by_age;
use crate::config::{Config, Retention};
use crate::log::age::{BelievedTime, ClockDoubt, SegmentAges};
use crate::log::reader::LogReader;
use crate::log::retention::RetentionReview;
use crate::node::closing::run_until_closed;
use crate::node::ledger::WeakLedger;
use crate::raft::Runtime;
use crate::raft::storage::timestamps::Clock;
use crate::types::{DiskLevel, Span};

/// Removes what retention gives up, on every node by itself.
pub(crate) struct Retainer {
    ledger: WeakLedger,
    retention: Option<Retention>,
    clock: Clock,
}

impl Retainer {
    pub(crate) fn new(ledger: WeakLedger, config: &Config, clock: Clock) -> Self {
        Self { ledger, retention: config.retention, clock }
    }

    /// Runs until the ledger is closed.
    pub(crate) async fn run<R: Runtime>(self) {
        let (Some(retention), Some(ledger)) = (self.retention, self.ledger.upgrade()) else { return };
        let (log, role) = (ledger.replica().log.clone(), ledger.role());
        let seed = u128::from_be_bytes(ledger.replica().identity.incarnation.to_bytes()) as u64;
        drop(ledger);
        run_until_closed(role, self.watch::<R>(log, retention, seed)).await;
    }

    async fn watch<R: Runtime>(&self, log: LogReader, retention: Retention, seed: u64) {
        let (mut level, mut ages, mut told) = (DiskLevel::Calm, SegmentAges::default(), None);
        let Some(mut passed) = self.ledger.upgrade().map(|ledger| ledger.replica().raft.clock()) else { return };
        // Before this process writes anything: new entries carry a clock that may be wrong.
        log.note_ages(&mut ages, (self.clock)(), passed());
        for look in 0_u64.. {
            tokio::select! {
                // In this order, so that a seed of a simulation determines which is first.
                biased;
                () = log.grown() => {}
                () = R::sleep(jittered(retention.every, seed ^ look)) => {}
            }
            match log.review_by(&retention, &mut ages, (self.clock)(), passed()) {
                Ok((decision, look)) => {
                    // Without a limit of age, the clock does not matter.
                    if retention.max_age.is_some() {
                        told = self.tell(look, told);
                    }
                    level = self.act(decision, level).await;
                    if retention.max_age.is_some() {
                        self.end_segment(log.roll_due(&retention, &mut ages, look.now, passed())).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot tell how full the disk is: retention removes nothing"),
            }
        }
    }

    /// Ends the active segment if that is due and this node is the master; warns if it cannot.
    async fn end_segment(&self, due: std::io::Result<Option<u64>>) {
        let Some(ledger) = self.ledger.upgrade() else { return };
        let problem = match due {
            Ok(Some(begins)) if ledger.role().borrow().is_master() => {
                roll_by_age::end_segment(&ledger, begins).await.err()
            }
            Ok(_) => None,
            Err(error) => Some(format!("cannot tell how old the newest records are: {error}")),
        };
        if ledger.replica().retention_problems.set_roll(problem.clone())
            && let Some(why) = problem
        {
            tracing::warn!(group = %ledger.group(), "{why}");
        }
    }

    /// Logs once what is wrong with the clock or the stamps, and when that is over. Returns what the log says now.
    fn tell(&self, look: BelievedTime, before: Option<ClockProblem>) -> Option<ClockProblem> {
        let Some(ledger) = self.ledger.upgrade() else { return before };
        let group = ledger.group();
        let wrong = wrong(look);
        let now = wrong.as_ref().map(|(wrong, _)| *wrong);
        match &wrong {
            Some((_, why)) if now != before => tracing::warn!(%group, "{why}"),
            None if before.is_some() => tracing::info!(%group, "the age of records follows the clock again"),
            Some(_) | None => {}
        }
        ledger.replica().retention_problems.set_clock(wrong.map(|(_, why)| why));
        now
    }

    /// Removes what the review gives up, and logs when the disk crosses a line. Returns how full the disk is.
    async fn act(&self, RetentionReview { level, removal }: RetentionReview, before: DiskLevel) -> DiskLevel {
        let Some(ledger) = self.ledger.upgrade() else { return level };
        let group = ledger.group();
        if level > before {
            tracing::warn!(%group, level = level.name(), "the disk fills up");
        } else if level < before {
            tracing::info!(%group, level = level.name(), "the disk has room again");
        }
        if let Some(removal) = removal
            && let Err(error) = ledger.replica().raft.remove(removal).await
        {
            tracing::warn!(%group, %error, "cannot remove what retention gives up");
        }
        level
    }
}

/// What can be wrong with the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClockProblem {
    /// The clock is ahead of what it should be.
    Clock,
    /// The newest record is stamped in the future.
    Stamps,
}

/// What is wrong with the time, what follows from it and what to do.
fn wrong(look: BelievedTime) -> Option<(ClockProblem, String)> {
    let long = |millis: u64| Span(Duration::from_millis(millis));
    if let Some(ClockDoubt { ahead, left, .. }) = look.doubt {
        let why = format!(
            "this node's clock is {} ahead of the newest record or of the time that has passed: retention by age \
             removes only what has aged since. This node trusts the clock in {}; if it is wrong, set it right before \
             then",
            long(ahead),
            Span(left)
        );
        return Some((ClockProblem::Clock, why));
    }
    let ahead = look.stamped_ahead?;
    let why = format!(
        "the newest record is stamped {} ahead of this node's clock: a master's clock was ahead, or this one is \
         behind. Segments with such records age from when this process saw them full; check the clocks",
        long(ahead)
    );
    Some((ClockProblem::Stamps, why))
}

/// `every`, a tenth more or less, so that nodes which were started together do not all look at once.
fn jittered(every: Duration, seed: u64) -> Duration {
    // Fibonacci hashing: the upper bits are as good as random.
    let part = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    every.mul_f64(0.9 + 0.2 * part as f64 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_time_is_said_with_what_comes_of_it() {
        let right = BelievedTime { now: 5, doubt: None, stamped_ahead: None };
        assert_eq!(wrong(right), None);
        let doubt = ClockDoubt { clock: 9, ahead: 90_000_000, left: Duration::from_secs(3000) };
        let (what, why) = wrong(BelievedTime { doubt: Some(doubt), stamped_ahead: Some(1), ..right }).unwrap();
        assert!(
            what == ClockProblem::Clock && why.contains("25 h ahead") && why.contains("trusts the clock in 50 min"),
            "{why}"
        );
        let (what, why) = wrong(BelievedTime { stamped_ahead: Some(90_000), ..right }).unwrap();
        assert!(what == ClockProblem::Stamps && why.contains("stamped 90 s ahead"), "{why}");
    }

    #[test]
    fn nodes_do_not_look_at_the_same_moments_and_look_about_as_often_as_told() {
        let every = Duration::from_secs(10);
        let looks = |seed: u64| (0..50).map(|look| jittered(every, seed ^ look)).collect::<Vec<_>>();
        assert_ne!(looks(0x1234_5678_9abc_def0), looks(0x0fed_cba9_8765_4321));
        for wait in looks(7) {
            assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&wait), "{wait:?}");
        }
    }
}
