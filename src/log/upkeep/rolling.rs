//! Rolling by time: whether the active segment should end because of the age of its records. Retention by age removes
//! only full segments, so without this the last records of an idle ledger would stay for ever. docs/retention.md has
//! the policy.

use std::io;
use std::time::Duration;

use super::retention::{SegmentInfo, infos};
use crate::config::Retention;
use crate::disk::Space;
use crate::error::Damage;
use crate::log::age::SegmentAges;
use crate::log::reader::LogReader;

/// The records in the active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveRecords {
    /// Timestamp of the first one, milliseconds since 1970.
    pub(crate) first: u64,
    /// Timestamp of the last one.
    pub(crate) last: u64,
    /// How long this process has seen records in the segment, milliseconds.
    pub(crate) seen_for: u64,
    /// This process has seen the segment empty, so no record is older than `seen_for`, whatever its stamp says: a
    /// master that was idle for long may give its first record the stamp of the one before.
    pub(crate) begun: bool,
}

/// Whether the master should end the last of `segments`, which is active and has records. The other arguments are those
/// of [`decide`](crate::log::retention::decide).
///
/// The segment is due once its first record is older than `max_age`: so each record is removed after at most twice that
/// age, for the price of one more segment. But an early end must not cost younger records their room: where one more
/// segment would be too much, the last record must be older than `max_age` too.
pub(crate) fn is_due(
    retention: &Retention,
    segments: &[SegmentInfo],
    filling: ActiveRecords,
    space: Space,
    going: u64,
    now: u64,
) -> bool {
    let Some(max_age) = retention.max_age else { return false };
    let expired = |age: u64| u128::from(age) > max_age.as_millis();
    let most = if filling.begun { filling.seen_for } else { u64::MAX };
    // A stamp in the future never looks old: then `seen_for` counts.
    if !expired(now.saturating_sub(filling.first).max(filling.seen_for).min(most)) {
        return false;
    }
    let held: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let one = segments.last().map_or(0, |active| active.bytes);
    let fits = retention.max_bytes.is_none_or(|most| held + one <= most)
        && space.used_ratio(i128::from(one) - i128::from(going)) <= retention.force;
    fits || expired(now.saturating_sub(filling.last).min(most))
}

impl LogReader {
    /// The segment that the master should end, if one is due, by the number of its first entry. `now`: the believed
    /// time, milliseconds since 1970; `passed`: as for [`SegmentAges::look`].
    ///
    /// # Errors
    /// If the system does not say how full the disk is, or the header of a record cannot be read.
    pub(crate) fn roll_due(
        &self,
        retention: &Retention,
        ages: &mut SegmentAges,
        now: u64,
        passed: Duration,
    ) -> io::Result<Option<u64>> {
        let parts = &self.parts;
        let found = self.filling().map_err(io::Error::other)?;
        let (seen_for, begun) = ages.note_filling(passed, found.map(|(begins, ..)| begins));
        let Some((begins, first, last)) = found else { return Ok(None) };
        let (held, space) = (infos(&parts.segments), parts.files.space()?);
        let filling = ActiveRecords { first, last, seen_for, begun };
        Ok(is_due(retention, &held, filling, space, parts.unlinked.bytes(), now).then_some(begins))
    }

    /// The number of the first entry of the active segment, and the timestamps of its first record and of its last;
    /// `None` if it has no record. Raft's own entries do not count: retention by age is for records.
    fn filling(&self) -> Result<Option<(u64, u64, u64)>, Damage> {
        let Some((start, end)) = self.parts.segments.read().last().map(|active| (active.start(), active.end())) else {
            return Ok(None);
        };
        let first = start.index.max(self.progress().first());
        if first >= end.index {
            return Ok(None);
        }
        let stamp = |index| {
            let header = self.look(&|segments| segments.last(), &|segment| segment.header_of_index(index))?;
            Ok(header.map(|header| header.timestamp))
        };
        // A record that is not found was truncated a moment ago.
        Ok(stamp(first)?.zip(stamp(end.index - 1)?).map(|(first, last)| (start.number, first, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Space = Space { total: 1000, available: 1000 };

    fn held(segments: u64) -> Vec<SegmentInfo> {
        let one = |k| SegmentInfo {
            end_number: 10 * k + 10,
            end_index: 10 * k + 10,
            last_timestamp: 1000 * k,
            bytes: 100,
            full_for: 0,
        };
        (0..segments).map(one).collect()
    }

    fn age(seconds: u64) -> Retention {
        Retention { max_age: Some(Duration::from_secs(seconds)), ..Retention::default() }
    }

    #[test]
    fn a_segment_ends_when_its_first_record_is_older_than_allowed() {
        let filling = ActiveRecords { first: 5000, last: 9000, seen_for: 0, begun: false };
        let due = |retention: Retention, now| is_due(&retention, &held(2), filling, FULL, 0, now);
        assert!(!due(age(10), 15_000) && due(age(10), 15_001));
        assert!(!due(Retention::default(), u64::MAX), "age is no reason");
        // A clock that was set back.
        assert!(!due(age(10), 0));
    }

    /// A master that was idle gives its first record the stamp of the one before, until other nodes tell it the time.
    #[test]
    fn a_segment_that_was_seen_without_records_does_not_end_before_they_can_be_old() {
        let (mut ages, second) = (SegmentAges::default(), Duration::from_secs(1));
        assert_eq!(ages.note_filling(second, None), (0, false));
        assert_eq!(ages.note_filling(second * 2, Some(7)), (0, true));
        let (seen_for, begun) = ages.note_filling(second * 12, Some(7));
        let due = |begun| {
            let filling = ActiveRecords { first: 1000, last: 1000, seen_for, begun };
            is_due(&age(10), &held(1), filling, FULL, 0, 1_000_000)
        };
        assert!(begun && !due(begun) && due(false));
        let later = ages.note_filling(second * 12 + Duration::from_millis(1), Some(7));
        assert_eq!(later, (10_001, true));
        let filling = ActiveRecords { first: 1000, last: 1000, seen_for: later.0, begun };
        assert!(is_due(&age(10), &held(1), filling, FULL, 0, 1_000_000));
        // Records that were there at the first look may be as old as their stamps say.
        assert_eq!(SegmentAges::default().note_filling(second, Some(7)), (0, false));
    }

    #[test]
    fn one_with_a_stamp_in_the_future_ends_when_it_has_been_seen_for_longer_than_allowed() {
        let due = |seen_for| {
            let filling = ActiveRecords { first: u64::MAX, last: u64::MAX, seen_for, begun: false };
            is_due(&age(10), &held(1), filling, FULL, 0, 1000)
        };
        assert!(!due(10_000) && due(10_001));
    }

    #[test]
    fn where_another_segment_would_cost_younger_records_all_have_to_be_old() {
        let small = Retention { max_bytes: Some(299), ..age(10) };
        let filling = ActiveRecords { first: 5000, last: 9000, seen_for: 0, begun: false };
        let due = |retention: &Retention, space, going, now| is_due(retention, &held(2), filling, space, going, now);
        assert!(!due(&small, FULL, 0, 19_000) && due(&small, FULL, 0, 19_001));
        assert!(due(&Retention { max_bytes: Some(300), ..small }, FULL, 0, 15_001));
        let (fits, full) = (Space { total: 1000, available: 250 }, Space { total: 1000, available: 249 });
        assert!(due(&age(10), fits, 0, 15_001) && !due(&age(10), full, 0, 15_001));
        assert!(due(&age(10), full, 1, 15_001) && due(&age(10), full, 0, 19_001));
    }
}
