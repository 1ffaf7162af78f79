//! The decision: tables, and what holds for every log.

use proptest::prelude::*;

use super::*;

/// Segment `k` holds the entries and records `[10k, 10k + 10)`, of 100 bytes, the last written at `k` seconds.
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

const NONE: Retention =
    Retention { max_age: None, max_bytes: None, check: 0.7, force: 0.85, refuse: 0.9, every: Duration::from_secs(10) };
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

/// How many of five segments go, and why the youngest of those goes.
fn goes(retention: Retention, space: Space, now: u64, bounds: Bounds) -> Option<(usize, RemovalReason)> {
    let removal = decide(&retention, &held(5), space, 0, now, bounds).removal?;
    assert_eq!((removal.upto + 1, removal.first), (removal.segments as u64 * 10, removal.segments as u64 * 10));
    assert_eq!(removal.bytes, removal.segments as u64 * 100);
    Some((removal.segments, removal.reason))
}

#[test]
fn a_segment_goes_when_its_last_record_is_older_than_allowed() {
    assert_eq!(goes(age(2), EMPTY, 2000, ALL), None);
    assert_eq!(goes(age(2), EMPTY, 2001, ALL), Some((1, RemovalReason::Age)));
    assert_eq!(goes(age(2), EMPTY, 4000, ALL), Some((2, RemovalReason::Age)));
    // The active one stays, however old; and so does all when the clock was set back.
    assert_eq!(goes(age(2), EMPTY, u64::MAX, ALL), Some((4, RemovalReason::Age)));
    assert_eq!(goes(Retention { max_age: Some(Duration::MAX), ..NONE }, EMPTY, u64::MAX, ALL), None);
    assert_eq!(goes(age(2), EMPTY, 0, ALL), None);
}

#[test]
fn a_segment_with_a_stamp_in_the_future_goes_when_it_has_been_full_for_longer_than_allowed() {
    let mut segments = held(5);
    for segment in &mut segments {
        (segment.last_timestamp, segment.full_for) = (u64::MAX, 4000 - segment.last_timestamp);
    }
    let goes = |seconds| decide(&age(seconds), &segments, EMPTY, 0, 1000, ALL).removal.map(|r| (r.segments, r.reason));
    assert_eq!(goes(4), None);
    assert_eq!(goes(2), Some((2, RemovalReason::Age)));
    assert_eq!(goes(0), Some((4, RemovalReason::Age)));
}

#[test]
fn the_oldest_go_while_all_together_are_larger_than_allowed() {
    assert_eq!(goes(size(500), EMPTY, 0, ALL), None);
    assert_eq!(goes(size(499), EMPTY, 0, ALL), Some((1, RemovalReason::Size)));
    assert_eq!(goes(size(250), EMPTY, 0, ALL), Some((3, RemovalReason::Size)));
    assert_eq!(goes(size(1), EMPTY, 0, ALL), Some((4, RemovalReason::Size)));
}

#[test]
fn on_a_full_disk_the_oldest_go_until_it_is_below_the_line() {
    assert_eq!(goes(NONE, full(150), 0, ALL), None);
    assert_eq!(goes(NONE, full(149), 0, ALL), Some((1, RemovalReason::DiskForced)));
    assert_eq!(goes(NONE, full(50), 0, ALL), Some((1, RemovalReason::DiskForced)));
    assert_eq!(goes(NONE, full(49), 0, ALL), Some((2, RemovalReason::DiskForced)));
    assert_eq!(goes(Retention { force: 0.1, ..NONE }, full(0), 0, ALL), Some((4, RemovalReason::DiskForced)));
    // Bytes removed for another reason count.
    assert_eq!(goes(size(300), full(0), 0, ALL), Some((2, RemovalReason::Size)));
    assert_eq!(goes(size(499), full(0), 0, ALL), Some((2, RemovalReason::DiskForced)));
    assert_eq!(goes(age(2), full(0), 2001, ALL), Some((2, RemovalReason::DiskForced)));
}

#[test]
fn what_was_removed_a_moment_ago_is_not_removed_for_twice() {
    assert_eq!(decide(&NONE, &held(5), full(100), 100, 0, ALL).removal, None);
    let removal = decide(&NONE, &held(5), full(0), 100, 0, ALL).removal.unwrap();
    assert_eq!((removal.segments, removal.bytes), (1, 100));
}

#[test]
fn nothing_goes_that_is_needed_or_not_committed() {
    // A segment goes only once the entry behind it is committed too.
    let bounds = [(0, 50, 0), (9, 50, 0), (10, 50, 1), (39, 50, 3), (50, 29, 2), (50, 30, 2), (50, 31, 3), (50, 50, 4)];
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
    use DiskLevel::*;
    assert_eq!(levels, [Calm, Calm, Filling, Filling, Forced, Forced, Refusing, Refusing]);
    assert_eq!(decide(&NONE, &[], Space { total: 0, available: 0 }, 0, 0, ALL).level, DiskLevel::Refusing);
}

#[test]
fn what_is_asked_for_goes_in_whole_segments_and_nothing_above_it() {
    let goes = |index, bounds| below(index, &held(5), bounds).map(|r| (r.segments, r.upto, r.first, r.bytes));
    assert_eq!(goes(0, ALL), None);
    assert_eq!(goes(9, ALL), None);
    assert_eq!(goes(10, ALL), Some((1, 9, 10, 100)));
    assert_eq!(goes(39, ALL), Some((3, 29, 30, 300)));
    // Never the active segment, uncommitted entries, or entries that are gone already.
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
    fn any_segments()(sizes in prop::collection::vec((0..20u64, 0..50u64, 0..3000u64), 0..12)) -> Vec<SegmentInfo> {
        let (mut number, mut at) = (0, 0);
        let mut segments = Vec::new();
        for (entries, bytes, time) in sizes {
            (number, at) = (number + entries, at + time);
            let (end_number, end_index, last_timestamp) = (number, number / 2, at);
            segments.push(SegmentInfo { end_number, end_index, last_timestamp, bytes, full_for: 0 });
        }
        segments
    }
}

proptest! {
    /// Never above the floor, the commit point, or in the active segment; a larger floor never keeps more; and
    /// a decision that was carried out leaves nothing to do.
    #[test]
    fn retention_is_bounded_monotone_and_done_at_once(
        segments in any_segments(),
        (max_age, max_bytes) in (prop::option::of(1..9000u64), prop::option::of(1..300u64)),
        (available, now) in (0..1000u64, 0..20_000u64),
        (floor, more, committed) in (0..150u64, 0..150u64, 0..150u64),
    ) {
        let retention = Retention { max_age: max_age.map(Duration::from_millis), max_bytes, ..NONE };
        let decided = |segments: &[SegmentInfo], available, floor, first| {
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
