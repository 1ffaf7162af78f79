//! What a log does on a full disk, and once there is room again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Retention;
use crate::disk::sim::{Op, Rng, SimDisk};
use crate::format::entry::{EntryKind, entry_length};
use crate::format::frame::Draft;
use crate::format::segment::Cursor;
use crate::log::admission::Admission;
use crate::log::directory::Identity;
use crate::log::threads::FlushScheduler;
use crate::log::{Background, Log, LogOptions};
use crate::log::{Completion, Flusher};
use crate::types::Incarnation;

pub(super) const SIZE: u64 = 16384;

/// Flushes at once; does file work when the test says so, or at once.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) later: bool,
    pub(super) queued: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl FlushScheduler for Jobs {
    fn schedule(&self, log: Arc<Flusher>, _: Duration) {
        log.flush();
    }
}

impl Background for Jobs {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        if self.later { self.queued.lock().push(job) } else { job() }
    }
}

impl Jobs {
    pub(super) fn work(&self) {
        let jobs = std::mem::take(&mut *self.queued.lock());
        jobs.into_iter().for_each(|job| job());
    }
}

pub(super) fn open_with(disk: &SimDisk, jobs: &Arc<Jobs>) -> Log {
    open_sized(disk, jobs.clone(), jobs.clone(), SIZE)
}

fn open_sized(disk: &SimDisk, scheduler: Arc<Jobs>, background: Arc<dyn Background>, segment_size: u64) -> Log {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size,
        incarnation: Incarnation::from_u128(1),
    };
    let options = LogOptions { segment_size, interval: None, scheduler, background };
    Log::open(Arc::new(disk.clone()), PathBuf::from("/data"), identity, options).unwrap().0
}

pub(super) fn open(disk: &SimDisk) -> Log {
    open_with(disk, &Arc::default())
}

/// An entry of about `length` bytes, durable.
pub(super) fn append(log: &mut Log, length: usize, now: u64) -> io::Result<()> {
    log.append_draft(Draft::batch(&["x".repeat(length)]), 1, now)?;
    log.on_durable(Completion::new(drop));
    Ok(())
}

/// Appends until the disk is full.
fn fill_up(log: &mut Log) -> io::Error {
    for _ in 0..10_000 {
        if let Err(error) = append(log, 1000, 0) {
            return error;
        }
    }
    panic!("the disk is never full");
}

fn assert_all_there(log: &Log, end: u64) {
    assert_eq!(log.end().number, end);
    let frames = log.reader().frames(0..end, usize::MAX).unwrap();
    assert_eq!(frames.len() as u64, end);
    assert!(frames.iter().all(|frame| frame.body().iter().filter(|byte| **byte == b'x').count() == 1000));
}

#[test]
fn a_roll_that_finds_no_room_changes_nothing_and_is_tried_again() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    disk.set_capacity(Some(disk.used() + 2 * SIZE));
    let error = fill_up(&mut log);
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let end = log.end();
    assert_eq!(append(&mut log, 1000, 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(log.end(), end);
    assert_all_there(&log, end.number);
    // A start does not lose anything either, whether the power failed or not.
    let copy = disk.crash(&mut Rng::new(1)).unwrap();
    drop(log);
    let mut log = open(&copy);
    assert_all_there(&log, end.number);
    assert_eq!(append(&mut log, 1000, 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    copy.set_capacity(None);
    for _ in 0..50 {
        append(&mut log, 1000, 0).unwrap();
    }
    assert_all_there(&log, end.number + 50);
    drop(log);
    assert_all_there(&open(&copy.kill().unwrap()), end.number + 50);
}

/// Number of the first entry of the active segment.
fn begins(log: &Log) -> u64 {
    let (end, reader) = (log.end(), log.reader());
    let is_here = |number: &u64| reader.entry_header(*number).unwrap().unwrap().position / SIZE == end.position / SIZE;
    (0..end.number).rev().take_while(is_here).last().unwrap_or(end.number)
}

#[test]
fn what_was_let_in_can_be_written_and_so_can_rafts_own_entries() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new();
        let jobs = Arc::new(Jobs { later: rng.chance(500), ..Jobs::default() });
        let mut log = open_with(&disk, &jobs);
        let capacity = log.capacity();
        disk.set_capacity(Some(disk.used() + rng.below(5 * SIZE)));
        let (mut now, mut full) = (0, false);
        while !full {
            now += 1 + rng.below(900);
            // Several are let in before the first is written.
            let mut let_in: Vec<usize> = Vec::new();
            let length = |record: usize| entry_length(8 + record);
            for _ in 0..=rng.below(4) {
                let record = rng.below(SIZE / 4) as usize;
                let pending: usize = let_in.iter().map(|record| length(*record)).sum();
                match capacity.room_for(length(record) as u64, pending as u64, now) {
                    Admission::Now => let_in.push(record),
                    Admission::Later => assert!(pending > 0, "seed {seed}: nothing to wait for"),
                    Admission::Full(_) => full = pending == 0,
                }
            }
            for record in let_in {
                let written = append(&mut log, record, now);
                assert!(written.is_ok(), "seed {seed}: {written:?}");
            }
            if rng.chance(100) && log.end().number > 0 && capacity.can_roll(begins(&log), now) {
                let rolled = log.append_draft(Draft::control(EntryKind::Roll, b""), 1, now);
                assert!(rolled.is_ok(), "seed {seed}: {rolled:?}");
            }
            if rng.chance(300) {
                jobs.work();
            }
        }
        assert!(capacity.disk_full().is_some());
        for term in 1..6 {
            // Blanks, as each election makes one.
            log.append_draft(Draft::control(EntryKind::Blank, b""), term, 0).unwrap();
        }
    }
}

#[test]
fn a_follower_lets_in_what_it_can_write_and_keeps_room_for_rafts_own() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let room = |log: &Log, position, control, now| log.capacity().room_until(log.end().number, position, control, now);
    disk.set_capacity(Some(disk.used()));
    while log.end().position < SIZE - 4000 {
        append(&mut log, 1000, 0).unwrap();
    }
    let written = log.end().position;
    room(&log, written + 1000, false, 0).unwrap();
    let why = room(&log, SIZE - 100, false, 0).unwrap_err();
    assert!(why.why.contains("no room for another segment in /data"), "{why}");
    room(&log, SIZE - 100, true, 0).unwrap();
    room(&log, SIZE + 200, true, 0).unwrap_err();
    // For one more segment, and then for two.
    disk.set_capacity(Some(disk.used() + SIZE + SIZE / 2));
    room(&log, SIZE + 200, false, 1000).unwrap();
    let why = room(&log, 2 * SIZE + 200, false, 1000).unwrap_err();
    assert!(why.why.contains("no room for another segment in /data"), "{why}");
    disk.set_capacity(Some(disk.used() + SIZE + 4096));
    room(&log, 2 * SIZE + 200, false, 1000).unwrap();
    while log.end().position < 2 * SIZE + 200 {
        append(&mut log, 1000, 0).unwrap();
    }
    disk.set_capacity(None);
    room(&log, 5 * SIZE, false, 2000).unwrap();
}

/// Entries of an earlier leader fill the segment and begin the next one; the present leader's replacements roll at
/// another position.
#[test]
fn what_comes_in_place_of_a_tail_is_let_in_only_if_it_can_be_written() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    while log.end().position < SIZE - 4000 {
        append(&mut log, 1000, 0).unwrap();
    }
    let (kept, at) = (log.end().number, log.end().position);
    while log.end().position < SIZE + 3000 {
        append(&mut log, 1000, 0).unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    let capacity = log.capacity();
    // In the segment that is left there is room.
    capacity.room_until(kept, at + 500, false, 0).unwrap();
    // Behind it there is none, though the log reaches further now.
    assert!(SIZE + 2000 < log.end().position);
    let why = capacity.room_until(kept, SIZE + 2000, false, 0).unwrap_err();
    assert!(why.why.contains("no room for another segment in /data"), "{why}");
    // The room reserved for Raft's own entries is in the segment that is left.
    capacity.room_until(kept, SIZE - 100, false, 0).unwrap_err();
    capacity.room_until(kept, SIZE - 100, true, 0).unwrap();
}

#[test]
fn a_full_disk_is_asked_again_after_a_second_and_after_a_purge_at_once() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let capacity = log.capacity();
    disk.set_capacity(Some(disk.used() + SIZE + 4096));
    let full = |now| matches!(capacity.room_for(4000, 0, now), Admission::Full(_));
    while !full(5000) {
        append(&mut log, 1000, 0).unwrap();
    }
    disk.set_capacity(None);
    assert!(full(5999), "asked the file system for every append");
    assert!(!full(6000), "still full a second later");
    assert_eq!(capacity.disk_full(), None);

    disk.set_capacity(Some(disk.used()));
    while !full(8000) {
        append(&mut log, 1000, 0).unwrap();
    }
    let end = log.end().number;
    log.purge(1, end - 10).unwrap();
    assert!(!full(8000), "a purge made room, and nobody noticed");
    for _ in 0..10 {
        append(&mut log, 1000, 0).unwrap();
    }
}

/// Recording a purge takes a block, and the disk has none: that must not keep the purge from making room.
#[test]
fn a_purge_works_on_a_disk_without_a_single_free_byte() {
    for round in 0..3 {
        let disk = SimDisk::new();
        let mut log = open(&disk);
        disk.set_capacity(Some(disk.used() + 3 * SIZE));
        for _ in 0..=round {
            fill_up(&mut log);
            disk.set_capacity(Some(disk.used()));
            let keep = log.end().number - 5;
            log.purge(1, keep - 1).unwrap();
            assert_eq!(log.reader().numbers().start, keep);
        }
        append(&mut log, 1000, 0).unwrap();
        let end = log.end();
        drop(log);
        assert_eq!(open(&disk.kill().unwrap()).end(), end);
    }
}

#[test]
fn no_segment_is_made_that_would_leave_more_in_use_than_is_allowed() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.refuse_above(&Retention { refuse: 0.5, ..Retention::default() });
    disk.set_capacity(Some(20 * SIZE));
    let error = fill_up(&mut log);
    assert!(error.to_string().contains("the limit is 50.0 %"), "{error}");
    assert!(disk.used() <= 10 * SIZE && disk.used() > 9 * SIZE, "{} of {}", disk.used(), 20 * SIZE);
    assert_eq!(append(&mut log, 1000, 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.set_capacity(Some(30 * SIZE));
    append(&mut log, 1000, 0).unwrap();
}

/// The roll takes the last file that has room from the thread that fills it with zeros, which may be in the middle of a
/// slow write: that write must not overwrite appended entries.
#[test]
fn a_spare_that_is_being_filled_is_taken_when_there_is_no_other() {
    let disk = SimDisk::new();
    let jobs = Arc::new(Jobs { later: true, ..Jobs::default() });
    let mut log = open_with(&disk, &jobs);
    while log.end().position < SIZE - 2000 {
        append(&mut log, 1000, 0).unwrap();
    }
    // Allocated now; the job that fills it comes no further than its first write.
    assert_eq!(log.capacity().room_for(8000, 0, 0), Admission::Now);
    disk.set_capacity(Some(disk.used()));
    let gate = Arc::new(Mutex::new(()));
    disk.hold(Op::Write, gate.clone());
    let held = gate.lock();
    let filler = std::thread::spawn(move || jobs.work());
    let patience = Instant::now() + Duration::from_secs(60);
    let until = |condition: &dyn Fn() -> bool| {
        while !condition() && Instant::now() < patience {
            std::thread::yield_now();
        }
    };
    until(&|| Arc::strong_count(&gate) > 2);
    assert!(Arc::strong_count(&gate) > 2, "nobody fills the spare");
    let end = log.end().number;
    let appender = std::thread::spawn(move || {
        (0..4).for_each(|_| append(&mut log, 1000, 0).unwrap());
        log
    });
    // The roll has it renamed at once or waits for the write; the write goes on after it at the latest.
    let beginning = Instant::now() + Duration::from_millis(20);
    until(&|| appender.is_finished() || Instant::now() > beginning);
    drop(held);
    filler.join().unwrap();
    let log = appender.join().unwrap();
    assert!(log.end().position > SIZE, "no roll");
    log.committer().commit(end + 3).unwrap();
    assert_all_there(&log, end + 4);
    drop(log);
    assert_all_there(&open(&disk.kill().unwrap()), end + 4);
}

#[test]
fn any_other_failure_of_a_roll_stops_the_log() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    disk.fail_nth(Op::Create, 0, io::ErrorKind::Other);
    disk.fail_nth(Op::Create, 0, io::ErrorKind::Other);
    fill_up_or_stop(&mut log);
    disk.mend();
    append(&mut log, 1000, 0).unwrap_err();
}

fn fill_up_or_stop(log: &mut Log) {
    let stopped = (0..100).any(|_| append(log, 1000, 0).is_err());
    assert!(stopped, "it goes on");
}

/// The old segments make room for the new beginning, as soon as no reader holds them.
#[test]
fn a_log_begins_anew_on_a_full_disk_and_waits_for_room_if_it_has_to() {
    for held in [false, true] {
        let disk = SimDisk::new();
        let mut log = open(&disk);
        disk.set_capacity(Some(disk.used() + 2 * SIZE));
        fill_up(&mut log);
        let (end, reader) = (log.end(), log.reader());
        log.committer().commit(end.number - 1).unwrap();
        let slice = held.then(|| (0..end.number).map(|number| reader.frame(number).unwrap()).collect::<Vec<_>>());
        // With the ballast the log can record where it begins, and nothing more.
        disk.set_capacity(Some(disk.used() - 60_000));
        let next = Cursor { position: 20 * SIZE + 400, number: 999, index: 999, ..end };
        log.reset(end.term, 998, next).unwrap();
        assert_eq!((log.end(), reader.numbers(), reader.failure()), (next, 999..999, None));
        assert_eq!(reader.progress().commit_point().number, 999);
        if held {
            assert_eq!(append(&mut log, 1000, 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert!(matches!(log.capacity().room_for(1000, 0, 1000), Admission::Full(_)));
            log.capacity().room_until(999, next.position + 1100, false, 2000).unwrap_err();
            // A start finds the same.
            let later = disk.kill().unwrap();
            later.set_capacity(Some(later.used()));
            drop((slice, log));
            log = open(&later);
            assert_eq!(log.end(), next);
            later.set_capacity(None);
        }
        assert_eq!(log.capacity().room_for(1000, 0, 9000), Admission::Now);
        append(&mut log, 1000, 0).unwrap();
        assert_eq!((log.end().number, log.reader().failure()), (1000, None));
    }
}

#[test]
fn a_spare_that_cannot_be_made_for_another_reason_is_told_by_that() {
    let disk = SimDisk::new();
    let log = open(&disk);
    disk.fail_nth(Op::Create, 0, io::ErrorKind::NotFound);
    let Admission::Full(why) = log.capacity().room_for(SIZE, 0, 0) else { panic!("there is no spare") };
    assert!(why.why.starts_with("another segment cannot be made in /data: "), "{why}");
}
