//! What is known to be damaged, and goes.

use std::sync::atomic::Ordering;

use super::*;

/// A log of several segments, all but the last of which are known to be damaged.
fn damaged(dir: &Path) -> Log {
    let mut log = open(dir);
    fill(&mut log, 300);
    commit_all(&log);
    let sealed = log.shared.segments().len() as u64 - 1;
    for at in 0..sealed {
        flip(&dir.join("log").join(names::segment(at * SIZE)), 200);
    }
    let mut scrub = log.reader().scrub();
    while scrub.step(1).unwrap().is_some() {}
    assert_eq!(log.reader().damaged().len() as u64, sealed);
    log
}

#[test]
fn damage_in_a_segment_that_is_purged_is_not_listed_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let (found, second) = (log.reader().scrub_status().found, log.shared.segments()[1].start());
    log.purge(1, second.number).unwrap();
    let status = log.reader().scrub_status();
    assert_eq!((status.found, status.repaired, status.damaged.len() as u64), (found, 0, found - 1));
    assert!(log.reader().damaged().iter().all(|(position, _)| *position >= second.position));
}

#[test]
fn damage_is_not_listed_any_more_when_the_log_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let next = Cursor { position: 20 * SIZE + 400, number: 999, index: 999, term: 1, timestamp: 0, chain: 1 };
    log.reset(1, 998, next).unwrap();
    let status = log.reader().scrub_status();
    assert!(status.damaged.is_empty() && log.reader().damaged().is_empty(), "{status:?}");
    assert_eq!(status.repaired, 0);
}

/// Whoever read it before it went reports it after.
#[test]
fn damage_that_is_noted_late_is_not_listed_and_a_late_repair_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = damaged(dir.path());
    let (segment, (position, damage)) = (log.shared.segments()[0].clone(), log.reader().damaged().remove(0));
    let second = log.shared.segments()[1].start();
    log.purge(1, second.number).unwrap();
    log.shared.note_damage(&damage, &segment);
    log.shared.note_repaired(position);
    let status = log.reader().scrub_status();
    assert!(!status.damaged.contains(&damage.position), "{status:?}");
    assert_eq!(status.repaired, 0);
}

/// What is missing is a descriptor: nothing was said of the segment that was to be read with it.
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
    let sealed = log.shared.segments().len() - 1;
    let mut scrub = log.reader().scrub();
    for step in 0.. {
        failing.store(true, Ordering::Relaxed);
        if scrub.step(1).is_err() {
            failing.store(false, Ordering::Relaxed);
            scrub.step(1).unwrap();
        } else if log.reader().scrub_status().passes > 0 {
            break;
        }
        assert!(step < 1000, "it does not end");
    }
    assert_eq!(log.reader().damaged().len(), sealed);
}
