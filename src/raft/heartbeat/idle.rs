//! When the leader of an idle ledger may leave out a heartbeat.

use std::time::Duration;

use openraft::Instant;

use crate::config::Config;

/// Ticks per heartbeat of an idle ledger, at most.
const MAX_TICKS_PER_HEARTBEAT: u32 = 4;

/// How far the log goes and how far it is committed, by entry.
pub(crate) type LogExtent = (Option<u64>, Option<u64>);

/// The leader of a ledger where nothing happens, and whose last heartbeat a quorum answered, may leave out the
/// heartbeats of some ticks. If one is lost, the leader sends another at the next tick.
pub(crate) struct IdleHeartbeats<I> {
    /// Ticks per heartbeat while the ledger is idle.
    ticks_per_heartbeat: u32,
    every: Duration,
    /// Ticks since the last heartbeat.
    skipped: u32,
    /// The log at the last heartbeat, and when that was sent.
    beat: Option<(LogExtent, I)>,
}

impl<I: Instant> IdleHeartbeats<I> {
    /// `every`: from one tick to the next.
    pub(crate) fn new(ticks_per_heartbeat: u32, every: Duration) -> Self {
        Self { ticks_per_heartbeat, every, skipped: 0, beat: None }
    }

    /// Whether a heartbeat is due at this tick. `acked`: when the heartbeat that a quorum answered last was sent.
    ///
    /// All idle ledgers of a node send theirs at the same ticks, whenever they became idle: theirs travel together.
    pub(crate) fn is_due(&mut self, tick: u64, seen: LogExtent, acked: Option<I>, now: I) -> bool {
        let idle = self.beat.is_some_and(|(then, at)| {
            // A later answer is to the round of a linearizable read, and says nothing of this heartbeat.
            then == seen && acked.is_some_and(|acked| acked >= at && acked < at + self.every / 4)
        });
        self.skipped += 1;
        if idle && self.skipped < self.ticks_per_heartbeat && !tick.is_multiple_of(self.ticks_per_heartbeat.into()) {
            return false;
        }
        self.skipped = 0;
        self.beat = Some((seen, now));
        true
    }
}

/// Ticks per heartbeat of an idle ledger: few enough that a follower, which waits for both bounds of the election
/// timeout, can miss one heartbeat and still gets the next in time.
pub(crate) fn idle_ticks_per_heartbeat(config: &Config) -> u32 {
    let (low, high) = config.election_timeout;
    let ticks = (low + high).as_nanos() / config.heartbeat_interval.as_nanos().max(1) / 3;
    u32::try_from(ticks).unwrap_or(MAX_TICKS_PER_HEARTBEAT).clamp(1, MAX_TICKS_PER_HEARTBEAT)
}

#[cfg(test)]
mod tests {
    use openraft::AsyncRuntime;

    use super::super::ticker::SILENT_TICKS;
    use super::*;
    use crate::raft::TokioRuntime;
    use crate::types::NodeId;

    type Now = <TokioRuntime as AsyncRuntime>::Instant;

    const EVERY: Duration = Duration::from_millis(100);

    /// What a tick finds: its number, how many entries there are, and which tick's heartbeat was answered last.
    type Found = (u32, u64, Option<u32>);

    fn due(of: u32, ticks: &[Found]) -> Vec<u32> {
        let began = Now::now();
        let mut idle = IdleHeartbeats::new(of, EVERY);
        let mut due = Vec::new();
        for (at, entries, answered) in ticks {
            let acked = answered.map(|beat| began + EVERY * beat + EVERY / 100);
            if idle.is_due((*at).into(), (Some(*entries), Some(*entries)), acked, began + EVERY * *at) {
                due.push(*at);
            }
        }
        due
    }

    #[test]
    fn an_idle_ledger_whose_heartbeats_are_answered_leaves_some_out() {
        let ticks = [(0, 5, None), (1, 5, Some(0)), (2, 5, Some(0)), (3, 5, Some(0)), (4, 5, Some(3)), (5, 5, Some(3))];
        assert_eq!(due(3, &ticks), [0, 3]);
        assert_eq!(due(1, &ticks), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_heartbeat_that_is_not_answered_is_followed_by_another_at_the_next_tick() {
        assert_eq!(due(5, &[(0, 5, None), (1, 5, None), (2, 5, None), (3, 5, Some(2)), (4, 5, Some(2))]), [0, 1, 2]);
    }

    #[test]
    fn what_is_new_is_told_at_the_next_tick() {
        let ticks = [(0, 5, None), (1, 5, Some(0)), (2, 6, Some(0)), (3, 6, Some(2)), (4, 7, Some(2))];
        assert_eq!(due(4, &ticks), [0, 2, 4]);
    }

    #[test]
    fn idle_ledgers_send_heartbeats_at_the_same_ticks_whenever_they_became_idle() {
        for first in 0..4 {
            let mut last = None;
            let ticks: Vec<Found> = (first..first + 12)
                .map(|at| {
                    let found = (at, 5, last);
                    if last.is_none() || at % 4 == 0 {
                        last = Some(at);
                    }
                    found
                })
                .collect();
            let due = due(4, &ticks);
            assert_eq!(due[0], first);
            assert!(due[1..].iter().all(|at| at % 4 == 0), "{due:?}");
            assert!(due.windows(2).all(|pair| pair[1] - pair[0] <= 4), "{due:?}");
        }
    }

    #[test]
    fn a_ledger_whose_leader_asks_for_its_quorum_is_not_idle() {
        let began = Now::now();
        let mut idle = IdleHeartbeats::new(3, EVERY);
        let seen = (Some(5), Some(5));
        assert!(idle.is_due(3, seen, None, began));
        assert!(!idle.is_due(4, seen, Some(began), began + EVERY));
        // A read's own round was answered since.
        assert!(idle.is_due(5, seen, Some(began + EVERY + EVERY / 2), began + EVERY * 2));
    }

    #[test]
    fn an_idle_leader_is_heard_often_enough_whatever_the_configuration() {
        let mut config = Config::new(NodeId::new(0), "h:1");
        for (low, high, of) in [(400, 800, 4), (300, 301, 2), (1000, 2000, 4)] {
            config.election_timeout = (Duration::from_millis(low), Duration::from_millis(high));
            assert_eq!(idle_ticks_per_heartbeat(&config), of);
            // The leader replaces a lost heartbeat at the next tick, unless a quorum answered and one follower did not
            // hear it.
            let wait = config.election_timeout.0 + config.election_timeout.1;
            assert!(config.heartbeat_interval * of * 2 < wait);
            assert!(config.heartbeat_interval * SILENT_TICKS < wait && of < SILENT_TICKS);
        }
    }
}
