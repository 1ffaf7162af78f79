//! Known damage in segments that are then removed.

use std::sync::atomic::Ordering;

use super::*;

/// A log of several segments, all but the last of which are known to be damaged.
fn damaged(dir: &Path) -> Log {
    let mut log = open(dir);
    fill(&mut log, 300);
    commit_all(&log);
    let sealed = log.parts.segments.read().len() as u64 - 1;
    for at in 0..sealed {
        flip(&dir.join("log").join(names::segment(at * SIZE)), 200);
    }
    let mut scrub = log.health().scrub();
    while scrub.step(1).unwrap().is_some() {}
    assert_eq!(log.health().damaged().len() as u64, sealed);
    log
}

#[test]
fn damage_in_a_segment_that_is_purged_is_not_listed_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let (found, second) = (log.health().status().found, log.parts.segments.read()[1].start());
    log.purge(1, second.number).unwrap();
    let status = log.health().status();
    assert_eq!((status.found, status.repaired, status.damaged.len() as u64), (found, 0, found - 1));
    assert!(log.health().damaged().iter().all(|(position, _)| *position >= second.position));
}

#[test]
fn damage_is_not_listed_any_more_when_the_log_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let next = Cursor { position: 20 * SIZE + 400, number: 999, index: 999, term: 1, timestamp: 0, chain: 1 };
    log.reset(1, 998, next).unwrap();
    let status = log.health().status();
    assert!(status.damaged.is_empty() && log.health().damaged().is_empty(), "{status:?}");
    assert_eq!(status.repaired, 0);
}

/// A reader that read the segment before its removal reports the damage after the removal.
#[test]
fn damage_that_is_noted_late_is_not_listed_and_a_late_repair_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let (segment, (position, damage)) = (log.parts.segments.read()[0].clone(), log.health().damaged().remove(0));
    let second = log.parts.segments.read()[1].start();
    log.purge(1, second.number).unwrap();
    log.parts.health.note_damage(&damage, &segment);
    log.parts.health.note_repaired(position);
    let status = log.health().status();
    assert!(!status.damaged.contains(&damage.position), "{status:?}");
    assert_eq!(status.repaired, 0);
}

/// The process lacks a descriptor: that says nothing about the segment that the scrub could not open.
#[test]
fn a_step_of_a_scrub_that_found_no_descriptor_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    closed(damaged(dir.path()));
    let failing = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = failing.clone();
    let disk = crate::disk::hooked::HookedDisk::on_open(move |_| match flag.load(Ordering::Relaxed) {
        true => Err(rustix::io::Errno::MFILE.into()),
        false => Ok(()),
    });
    let log = Log::open(Arc::new(disk), dir.path().join("log"), identity(), options()).unwrap().0;
    commit_all(&log);
    let sealed = log.parts.segments.read().len() - 1;
    let mut scrub = log.health().scrub();
    for step in 0.. {
        failing.store(true, Ordering::Relaxed);
        if scrub.step(1).is_err() {
            failing.store(false, Ordering::Relaxed);
            scrub.step(1).unwrap();
        } else if log.health().status().passes > 0 {
            break;
        }
        assert!(step < 1000, "it does not end");
    }
    assert_eq!(log.health().damaged().len(), sealed);
}
