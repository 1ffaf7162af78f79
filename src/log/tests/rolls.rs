//! An entry that begins a segment, wherever the one before it ends.

use super::retention::retain;
use super::*;
use crate::config::Retention;
use crate::format::entry::EntryHeader;
use crate::format::frame::Frame;
use crate::format::segment::SEGMENT_HEADER;

const FIRST: u64 = SEGMENT_HEADER as u64;

/// Where the roll is.
fn roll(log: &mut Log) -> u64 {
    log.append_draft(Draft::control(EntryKind::Roll, b""), 1, 1000).unwrap().position
}

fn frames(log: &Log) -> Vec<Frame> {
    log.reader().frames(0..log.end().number, usize::MAX).unwrap()
}

/// A roll as a leader would make it that has its place at `position`.
fn roll_at(log: &Log, position: u64) -> Frame {
    let (end, draft) = (log.end(), Draft::control(EntryKind::Roll, b""));
    let header = EntryHeader {
        position,
        number: end.number,
        term: 1,
        index: end.index,
        committed: 0,
        timestamp: 1000,
        records: 0,
        kind: draft.kind,
        body: 0,
        previous: end.chain,
        chain: 0,
    };
    draft.seal(header)
}

#[test]
fn a_roll_begins_a_segment_on_every_replica_and_is_found_by_every_start() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut log = open(ours.path());
    append(&mut log, &["a"]);
    assert_eq!(roll(&mut log), SIZE + FIRST);
    append(&mut log, &["b", "c"]);
    assert_eq!(roll(&mut log), 2 * SIZE + FIRST);
    assert_eq!(roll(&mut log), 3 * SIZE + FIRST, "behind another one");
    flushed(&mut log);
    commit_all(&log);
    let mut replica = open(theirs.path());
    frames(&log).into_iter().for_each(|frame| replica.append_frame(frame).unwrap());
    flushed(&mut replica);
    let end = log.end();
    closed(log);
    closed(replica);
    assert_eq!(segment_bytes(ours.path()), segment_bytes(theirs.path()));
    // The last segment holds nothing but the roll.
    let mut log = open(ours.path());
    commit_all(&log);
    assert_eq!((log.end(), bodies(&log.reader())), (end, ["a", "b", "c"].map(String::from).to_vec()));
    append(&mut log, &["d"]);
    assert_eq!(log.end().position / SIZE, 3);
    closed(log);
    assert_eq!(open(ours.path()).end().index, 4);
}

#[test]
fn a_segment_that_a_roll_has_ended_can_go_though_nothing_is_behind_the_roll() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let retention = Retention { max_age: Some(Duration::from_secs(10)), ..Retention::default() };
    append(&mut log, &["a"]);
    commit_all(&log);
    assert_eq!(retain(&mut log, &retention, u64::MAX, u64::MAX).unwrap().removal, None, "it is written to");
    roll(&mut log);
    assert_eq!(retain(&mut log, &retention, u64::MAX, u64::MAX).unwrap().removal, None, "the roll is not committed");
    commit_all(&log);
    assert_eq!(retain(&mut log, &retention, u64::MAX, 11_000).unwrap().removal, None, "not old enough");
    let removal = retain(&mut log, &retention, u64::MAX, 11_001).unwrap().removal.unwrap();
    assert_eq!((removal.segments, removal.first, log.progress().first()), (1, 1, 1));
    let end = log.end();
    closed(log);
    let mut log = open(dir.path());
    assert_eq!((log.end(), log.reader().numbers()), (end, 1..2));
    append(&mut log, &["b"]);
    commit_all(&log);
    assert_eq!(bodies(&log.reader()), ["b"]);
}

/// So that the next entry has the same position as on replicas that never had the roll.
#[test]
fn a_roll_that_is_torn_or_truncated_leaves_the_segment_before_as_it_was() {
    for torn in [true, false] {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = LogOptions { scheduler: Arc::new(ByHand), ..options() };
        let mut log = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), options).unwrap().0;
        append(&mut log, &["a"]);
        log.parts.flusher.flush();
        let end = log.end();
        let at = roll(&mut log);
        append(&mut log, &["behind the roll"]);
        if torn {
            log.closer().abandon();
            log.closer().release();
            drop(log);
            let file = dir.path().join("log").join(names::segment(SIZE));
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[(at - SIZE) as usize..].fill(0);
            std::fs::write(&file, bytes).unwrap();
            log = open(dir.path());
        } else {
            log.truncate(1).unwrap();
            let bytes = std::fs::read(dir.path().join("log").join(names::segment(0))).unwrap();
            assert!(bytes[end.position as usize..].iter().all(|byte| *byte == 0), "the blank is there still");
        }
        assert_eq!((log.end(), log.parts.segments.read().len()), (end, 1), "torn: {torn}");
        append(&mut log, &["b"]);
        let mut never = open(other.path());
        append(&mut never, &["a"]);
        append(&mut never, &["b"]);
        closed(log);
        closed(never);
        assert!(segment_bytes(dir.path()) == segment_bytes(other.path()), "torn: {torn}");
    }
}

#[test]
fn a_roll_anywhere_else_is_refused_from_a_leader_and_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &["a"]);
    flushed(&mut log);
    let (end, wrong) = (log.end(), roll_at(&log, log.end().position));
    let refused = log.append_frame(wrong.clone()).unwrap_err().to_string();
    assert!(refused.contains("position of the entry"), "{refused}");
    log.closer().abandon();
    log.closer().release();
    drop(log);
    let log_dir = dir.path().join("log");
    // The segment that the roll began has no entry.
    drop(std::fs::remove_file(log_dir.join(names::segment(SIZE))));
    let file = log_dir.join(names::segment(0));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = end.position as usize;
    bytes[at..].fill(0);
    bytes[at..at + wrong.bytes.len()].copy_from_slice(&wrong.bytes);
    std::fs::write(&file, bytes).unwrap();
    match try_open(dir.path(), identity()).map(drop) {
        Err(OpenError::Damaged(damage)) => {
            assert_eq!((&*damage.mismatch.what, damage.position), ("place of the entry", end.position))
        }
        other => panic!("{other:?}"),
    }
}

/// It may be most of a segment.
#[test]
fn what_a_roll_leaves_unwritten_is_scrubbed_step_by_step() {
    const LARGE: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_size: LARGE, ..options() };
    let identity = Identity { segment_size: LARGE, ..identity() };
    let mut log = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity, options).unwrap().0;
    append(&mut log, &["a"]);
    roll(&mut log);
    flushed(&mut log);
    commit_all(&log);
    let mut scrub = log.health().scrub();
    let steps: Vec<u64> = std::iter::from_fn(|| scrub.step(0).unwrap()).collect();
    assert_eq!(steps.iter().sum::<u64>(), LARGE);
    assert!(steps.iter().all(|step| *step > 0 && *step <= LARGE / 3), "{steps:?}");
    let file = dir.path().join("log").join(names::segment(0));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[LARGE as usize - 9] = 1;
    std::fs::write(&file, bytes).unwrap();
    let mut scrub = log.health().scrub();
    while scrub.step(0).unwrap().is_some() {}
    assert_eq!(log.health().status().damaged.len(), 1);
}

#[test]
fn a_log_that_begins_at_a_roll_or_behind_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &["a"]);
    roll(&mut log);
    append(&mut log, &["b"]);
    commit_all(&log);
    let (reader, all) = (log.reader(), frames(&log));
    for purged in [0, 1] {
        let (term, next) = (1, reader.cursor_after(purged).unwrap().unwrap());
        assert_eq!(next.position, SIZE + FIRST + 80 * purged);
        let other = tempfile::tempdir().unwrap();
        let mut replica = open(other.path());
        replica.reset(term, purged, next).unwrap();
        all[purged as usize + 1..].iter().for_each(|frame| replica.append_frame(frame.clone()).unwrap());
        flushed(&mut replica);
        assert_eq!(replica.end(), log.end());
        closed(replica);
        assert_eq!(open(other.path()).end(), log.end());
    }
}

/// A repair applies the rule of the roll too.
#[test]
fn a_segment_that_begins_with_a_roll_is_repaired_from_another_replica() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut ours, mut theirs) = (open(dir.path()), open(other.path()));
    for log in [&mut ours, &mut theirs] {
        append(log, &["a"]);
        roll(log);
        append(log, &["b"]);
        roll(log);
        append(log, &["c"]);
        flushed(log);
        commit_all(log);
    }
    closed(ours);
    for damaged in [0, SIZE, 2 * SIZE] {
        let file = dir.path().join("log").join(names::segment(damaged));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[SEGMENT_HEADER..SEGMENT_HEADER + 100].fill(0xff);
        std::fs::write(&file, bytes).unwrap();
        assert!(try_open(dir.path(), identity()).is_err(), "{damaged}");
        let reader = theirs.reader();
        let ask = |number| repair::answer(&reader, number, 5);
        repair::repair_with(dir.path(), Arc::new(RealDisk), ask).unwrap();
        let log = open(dir.path());
        assert_eq!(log.end().chain, theirs.end().chain);
        closed(log);
    }
    flushed(&mut theirs);
    closed(theirs);
    assert!(segment_bytes(dir.path()) == segment_bytes(other.path()));
}
