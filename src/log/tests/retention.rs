//! Retention on a log: what it removes, and what it never does.

use std::io;
use std::time::Duration;

use super::full_disk::{SIZE, append, open};
use crate::config::Retention;
use crate::disk::sim::{Rng, SimDisk};
use crate::error::ReadError;
use crate::log::Log;
use crate::log::retention::{Bounds, RetentionReview, decide, infos};
use crate::types::{DiskLevel, RemovalReason};

/// Removes what `retention` says may go, of the entries below number `floor`.
pub(super) fn retain(log: &mut Log, retention: &Retention, floor: u64, now: u64) -> io::Result<RetentionReview> {
    let (parts, first) = (log.parts.clone(), log.reader().numbers().start);
    let bounds = Bounds { first, floor, committed: log.progress().commit_point().number };
    let (segments, unlinked) = (infos(&parts.segments), parts.unlinked.bytes());
    let review = decide(retention, &segments, parts.files.space()?, unlinked, now, bounds);
    if let Some(removal) = review.removal {
        let term = log.reader().entry_header(removal.upto).unwrap().unwrap().term;
        log.purge(term, removal.upto)?;
    }
    Ok(review)
}

#[test]
fn a_log_is_kept_below_its_size_and_a_second_look_finds_nothing() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let retention = Retention { max_bytes: Some(3 * SIZE), ..Retention::default() };
    while log.end().position < 6 * SIZE + SIZE / 4 {
        append(&mut log, 1000, 0).unwrap();
    }
    assert_eq!(retain(&mut log, &retention, u64::MAX, 0).unwrap().removal, None, "it is not committed");
    log.committer().commit(log.end().number - 1).unwrap();
    let held = log.reader().record(0).unwrap();
    let used = disk.used();
    let removal = retain(&mut log, &retention, u64::MAX, 0).unwrap().removal.unwrap();
    assert_eq!((removal.segments, removal.bytes, removal.reason), (4, 4 * SIZE, RemovalReason::Size));
    assert_eq!(log.progress().first(), removal.first);
    assert_eq!(log.reader().record(0), Err(ReadError::Removed { index: 0, first: removal.first }));
    assert!(log.reader().record(removal.first).is_ok() && held.body.iter().all(|byte| *byte == b'x'));
    // Four segments and their index files; the start file came. One of them is still read.
    assert!(disk.used() <= used - 3 * SIZE, "{} of {used}", disk.used());
    drop(held);
    assert!(disk.used() <= used - 4 * SIZE, "{} of {used}", disk.used());
    assert_eq!(retain(&mut log, &retention, u64::MAX, 0).unwrap().removal, None);
    let (first, end) = (removal.first, log.end());
    drop(log);
    let log = open(&disk.crash(&mut Rng::new(5)).unwrap());
    assert_eq!((log.progress().first(), log.end()), (first, end));
}

#[test]
fn records_go_when_they_are_old_but_never_those_that_are_needed_or_in_the_active_segment() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let retention = Retention { max_age: Some(Duration::from_secs(10)), ..Retention::default() };
    let mut now = 0;
    while log.end().position < 4 * SIZE + SIZE / 4 {
        now += 100;
        append(&mut log, 1000, now).unwrap();
    }
    log.committer().commit(log.end().number - 1).unwrap();
    assert_eq!(retain(&mut log, &retention, u64::MAX, 10_000).unwrap().removal, None);
    let late = now + 20_000;
    for floor in [0, 5, 20, 40] {
        retain(&mut log, &retention, floor, late).unwrap();
        assert!(log.reader().numbers().start <= floor, "an entry at or above {floor} is gone");
    }
    let removal = retain(&mut log, &retention, u64::MAX, late).unwrap().removal.unwrap();
    assert_eq!(removal.reason, RemovalReason::Age);
    let kept = log.reader().numbers();
    assert!(!kept.is_empty() && kept.start > 40, "{kept:?}");
    append(&mut log, 1000, late).unwrap();
}

#[test]
fn a_disk_that_fills_up_makes_the_oldest_go_before_writes_are_refused() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    // 12 segments, a margin for the other files.
    disk.set_capacity(Some(12 * SIZE + disk.used()));
    let retention = Retention { check: 0.5, force: 0.7, refuse: 0.9, ..Retention::default() };
    log.refuse_above(&retention);
    let mut levels = Vec::new();
    for _ in 0..400 {
        append(&mut log, 1000, 0).unwrap();
        log.committer().commit(log.end().number - 1).unwrap();
        let decision = retain(&mut log, &retention, u64::MAX, 0).unwrap();
        assert!(decision.removal.is_none_or(|removal| removal.reason == RemovalReason::DiskForced));
        if levels.last() != Some(&decision.level) {
            levels.push(decision.level);
        }
    }
    assert_eq!(levels[..3], [DiskLevel::Calm, DiskLevel::Filling, DiskLevel::Forced]);
    assert!(!levels.contains(&DiskLevel::Refusing), "{levels:?}");
    assert!(log.progress().first() > 100 && log.reader().numbers().end == 400);
}
