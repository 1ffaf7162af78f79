//! The spare segment of a log: when the log tries again to make one, and that a closed log makes none.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::full_disk::{Jobs, SIZE, append, open, open_with};
use crate::disk::Disk;
use crate::disk::sim::{Op, SimDisk};
use crate::log::admission::Admission;

/// As in an idle ledger whose status is asked for: the retry is a background job, and the caller does not wait for it.
#[test]
fn a_disk_is_full_until_there_is_room_however_often_that_is_looked_at() {
    let (disk, jobs) = (SimDisk::new(), Arc::new(Jobs { later: true, ..Jobs::default() }));
    let mut log = open_with(&disk, &jobs);
    disk.set_capacity(Some(disk.used() + SIZE));
    let capacity = log.capacity();
    while capacity.disk_full().is_none() {
        append(&mut log, 1000, 0).unwrap();
        jobs.work();
    }
    for now in (0..10).map(|n| n * 250) {
        assert!(capacity.disk_full_now(now).is_some(), "at {now}");
        // The log retries once a second, and not at every call.
        assert_eq!(jobs.queued.lock().len(), usize::from(now % 1000 == 0), "at {now}");
        assert!(capacity.disk_full_now(now).is_some(), "at {now}");
        jobs.work();
    }
    disk.set_capacity(None);
    assert!(capacity.disk_full_now(3000).is_some());
    jobs.work();
    assert_eq!(capacity.disk_full_now(3000), None);
}

fn has_spare(disk: &SimDisk) -> bool {
    disk.list(Path::new("/data")).unwrap().iter().any(|name| name == "spare")
}

/// The directory may belong to another log by then, or be removed.
#[test]
fn a_closed_log_makes_no_spare() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let capacity = log.capacity();
    log.closer().close().unwrap();
    let why = capacity.room_until(log.end().number, SIZE + 200, false, 5000).unwrap_err();
    assert!(why.why.contains("closed"), "{why}");
    assert!(matches!(capacity.room_for(SIZE, 0, 5000), Admission::Full(_)));
    assert!(!has_spare(&disk), "made at once");
}

#[test]
fn a_closed_log_does_not_try_again_to_make_a_spare() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let capacity = log.capacity();
    disk.set_capacity(Some(disk.used()));
    while capacity.disk_full().is_none() {
        append(&mut log, 1000, 0).unwrap();
    }
    log.closer().close().unwrap();
    disk.set_capacity(None);
    let end = log.end();
    capacity.room_until(end.number, end.position, false, 5000).unwrap();
    assert_eq!(capacity.room_for(100, 0, 9000), Admission::Now);
    assert!(!has_spare(&disk), "made by a job");
}

/// A spare that is being made when the log is closed is made before others get the directory.
#[test]
fn a_close_waits_for_a_spare_that_is_being_made() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let (capacity, closing) = (log.capacity(), log.closer());
    let gate = Arc::new(Mutex::new(()));
    disk.hold(Op::Create, gate.clone());
    let held = gate.lock();
    let maker = std::thread::spawn(move || capacity.room_until(0, SIZE + 200, false, 0));
    let patience = Instant::now() + Duration::from_secs(60);
    while Arc::strong_count(&gate) < 3 && Instant::now() < patience {
        std::thread::yield_now();
    }
    assert!(Arc::strong_count(&gate) > 2, "nobody makes a spare");
    let (done, closed) = std::sync::mpsc::channel();
    let closer = std::thread::spawn(move || done.send(closing.close()).unwrap());
    let early = closed.recv_timeout(Duration::from_millis(100));
    assert!(early.is_err(), "closed while a file is being made");
    drop(held);
    closed.recv().unwrap().unwrap();
    closer.join().unwrap();
    let _ = maker.join().unwrap();
}

/// The caller is often on a thread that all tasks of the node share.
#[test]
fn nobody_who_only_looks_waits_for_a_disk_that_hangs() {
    for (op, purge) in [(Op::Create, false), (Op::WriteAtomic, true)] {
        let disk = SimDisk::new();
        let mut log = open(&disk);
        let end = log.end();
        while log.end().position < 2 * SIZE {
            append(&mut log, 1000, 0).unwrap();
        }
        let (first, reader) = (log.end().number - 3, log.reader());
        let gate = Arc::new(Mutex::new(()));
        disk.hold(op, gate.clone());
        let held = gate.lock();
        let (maker, asker, to) = (log.capacity(), log.capacity(), 3 * SIZE + 200);
        let busy = std::thread::spawn(move || match purge {
            true => log.purge(1, first).unwrap(),
            false => maker.room_until(end.number, to, false, 0).unwrap(),
        });
        let patience = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&gate) < 3 && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert!(Arc::strong_count(&gate) > 2, "nobody is at it");
        let (done, looked) = std::sync::mpsc::channel();
        let looker = std::thread::spawn(move || {
            done.send((asker.disk_full_now(0), asker.lacks_room(0), reader.purged())).unwrap();
        });
        let found = looked.recv_timeout(Duration::from_secs(30));
        drop(held);
        busy.join().unwrap();
        looker.join().unwrap();
        assert_eq!(found, Ok((None, false, None)));
    }
}

/// The log has not tried to make a segment yet: the active one is nearly empty.
#[test]
fn a_disk_without_room_for_a_segment_is_told_before_one_is_wanted() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    append(&mut log, 1000, 0).unwrap();
    let capacity = log.capacity();
    assert!(!capacity.lacks_room(0));
    disk.set_capacity(Some(disk.used() + SIZE - 1));
    assert!(capacity.lacks_room(0));
    assert_eq!(capacity.disk_full_now(0), None, "appends find room for long");
    disk.set_capacity(Some(disk.used() + SIZE));
    assert!(!capacity.lacks_room(0));
}
