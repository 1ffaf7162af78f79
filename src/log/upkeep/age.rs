//! How old records are, as far as this node's clock can be believed.
//!
//! Retention compares a record's stamp, from a master's clock, with this node's clock; either may be set wrong. So a
//! record counts as old for one of two reasons: the believed clock says so, or this very process has seen its segment
//! full for that long, which no wrong clock can fake. docs/retention.md has the policy.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::retention::SegmentInfo;

/// Milliseconds that a believed clock may be ahead of the time due: its last believed reading plus the time that has
/// passed since, or the newest record's stamp. A synchronised clock is corrected by less than a minute.
pub(crate) const SLACK: u64 = 60_000;

/// Time after which [`ClockBelief`] believes a clock that is further ahead than [`SLACK`]: long enough for an operator
/// to correct a wrong clock, and short enough that a right clock does not hold up retention.
pub(crate) const STANDS: Duration = Duration::from_secs(3600);

/// What the retention task has seen of the clock and of the segments since the node started.
#[derive(Debug, Default)]
pub(crate) struct SegmentAges {
    belief: ClockBelief,
    /// By the number after a sealed segment's last entry: the timestamp of that entry, and when this process first saw
    /// the segment full. A different timestamp tells that another segment now ends at the same number.
    full: BTreeMap<u64, (u64, Duration)>,
    /// The active segment, if it has records: the number of its first entry, when this process first saw a record in
    /// it, and whether an earlier call of [`SegmentAges::note_filling`] saw it without any.
    filling: Option<(u64, Duration, bool)>,
    /// [`SegmentAges::note_filling`] was called before.
    looked: bool,
}

/// Decides how far this node's clock is believed. Each `passed` is the time since some fixed moment, by a clock that
/// nobody sets.
#[derive(Debug, Default)]
pub(crate) struct ClockBelief {
    /// What the clock said when it was last believed, milliseconds since 1970, and `passed` at that moment.
    believed: Option<(u64, Duration)>,
    /// The clock has been compared with a record's stamp or another node: an empty ledger says nothing of the time.
    held: bool,
    /// `passed` at the last call of [`believe`](Self::believe).
    looked: Duration,
    /// `passed` when the present doubt began.
    doubted: Option<Duration>,
}

/// A clock that [`ClockBelief`] does not believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockDoubt {
    /// What the clock says, milliseconds since 1970.
    pub(crate) clock: u64,
    /// How far the clock is ahead of the time due, milliseconds.
    pub(crate) ahead: u64,
    /// How long the clock must stand until [`ClockBelief`] believes it.
    pub(crate) left: Duration,
}

/// The time, as far as the clock can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BelievedTime {
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// Why `now` is not what the clock says, if it is not.
    pub(crate) doubt: Option<ClockDoubt>,
    /// How far the newest record's stamp is ahead of the clock, milliseconds, if by more than [`SLACK`].
    pub(crate) stamped_ahead: Option<u64>,
}

impl SegmentAges {
    /// Judges the clock, and sets `full_for` of each sealed segment. `segments` are ascending, the last one active;
    /// `clock` is in milliseconds since 1970; `passed` is the time since some fixed moment, by a clock that nobody
    /// sets.
    pub(crate) fn look(&mut self, clock: u64, passed: Duration, segments: &mut [SegmentInfo]) -> BelievedTime {
        let newest = segments.last().map_or(0, |active| active.last_timestamp);
        self.note_full(passed, segments);
        let (now, doubt) = self.belief.believe(clock, passed, newest);
        let stamped_ahead = newest.checked_sub(clock).filter(|ahead| *ahead > SLACK);
        BelievedTime { now, doubt, stamped_ahead }
    }

    /// How long this process has seen records in the active segment, milliseconds, and whether it has seen the segment
    /// without records before. `begins`: the segment's first entry; `None` while the segment has no record.
    pub(crate) fn note_filling(&mut self, passed: Duration, begins: Option<u64>) -> (u64, bool) {
        let known = self.filling.filter(|(known, ..)| Some(*known) == begins);
        self.filling = begins.map(|begins| known.unwrap_or((begins, passed, self.looked)));
        self.looked = true;
        self.filling.map_or((0, false), |(_, since, begun)| (millis(passed.saturating_sub(since)), begun))
    }

    fn note_full(&mut self, passed: Duration, segments: &mut [SegmentInfo]) {
        let sealed = segments.split_last_mut().map_or(&mut [][..], |(_, sealed)| sealed);
        let mut full = BTreeMap::new();
        for segment in sealed {
            let known = self.full.get(&segment.end_number).filter(|(stamp, _)| *stamp == segment.last_timestamp);
            let since = known.map_or(passed, |(_, since)| *since);
            full.insert(segment.end_number, (segment.last_timestamp, since));
            segment.full_for = millis(passed.saturating_sub(since));
        }
        self.full = full;
    }
}

impl ClockBelief {
    /// The believed time, milliseconds since 1970, and why it is not the clock's, if it is not. `newest`: the stamp of
    /// the newest record, which the clock is compared with as long as nothing else is known; 0 if there is none.
    pub(crate) fn believe(&mut self, clock: u64, passed: Duration, newest: u64) -> (u64, Option<ClockDoubt>) {
        // The first call has only the newest record to compare the clock with, or nothing at all.
        let (said, when) = self.believed.unwrap_or(if newest == 0 { (clock, passed) } else { (newest, passed) });
        let gone = millis(passed.saturating_sub(when));
        let looked = std::mem::replace(&mut self.looked, passed);
        let mut due = said.saturating_add(gone);
        if !self.held && newest != 0 {
            // The first records came since the last call, so they bound the time by their stamp.
            due = due.min(newest.saturating_add(millis(passed.saturating_sub(looked))));
        }
        // A slewed clock gains at most a thousandth of the time that passes.
        let ahead = clock.saturating_sub(due);
        if ahead <= SLACK.saturating_add(gone / 1000) {
            // A clock that was set back is believed too: it makes no record older, so retention removes nothing more.
            self.trust(clock, passed, self.held || newest != 0);
            return (clock, None);
        }
        let since = *self.doubted.get_or_insert(passed);
        let left = STANDS.saturating_sub(passed.saturating_sub(since));
        if left.is_zero() {
            self.trust(clock, passed, true);
            return (clock, None);
        }
        self.believed = Some((said, when));
        (due, Some(ClockDoubt { clock, ahead, left }))
    }

    /// Another node's stamp proves that the time is at least `stamp`, milliseconds since 1970.
    pub(crate) fn at_least(&mut self, stamp: u64, passed: Duration) {
        let due = |(said, when): (u64, Duration)| said.saturating_add(millis(passed.saturating_sub(when)));
        if self.believed.is_none_or(|believed| due(believed) < stamp) {
            self.believed = Some((stamp, passed));
        }
        self.held = true;
    }

    /// Believes the clock, because other nodes say that it is right.
    pub(crate) fn confirm(&mut self, clock: u64, passed: Duration) {
        self.trust(clock, passed, true);
    }

    fn trust(&mut self, clock: u64, passed: Duration, held: bool) {
        (self.believed, self.doubted, self.held) = (Some((clock, passed)), None, held);
    }

    /// Doubts the clock, because other nodes say that it is wrong: [`STANDS`] begins anew.
    pub(crate) fn refute(&mut self, passed: Duration) {
        self.doubted = Some(passed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const YEAR: u64 = 365 * 24 * HOUR;
    /// What the clock says when `passed` is 0.
    const START: u64 = 50 * YEAR;

    /// Segments whose last entries carry these stamps.
    fn stamped(stamps: &[u64]) -> Vec<SegmentInfo> {
        let held = |(k, stamp): (u64, &u64)| SegmentInfo {
            end_number: k + 1,
            end_index: k + 1,
            last_timestamp: *stamp,
            bytes: 100,
            full_for: 0,
        };
        (0..).zip(stamps).map(held).collect()
    }

    fn after(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The time that a look at `clock` takes for the right one, and whether the clock is doubted.
    fn look(ages: &mut SegmentAges, clock: u64, passed: u64, stamps: &[u64]) -> (u64, bool) {
        let look = ages.look(clock, after(passed), &mut stamped(stamps));
        (look.now, look.doubt.is_some())
    }

    #[test]
    fn a_clock_that_jumps_ahead_ages_nothing_by_more_than_the_time_that_passed() {
        let mut ages = SegmentAges::default();
        assert_eq!(look(&mut ages, START, 0, &[START]), (START, false));
        for passed in [10_000, 20_000, HOUR - 1] {
            // The records are stamped by the same clock.
            let jumped = START + YEAR + passed;
            assert_eq!(look(&mut ages, jumped, passed, &[START, jumped]), (START + passed, true));
        }
        // The clock was set right: the jump has left no trace.
        assert_eq!(look(&mut ages, START + HOUR, HOUR, &[START]), (START + HOUR, false));
        // It jumps again, and stands for an hour.
        assert_eq!(look(&mut ages, START + YEAR, HOUR + 1, &[START]), (START + HOUR + 1, true));
        assert_eq!(look(&mut ages, START + YEAR + HOUR, 2 * HOUR + 1, &[START]), (START + YEAR + HOUR, false));
        assert_eq!(look(&mut ages, START + YEAR + HOUR + 9, 2 * HOUR + 10, &[START]), (START + YEAR + HOUR + 9, false));
    }

    #[test]
    fn after_a_long_downtime_the_clock_is_believed_when_it_has_stood_for_an_hour() {
        let mut ages = SegmentAges::default();
        assert_eq!(look(&mut ages, START + YEAR, 0, &[START]), (START, true));
        let doubt = ages.look(START + YEAR, after(HOUR / 2), &mut stamped(&[START])).doubt.unwrap();
        assert_eq!((doubt.left, doubt.ahead), (after(HOUR / 2), YEAR - HOUR / 2));
        assert_eq!(look(&mut ages, START + YEAR + HOUR, HOUR, &[START]), (START + YEAR + HOUR, false));
        // A node that was down for a moment, and a ledger without records, doubt nothing.
        assert_eq!(look(&mut SegmentAges::default(), START + SLACK, 0, &[START]), (START + SLACK, false));
        assert_eq!(look(&mut SegmentAges::default(), START, 0, &[0]), (START, false));
        assert_eq!(look(&mut SegmentAges::default(), START, 0, &[]), (START, false));
    }

    #[test]
    fn a_clock_that_was_wrong_while_the_ledger_was_empty_is_held_against_the_first_records() {
        let mut ages = SegmentAges::default();
        // As on a node that was started with an empty directory.
        assert_eq!(look(&mut ages, START + YEAR, 0, &[0]), (START + YEAR, false));
        assert_eq!(look(&mut ages, START + YEAR + 500, 500, &[0]), (START + YEAR + 500, false));
        // Records that came since then are not a year old.
        let (now, doubted) = look(&mut ages, START + YEAR + 10_500, 10_500, &[START + 9_000]);
        assert!(now <= START + 19_000 && doubted, "{now}");
        let (now, doubted) = look(&mut ages, START + YEAR + 20_500, 20_500, &[START + 9_000, START + 20_400]);
        assert!(now <= START + 30_500 && doubted, "{now}");
        assert!(!look(&mut ages, START + YEAR + 2 * HOUR, 2 * HOUR, &[START + HOUR]).1, "it has stood for an hour");
        // The clock was right, and the first records to arrive are from last year: today's records end the doubt.
        let mut ages = SegmentAges::default();
        look(&mut ages, START, 0, &[0]);
        assert!(look(&mut ages, START + 1_000, 1_000, &[START - YEAR]).1);
        assert!(look(&mut ages, START + 2_000, 2_000, &[START - YEAR, START - HOUR]).1);
        assert_eq!(look(&mut ages, START + 3_000, 3_000, &[START + 2_500]), (START + 3_000, false));
        // From then on a jump is doubted.
        assert_eq!(look(&mut ages, START + YEAR, 4_000, &[START + YEAR]), (START + 4_000, true));
        // A clock that was always right is never doubted, however rare the looks are.
        let mut ages = SegmentAges::default();
        for (passed, stamp) in [(0, 0), (HOUR, 0), (2 * HOUR, START + HOUR + 1), (3 * HOUR, START + HOUR + 1)] {
            assert_eq!(look(&mut ages, START + passed, passed, &[stamp]), (START + passed, false));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_or_runs_slowly_is_believed() {
        let mut ages = SegmentAges::default();
        assert_eq!(look(&mut ages, START, 0, &[START]), (START, false));
        assert_eq!(look(&mut ages, START - YEAR, 10_000, &[START]), (START - YEAR, false));
        assert_eq!(look(&mut ages, START - YEAR + 1, 20_000, &[START]), (START - YEAR + 1, false));
        // A jump ahead, back to where the clock was, is a jump all the same.
        assert_eq!(look(&mut ages, START, 30_000, &[START]), (START - YEAR + 10_001, true));
        // The clock gains a little on the time that passes, for days.
        let mut ages = SegmentAges::default();
        for hours in 0..100 {
            let clock = START + hours * HOUR + hours * HOUR / 2000;
            assert_eq!(look(&mut ages, clock, hours * HOUR, &[START]), (clock, false));
        }
    }

    #[test]
    fn what_others_say_of_a_clock_comes_before_how_long_it_has_said_so() {
        let mut belief = ClockBelief::default();
        // As a follower hears stamps from its leader.
        belief.at_least(START, after(0));
        belief.at_least(START - HOUR, after(10));
        let at = |belief: &mut ClockBelief, passed: u64| {
            let (now, doubt) = belief.believe(START + YEAR + passed, after(passed), 7);
            (now, doubt.is_some())
        };
        assert_eq!(at(&mut belief, 20), (START + 20, true));
        for hours in 0..5 {
            belief.refute(after(hours * HOUR + HOUR - 1));
            assert_eq!(at(&mut belief, hours * HOUR + HOUR), (START + hours * HOUR + HOUR, true));
        }
        belief.confirm(START + YEAR + 6 * HOUR, after(6 * HOUR));
        assert_eq!(at(&mut belief, 6 * HOUR + 1), (START + YEAR + 6 * HOUR + 1, false));
        belief.at_least(START + 2 * YEAR, after(6 * HOUR));
        assert_eq!(at(&mut belief, 6 * HOUR + 2), (START + YEAR + 6 * HOUR + 2, false));
    }

    #[test]
    fn a_stamp_in_the_future_is_told_and_such_a_segment_ages_from_when_it_was_seen_full() {
        let mut ages = SegmentAges::default();
        let full_for = |ages: &mut SegmentAges, passed, stamps: &[u64]| {
            let mut segments = stamped(stamps);
            let look = ages.look(START + passed, after(passed), &mut segments);
            (segments.iter().map(|segment| segment.full_for).collect::<Vec<_>>(), look.stamped_ahead)
        };
        let future = START + YEAR;
        assert_eq!(full_for(&mut ages, 0, &[future, future]), (vec![0, 0], Some(YEAR)));
        assert_eq!(full_for(&mut ages, 10, &[future, future, future]), (vec![10, 0, 0], Some(YEAR - 10)));
        assert_eq!(full_for(&mut ages, 30, &[future, future, future]), (vec![30, 20, 0], Some(YEAR - 30)));
        // The second segment was truncated and filled anew.
        assert_eq!(full_for(&mut ages, 40, &[future, future + 1, future]).0, [40, 0, 0]);
        assert_eq!(full_for(&mut ages, 50, &[START]).1, None);
    }
}
