//! Retention: which segments may go, and why. The decision is a function of what it is told.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::reader::LogReader;
use super::{Log, Shared};
use crate::config::Retention;
use crate::disk::{Alive, Space};
use crate::mutants::{Mutant, planted};
use crate::segment::Segment;
pub(crate) use crate::types::{DiskLevel as Level, RemovalReason as Reason};

/// A segment, as far as retention is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Number of the entry after its last.
    pub(crate) end_number: u64,
    /// Index after its last record.
    pub(crate) end_index: u64,
    /// Timestamp of its last entry, milliseconds since 1970.
    pub(crate) last_timestamp: u64,
    /// Bytes of its file.
    pub(crate) bytes: u64,
}

/// What bounds a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Number of the first entry that is there.
    pub(crate) first: u64,
    /// Number of the first entry that somebody still needs.
    pub(crate) floor: u64,
    /// Number after the last entry that is committed.
    pub(crate) committed: u64,
}

impl Bounds {
    /// Whether `segment` may go: nobody needs it, and the entry behind it is committed. Another one in that entry's
    /// place might fit into the segment, and would have its place there on all replicas.
    fn let_go(&self, segment: &Held) -> bool {
        let committed = if planted(Mutant::RetentionIgnoresCommit) { u64::MAX } else { self.committed };
        segment.end_number <= self.floor && segment.end_number < committed
    }
}

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removal {
    /// Number of the last entry that goes.
    pub(crate) upto: u64,
    /// Index of the first record that stays.
    pub(crate) first: u64,
    /// Segments that go.
    pub(crate) segments: usize,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Why the youngest of them goes.
    pub(crate) reason: Reason,
}

/// The outcome of a look at the log and its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// How full the disk is.
    pub(crate) level: Level,
    /// What is to go, if anything is.
    pub(crate) removal: Option<Removal>,
}

/// Decides what of `segments` goes: ascending, the last one is written to. `space` is that of the disk, `going` the
/// bytes that will be free there once files that were removed before are let go of.
pub(crate) fn decide(
    retention: &Retention,
    segments: &[Held],
    space: Space,
    going: u64,
    now: u64,
    bounds: Bounds,
) -> Decision {
    let mut held: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut freed = going;
    let used = |freed: u64| space.used_ratio(-i128::from(freed));
    let level = level(retention, space, freed);
    let mut removal: Option<Removal> = None;
    // Never the active one.
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    for (at, segment) in sealed.iter().enumerate() {
        if !bounds.let_go(segment) {
            break;
        }
        let expired = |age: std::time::Duration| {
            now.checked_sub(segment.last_timestamp).is_some_and(|old| u128::from(old) > age.as_millis())
        };
        let reason = if retention.max_age.is_some_and(expired) {
            Reason::Age
        } else if retention.max_bytes.is_some_and(|most| held > most) {
            Reason::Size
        } else if used(freed) > retention.force {
            Reason::DiskForced
        } else {
            break;
        };
        (held, freed) = (held - segment.bytes, freed + segment.bytes);
        // A segment without entries goes with those behind it.
        if segment.end_number > bounds.first {
            let bytes = freed - going;
            let (upto, first) = (segment.end_number - 1, segment.end_index);
            removal = Some(Removal { upto, first, segments: at + 1, bytes, reason });
        }
    }
    Decision { level, removal }
}

fn level(retention: &Retention, space: Space, going: u64) -> Level {
    match space.used_ratio(-i128::from(going)) {
        used if used > retention.refuse => Level::Refusing,
        used if used > retention.force => Level::Forced,
        used if used > retention.check => Level::Filling,
        _ => Level::Calm,
    }
}

/// What of `segments` goes when everything below `index` may: whole segments, never one with a record at or above it.
pub(crate) fn below(index: u64, segments: &[Held], bounds: Bounds) -> Option<Removal> {
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    let may_go = |segment: &&Held| segment.end_index <= index && bounds.let_go(segment);
    let going = &sealed[..sealed.iter().take_while(may_go).count()];
    // Segments without entries go with those behind them.
    let (segments, last) = going.iter().enumerate().rev().find(|(_, segment)| segment.end_number > bounds.first)?;
    let (segments, bytes) = (segments + 1, going[..=segments].iter().map(|segment| segment.bytes).sum());
    Some(Removal { upto: last.end_number - 1, first: last.end_index, segments, bytes, reason: Reason::Asked })
}

/// Segments that were removed and whose blocks may not be free yet: the file is there still, or a reader has a slice.
#[derive(Default)]
pub(super) struct Going(Mutex<Vec<(Alive, u64)>>);

impl Going {
    pub(super) fn add(&self, segments: &[Arc<Segment>]) {
        let added = segments.iter().map(|s| (s.alive(), s.end_position() - s.position()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(added);
    }

    fn bytes(&self) -> u64 {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        going.retain(|(alive, _)| alive.is());
        going.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Shared {
    /// The segments as [`decide`] takes them.
    fn held(&self) -> Vec<Held> {
        let held = |segment: &Arc<Segment>| {
            let end = segment.end();
            let bytes = segment.end_position() - segment.position();
            Held { end_number: end.number, end_index: end.index, last_timestamp: end.timestamp, bytes }
        };
        self.segments().iter().map(held).collect()
    }
}

/// What a log has on its disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stock {
    /// Position of the first entry that is there; where the next goes, if there is none.
    pub(crate) first_position: u64,
    /// Segments.
    pub(crate) segments: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Timestamp of the first entry that is there, if it can be read.
    pub(crate) oldest: Option<u64>,
    /// Part of the disk in use once what was removed is let go of.
    pub(crate) used: f64,
    /// What that is to the retention that was asked about.
    pub(crate) level: Level,
}

impl LogReader {
    /// What there is, and how full the disk is to `retention`.
    ///
    /// # Errors
    /// If the system does not say how full the disk is.
    pub(crate) fn stock(&self, retention: &Retention) -> io::Result<Stock> {
        let shared = self.shared();
        let space = shared.disk.space(shared.directory.path())?;
        let (held, going) = (shared.held(), shared.going.bytes());
        let first = self.entry_header(self.numbers().start).ok().flatten();
        let end = || shared.segments().last().map_or(0, |active| active.end().position);
        Ok(Stock {
            first_position: first.map_or_else(end, |entry| entry.position),
            segments: held.len() as u64,
            bytes: held.iter().map(|segment| segment.bytes).sum(),
            oldest: first.map(|entry| entry.timestamp),
            used: space.used_ratio(-i128::from(going)),
            level: level(retention, space, going),
        })
    }

    /// What goes when everything below `index` may. Nothing is removed.
    pub(crate) fn below(&self, index: u64) -> Option<Removal> {
        let shared = self.shared();
        let committed = shared.progress.commit_point().number;
        below(index, &shared.held(), Bounds { first: self.numbers().start, floor: u64::MAX, committed })
    }

    /// Waits until another segment was begun, or could not be made.
    pub(crate) async fn grown(&self) {
        self.shared().grown.notified().await;
    }

    /// What `retention` says of this log: the entries below number `floor` may go. Nothing is removed. `now` in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// If the system does not say how full the disk is.
    pub(crate) fn review(&self, retention: &Retention, floor: u64, now: u64) -> io::Result<Decision> {
        let shared = self.shared();
        let space = shared.disk.space(shared.directory.path())?;
        let committed = shared.progress.commit_point().number;
        let bounds = Bounds { first: self.numbers().start, floor, committed };
        Ok(decide(retention, &shared.held(), space, shared.going.bytes(), now, bounds))
    }
}

impl Log {
    /// Keeps the disk below `retention.refuse`: no segment file is made that would leave more in use.
    pub(crate) fn refuse_above(&mut self, retention: &Retention) {
        self.shared.spare.refuse_above(retention.refuse);
    }

    /// Removes what [`LogReader::review`] finds. Below Raft: where Raft runs, it is told to purge instead.
    ///
    /// # Errors
    /// If the system fails, or an entry is damaged.
    #[cfg(test)]
    pub(crate) fn retain(&mut self, retention: &Retention, floor: u64, now: u64) -> io::Result<Decision> {
        let decision = self.reader().review(retention, floor, now)?;
        if let Some(removal) = decision.removal {
            let header = self.shared.entry_header(removal.upto).map_err(io::Error::other)?;
            let missing = || io::Error::other(format!("entry {} is to be purged but is not there", removal.upto));
            let Removal { first, segments, bytes, reason, .. } = removal;
            self.purge(header.ok_or_else(missing)?.term, removal.upto)?;
            tracing::info!(first, segments, bytes, ?reason, "removed the oldest segments");
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Segment `k` holds the entries and records `[10k, 10k + 10)`, of 100 bytes, the last written at `k` seconds.
    fn held(segments: u64) -> Vec<Held> {
        let one = |k| Held { end_number: 10 * k + 10, end_index: 10 * k + 10, last_timestamp: 1000 * k, bytes: 100 };
        (0..segments).map(one).collect()
    }

    const NONE: Retention = Retention {
        max_age: None,
        max_bytes: None,
        check: 0.7,
        force: 0.85,
        refuse: 0.9,
        every: Duration::from_secs(10),
    };
    const ALL: Bounds = Bounds { first: 0, floor: u64::MAX, committed: u64::MAX };
    const EMPTY: Space = Space { total: 1000, available: 1000 };

    fn age(seconds: u64) -> Retention {
        Retention { max_age: Some(Duration::from_secs(seconds)), ..NONE }
    }

    fn size(bytes: u64) -> Retention {
        Retention { max_bytes: Some(bytes), ..NONE }
    }

    fn full(available: u64) -> Space {
        Space { total: 1000, available }
    }

    /// Segments that go of five, and why the youngest of them does.
    fn goes(retention: Retention, space: Space, now: u64, bounds: Bounds) -> Option<(usize, Reason)> {
        let removal = decide(&retention, &held(5), space, 0, now, bounds).removal?;
        assert_eq!((removal.upto + 1, removal.first), (removal.segments as u64 * 10, removal.segments as u64 * 10));
        assert_eq!(removal.bytes, removal.segments as u64 * 100);
        Some((removal.segments, removal.reason))
    }

    #[test]
    fn a_segment_goes_when_its_last_record_is_older_than_allowed() {
        assert_eq!(goes(age(2), EMPTY, 2000, ALL), None);
        assert_eq!(goes(age(2), EMPTY, 2001, ALL), Some((1, Reason::Age)));
        assert_eq!(goes(age(2), EMPTY, 4000, ALL), Some((2, Reason::Age)));
        // The active one stays, however old; and so does all when the clock was set back.
        assert_eq!(goes(age(2), EMPTY, u64::MAX, ALL), Some((4, Reason::Age)));
        assert_eq!(goes(Retention { max_age: Some(Duration::MAX), ..NONE }, EMPTY, u64::MAX, ALL), None);
        assert_eq!(goes(age(2), EMPTY, 0, ALL), None);
    }

    #[test]
    fn the_oldest_go_while_all_together_are_larger_than_allowed() {
        assert_eq!(goes(size(500), EMPTY, 0, ALL), None);
        assert_eq!(goes(size(499), EMPTY, 0, ALL), Some((1, Reason::Size)));
        assert_eq!(goes(size(250), EMPTY, 0, ALL), Some((3, Reason::Size)));
        assert_eq!(goes(size(1), EMPTY, 0, ALL), Some((4, Reason::Size)));
    }

    #[test]
    fn on_a_full_disk_the_oldest_go_until_it_is_below_the_line() {
        assert_eq!(goes(NONE, full(150), 0, ALL), None);
        assert_eq!(goes(NONE, full(149), 0, ALL), Some((1, Reason::DiskForced)));
        assert_eq!(goes(NONE, full(50), 0, ALL), Some((1, Reason::DiskForced)));
        assert_eq!(goes(NONE, full(49), 0, ALL), Some((2, Reason::DiskForced)));
        assert_eq!(goes(Retention { force: 0.1, ..NONE }, full(0), 0, ALL), Some((4, Reason::DiskForced)));
        // What goes for another reason counts.
        assert_eq!(goes(size(300), full(0), 0, ALL), Some((2, Reason::Size)));
        assert_eq!(goes(size(499), full(0), 0, ALL), Some((2, Reason::DiskForced)));
        assert_eq!(goes(age(2), full(0), 2001, ALL), Some((2, Reason::DiskForced)));
    }

    #[test]
    fn what_was_removed_a_moment_ago_is_not_removed_for_twice() {
        assert_eq!(decide(&NONE, &held(5), full(100), 100, 0, ALL).removal, None);
        let removal = decide(&NONE, &held(5), full(0), 100, 0, ALL).removal.unwrap();
        assert_eq!((removal.segments, removal.bytes), (1, 100));
    }

    #[test]
    fn nothing_goes_that_is_needed_or_not_committed() {
        // What is behind a segment is committed too, when it goes.
        let bounds =
            [(0, 50, 0), (9, 50, 0), (10, 50, 1), (39, 50, 3), (50, 29, 2), (50, 30, 2), (50, 31, 3), (50, 50, 4)];
        for (floor, committed, goes_to) in bounds {
            let bounds = Bounds { first: 0, floor, committed };
            for (retention, space) in [(age(1), EMPTY), (size(1), EMPTY), (NONE, full(0)), (size(1), full(0))] {
                let retention = Retention { force: 0.1, ..retention };
                let gone = goes(retention, space, u64::MAX, bounds).map_or(0, |(segments, _)| segments);
                assert_eq!(gone, goes_to, "{bounds:?} {retention:?}");
            }
        }
    }

    #[test]
    fn the_level_says_how_full_the_disk_is() {
        let level = |available| decide(&NONE, &held(1), full(available), 0, 0, ALL).level;
        let levels = [1000, 300, 299, 150, 149, 100, 99, 0].map(level);
        use Level::*;
        assert_eq!(levels, [Calm, Calm, Filling, Filling, Forced, Forced, Refusing, Refusing]);
        assert_eq!(decide(&NONE, &[], Space { total: 0, available: 0 }, 0, 0, ALL).level, Level::Refusing);
    }

    #[test]
    fn what_is_asked_for_goes_in_whole_segments_and_nothing_above_it() {
        let goes = |index, bounds| below(index, &held(5), bounds).map(|r| (r.segments, r.upto, r.first, r.bytes));
        assert_eq!(goes(0, ALL), None);
        assert_eq!(goes(9, ALL), None);
        assert_eq!(goes(10, ALL), Some((1, 9, 10, 100)));
        assert_eq!(goes(39, ALL), Some((3, 29, 30, 300)));
        // Never the active one, what is not committed, or what is gone.
        assert_eq!(goes(u64::MAX, ALL), Some((4, 39, 40, 400)));
        assert_eq!(goes(u64::MAX, Bounds { committed: 29, ..ALL }), Some((2, 19, 20, 200)));
        assert_eq!(goes(u64::MAX, Bounds { floor: 9, ..ALL }), None);
        assert_eq!(below(20, &held(5)[2..], Bounds { first: 20, ..ALL }), None);
        assert_eq!(below(9, &[], ALL), None);
    }

    #[test]
    fn a_segment_without_entries_goes_with_the_next() {
        // A log that began at entry 20 in the middle of a segment in which nothing had room.
        let mut segments = held(5);
        (segments[0].end_number, segments[1].end_number) = (20, 30);
        let bounds = Bounds { first: 20, ..ALL };
        assert_eq!(decide(&size(499), &segments, EMPTY, 0, 0, bounds).removal, None);
        let removal = decide(&size(399), &segments, EMPTY, 0, 0, bounds).removal.unwrap();
        assert_eq!((removal.upto, removal.segments, removal.bytes), (29, 2, 200));
    }

    prop_compose! {
        fn any_segments()(sizes in prop::collection::vec((0..20u64, 0..50u64, 0..3000u64), 0..12)) -> Vec<Held> {
            let (mut number, mut at) = (0, 0);
            let mut segments = Vec::new();
            for (entries, bytes, time) in sizes {
                (number, at) = (number + entries, at + time);
                segments.push(Held { end_number: number, end_index: number / 2, last_timestamp: at, bytes });
            }
            segments
        }
    }

    proptest! {
        /// Never above the floor, the commit point, or in the active segment; a larger floor never keeps more; and
        /// what is decided once and done leaves nothing to do.
        #[test]
        fn retention_is_bounded_monotone_and_done_at_once(
            segments in any_segments(),
            (max_age, max_bytes) in (prop::option::of(1..9000u64), prop::option::of(1..300u64)),
            (available, now) in (0..1000u64, 0..20_000u64),
            (floor, more, committed) in (0..150u64, 0..150u64, 0..150u64),
        ) {
            let retention = Retention { max_age: max_age.map(Duration::from_millis), max_bytes, ..NONE };
            let decided = |segments: &[Held], available, floor, first| {
                let bounds = Bounds { first, floor, committed };
                decide(&retention, segments, full(available), 0, now, bounds).removal
            };
            let removal = decided(&segments, available, floor, 0);
            let upto = |removal: Option<Removal>| removal.map_or(0, |r| r.upto + 1);
            prop_assert!(upto(removal) <= floor.min(committed));
            prop_assert!(upto(decided(&segments, available, floor + more, 0)) >= upto(removal));
            if let Some(removal) = removal {
                prop_assert!(removal.segments < segments.len());
                let freed: u64 = segments[..removal.segments].iter().map(|s| s.bytes).sum();
                prop_assert_eq!(freed, removal.bytes);
                let rest = &segments[removal.segments..];
                prop_assert_eq!(decided(rest, available + freed, floor, removal.upto + 1), None);
            }
        }
    }
}
