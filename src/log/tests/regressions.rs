//! Regressions from a review. Each failed on the code it was written against, but for
//! `frames_of_one_read_continue_each_other`: that race was found by reading and the test has not been seen to hit it.

use std::sync::atomic::{AtomicBool, Ordering};

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::*;
use crate::disk::hooked::HookedDisk;
use crate::format::entry::EntryHeader;
use crate::format::frame::Frame;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER};

const LARGE: u64 = 4 << 20;

fn open_sized(dir: &Path, size: u64) -> Log {
    let identity = Identity { segment_size: size, ..identity() };
    let options = LogOptions { segment_size: size, ..options() };
    Log::open(Arc::new(RealDisk), dir.join("log"), identity, options).unwrap().0
}

/// Power loss wrote the header of a sealed, never synced segment's entry but not all of its body.
#[test]
fn an_entry_that_is_counted_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for _ in 0..200 {
        append(&mut log, &["x".repeat(100).as_str()]);
    }
    closed(log);
    lose_sector(&dir.path().join("log/00000000000000000000"));
    let log = open(dir.path());
    assert!(log.end().number < 200);
    for number in log.reader().numbers() {
        let frame = log.reader().frame(number);
        assert!(frame.is_ok(), "open counts entry {number} as there and durable, but {}", frame.unwrap_err());
    }
}

/// The usual shape: the next file has its name but not yet a header.
#[test]
fn the_segment_before_an_unwritten_one_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    while log.parts.segments.read().len() < 2 {
        append(&mut log, &["x".repeat(100).as_str()]);
    }
    closed(log);
    std::fs::write(dir.path().join("log/00000000000000008192"), vec![0; SIZE as usize]).unwrap();
    lose_sector(&dir.path().join("log/00000000000000000000"));
    let log = open(dir.path());
    assert_eq!(log.reader().numbers(), 0..2, "entry 2 begins in the sector before the one that is lost");
}

/// Sector 1 of `file` is zeros again.
fn lose_sector(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[512..1024].fill(0);
    std::fs::write(file, bytes).unwrap();
}

/// Commit() keeps the tail locked while it takes `segments`; truncate takes them the other way round.
#[test]
fn commit_and_truncate_do_not_wait_for_each_other() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let mut log = open_sized(dir.path(), LARGE);
            fill(&mut log, 4100);
            closed(log);
            let mut log = open_sized(dir.path(), LARGE); // the tail is empty now
            let (committer, reader, stop) = (log.committer(), log.reader(), Arc::new(AtomicBool::new(false)));
            std::thread::scope(|scope| {
                scope.spawn(|| (0..4000).for_each(|number| committer.commit(number).unwrap()));
                let stopped = stop.clone();
                scope.spawn(move || {
                    while !stopped.load(Ordering::Relaxed) {
                        let _ = reader.frame(10);
                    }
                });
                for from in (4000..4100).rev() {
                    log.truncate(from).unwrap();
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(60)).expect("deadlock");
}

/// Truncate (not synced), snapshot, reset (start file synced), power loss: the old bytes are back.
#[test]
fn old_entries_never_pass_for_what_follows_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log/00000000000000000000");
    let mut log = open(dir.path());
    fill(&mut log, 30);
    let old = std::fs::read(&file).unwrap();
    log.truncate(5).unwrap();
    let next = Cursor { position: 4000, number: 21, index: 21, term: 2, timestamp: 0, chain: 0xdead };
    log.reset(2, 20, next).unwrap();
    log.closer().close().unwrap();
    drop(log);
    std::fs::write(&file, old).unwrap(); // neither the removal nor the zeros had reached the disk
    let log = open(dir.path());
    assert_eq!(log.end(), next);
}

/// A node that lost its vote must not start as if it had never voted.
#[test]
fn a_lost_hard_state_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.save_vote(HardVote { term: 5, node: Some("n2".parse().unwrap()), granted: false }).unwrap();
    fill(&mut log, 5);
    closed(log);
    std::fs::remove_file(dir.path().join("log/hard-state")).unwrap();
    assert!(try_open(dir.path(), identity()).is_err());
}

#[test]
fn a_vote_slot_that_reads_as_zeros_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let vote = |term| HardVote { term, node: Some("n2".parse().unwrap()), granted: false };
    let mut log = open(dir.path());
    log.save_vote(vote(4)).unwrap();
    log.save_vote(vote(5)).unwrap();
    closed(log);
    let file = dir.path().join("log/hard-state");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..4096].fill(0); // sequence 2, the newest, is in slot 0
    std::fs::write(&file, bytes).unwrap();
    let opened = try_open(dir.path(), identity());
    assert!(opened.is_err(), "opened with {:?}", opened.unwrap().0.reader().vote());
}

/// While the commit point is ahead of the point that was durable when the pass began (a slow disk in a fast quorum, or
/// `Durability::Interval`), the commit point is never noted at all.
#[test]
fn the_commit_point_is_noted_while_appends_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_sized(dir.path(), LARGE);
    let parts = log.parts.clone();
    for pass in 0..20 {
        for _ in 0..10 {
            append(&mut log, &["committed before the pass"]);
        }
        commit_all(&log);
        // A pass by hand: an entry is written and committed while the files are being synced.
        let point = parts.progress.commit_point();
        let running = parts.flusher.begin_pass();
        let upto = parts.flusher.sync(&running).unwrap();
        append(&mut log, &["written and committed during the pass"]);
        commit_all(&log);
        parts.flusher.end_pass(&running, upto).unwrap();
        let noted = parts.flusher.hard_state().noted().committed.number;
        assert!(noted >= point.number, "pass {pass}: {} entries were committed before, noted {noted}", point.number);
    }
}

fn bad_committed() -> Frame {
    let draft = Draft::batch(&["a"]);
    let header = EntryHeader {
        position: SEGMENT_HEADER as u64,
        number: 0,
        term: 1,
        index: 0,
        committed: 1000,
        timestamp: 0,
        records: draft.records,
        kind: draft.kind,
        body: draft.body_length(),
        previous: identity().chain_seed(),
        chain: 0,
    };
    draft.seal(header)
}

/// An entry that claims more to be committed than lies before it is stored and then refuses every start.
#[test]
fn what_is_stored_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let frames = Frame::parse_all(bad_committed().bytes);
    let Ok(frames) = frames else { return };
    for frame in frames {
        if log.append_frame(frame).is_err() {
            return;
        }
    }
    flushed(&mut log);
    closed(log);
    try_open(dir.path(), identity()).map(drop).unwrap();
}

/// Fewer than 80 zero bytes at the end of the last segment are no torn tail.
#[test]
fn a_clean_end_is_not_reported_as_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[&"x".repeat(7984)]);
    assert_eq!(SIZE - log.end().position, 40);
    log.closer().close().unwrap();
    drop(log);
    assert_eq!(try_open(dir.path(), identity()).unwrap().1.cut, None);
}

/// A start from the network that no log can have.
#[test]
fn an_impossible_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let next = Cursor { position: 2 * SIZE - 8, number: 11, index: 11, term: 1, timestamp: 0, chain: 1 };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = log.reset(1, 10, next);
        let _ = log.append_draft(Draft::batch(&["a"]), 1, 0);
    }));
    assert!(result.is_ok(), "panic");
}

/// A purge point is committed by definition.
#[test]
fn first_is_never_above_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    log.committer().commit(49).unwrap();
    log.purge(1, 79).unwrap();
    let progress = log.progress();
    assert!(progress.first() <= progress.committed(), "{} > {}", progress.first(), progress.committed());
}

/// One read for replication must not mix truncated entries with their replacements.
#[test]
fn frames_of_one_read_continue_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_sized(dir.path(), LARGE);
    let (reader, stop) = (log.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stop = &stop;
        let read = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let frames = reader.frames(0..3, usize::MAX).unwrap();
                for pair in frames.windows(2) {
                    if pair[1].header.previous != pair[0].header.chain {
                        return Err((pair[0].header.number, pair[0].header.term, pair[1].header.term));
                    }
                }
            }
            Ok(())
        });
        for round in 1..3000 {
            log.truncate(0).unwrap();
            for _ in 0..3 {
                log.append_draft(Draft::batch(&["x"]), round, 0).unwrap();
            }
            if read.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(read.join().unwrap(), Ok(()));
    });
}

/// A file whose name is a large number.
#[test]
fn a_strange_name_neither_panics_nor_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let strange = dir.path().join("log").join(names::segment(u64::MAX));
    std::fs::write(&strange, b"x").unwrap();
    let result = std::panic::catch_unwind(|| drop(try_open(dir.path(), identity())));
    assert!(result.is_ok(), "panic");
}

/// A node killed between the creation and the allocation of its first file starts again.
#[test]
fn a_hard_state_that_was_never_allocated_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk;
    drop(directory::Directory::open(&disk, dir.path().join("log"), identity()).unwrap());
    std::fs::write(dir.path().join("log/hard-state"), b"").unwrap();
    try_open(dir.path(), identity()).map(drop).unwrap();
}

/// A background job that panics must not make every later close wait for ever.
#[test]
fn close_after_a_panicked_job_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.parts.files.options().background.run(Box::new(|| panic!("a job of this test")));
    let closer = log.closer();
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || done.send(closer.close()));
    finished.recv_timeout(Duration::from_secs(10)).expect("close hangs").unwrap();
}

/// Found by the crash model, seed 643: a start goes on in a complete segment, an entry smaller than the one that rolled
/// takes the place of the blank, and of this entry and the next segment only the next segment reaches the disk. The
/// next start must find zeros there, which an unfinished write explains, and not the old blank.
#[test]
fn a_complete_last_segment_is_open_again_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &["x".repeat(6000).as_str()]);
    append(&mut log, &["y".repeat(6000).as_str()]); // Rolls.
    let end = log.reader().entry_header(0).unwrap().unwrap().end();
    closed(log);
    std::fs::remove_file(dir.path().join("log/00000000000000008192")).unwrap();
    let log = open(dir.path());
    assert_eq!((log.end().number, log.end().position), (1, end));
    let bytes = std::fs::read(dir.path().join("log/00000000000000000000")).unwrap();
    assert!(bytes[end as usize..].iter().all(|byte| *byte == 0), "the blank is still there");
}

/// The entry after the purge had rolled, and is truncated: its replacement has the same position as on replicas that
/// never had that entry.
#[test]
fn what_replaces_an_uncommitted_entry_behind_a_purge_is_where_the_others_have_it() {
    for restart in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let large = "x".repeat(3000);
        append(&mut log, &[&large]);
        append(&mut log, &[&large]);
        let behind = log.end().position;
        log.committer().commit(1).unwrap();
        append(&mut log, &[&large]);
        assert_eq!(log.reader().entry_header(2).unwrap().unwrap().position, SIZE + SEGMENT_HEADER as u64);
        assert_eq!(log.reader().cursor_after(1).unwrap().unwrap().position, behind);
        log.purge(1, 1).unwrap();
        log.truncate(2).unwrap();
        if restart {
            closed(log);
            log = open(dir.path());
        }
        append(&mut log, &["small"]);
        assert_eq!(log.reader().entry_header(2).unwrap().unwrap().position, behind);
        // Once the entry is committed, nothing replaces it, and the segment before it may go.
        log.committer().commit(2).unwrap();
        append(&mut log, &[&large]);
        log.committer().commit(3).unwrap();
        log.purge(1, 2).unwrap();
        assert_eq!(log.parts.segments.read().len(), 1);
    }
}

/// Raft commits entries behind the purge while the log records the purge: the segments removed must agree with the
/// record.
#[test]
fn a_commit_during_a_purge_takes_no_segment_that_the_log_begins_in() {
    let dir = tempfile::tempdir().unwrap();
    let committing = Arc::new(OnceLock::<Committer>::new());
    let commits = committing.clone();
    let disk = HookedDisk::before_rename(move |_, to| {
        if to.ends_with(names::START)
            && let Some(log) = commits.get()
        {
            log.commit(2).unwrap();
        }
        Ok(())
    });
    let mut log = Log::open(Arc::new(disk), dir.path().join("log"), identity(), options()).unwrap().0;
    for _ in 0..3 {
        append(&mut log, &[&"x".repeat(3000)]);
    }
    flushed(&mut log);
    log.committer().commit(1).unwrap();
    committing.set(log.committer()).unwrap_or_else(|_| panic!("commits already"));
    log.purge(1, 1).unwrap();
    assert_eq!(log.progress().commit_point().number, 3);
    log.closer().close().unwrap();
    drop(log);
    let log = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), options()).unwrap().0;
    assert_eq!(log.reader().numbers(), 2..3);
}

/// A follower rolls by this rule alone, so a leader must too.
#[test]
fn an_entry_rolls_when_it_does_not_fit_and_not_before() {
    // With the shortest blank behind it, it reaches exactly to the end of the segment, or 8 bytes further.
    for (more, rolls) in [(0, false), (8, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        append(&mut log, &["first"]);
        let (end, room) = (log.end().position, (SIZE - log.end().position) as usize - BLANK_HEADER);
        let length = (1..room).find(|n| Draft::batch(&["x".repeat(*n)]).length() == room + more).unwrap();
        append(&mut log, &[&"x".repeat(length)]);
        let position = log.reader().entry_header(1).unwrap().unwrap().position;
        assert_eq!(position, if rolls { SIZE + SEGMENT_HEADER as u64 } else { end });
    }
}

/// The proposer asks for room while the writer takes the spare: another one must not take its name.
#[test]
fn a_spare_that_is_being_taken_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let asking = Arc::new(OnceLock::<Capacity>::new());
    let asked = asking.clone();
    let disk = HookedDisk::before_rename(move |from, _| {
        if from.ends_with(names::SPARE)
            && let Some(log) = asked.get().cloned()
        {
            let (done, answered) = mpsc::channel();
            std::thread::spawn(move || done.send(log.room_for(SIZE / 2, 0, 0)));
            // The proposer waits until the spare is taken, or makes another one at once.
            let _ = answered.recv_timeout(Duration::from_millis(300));
        }
        Ok(())
    });
    let jobs = Arc::new(AtTheEnd(Mutex::new(Some(Vec::new()))));
    let options = LogOptions { background: jobs.clone(), ..options() };
    let mut log = Log::open(Arc::new(disk), dir.path().join("log"), identity(), options).unwrap().0;
    asking.set(log.capacity()).unwrap_or_else(|_| panic!("asked before"));
    let record = "x".repeat(1500);
    for number in 0..12 {
        assert_eq!(append(&mut log, &[&record]), number);
    }
    flushed(&mut log);
    // The job writes zeros to the spare, and to no other file.
    let queued = jobs.0.lock().take().unwrap();
    queued.into_iter().for_each(|job| job());
    log.closer().close().unwrap();
    drop(log);
    let log = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), self::options()).unwrap().0;
    assert_eq!(log.reader().frames(0..12, usize::MAX).unwrap().len(), 12);
}

type Job = Box<dyn FnOnce() + Send>;

/// Queues jobs, and runs those that come later at once.
struct AtTheEnd(Mutex<Option<Vec<Job>>>);

impl Background for AtTheEnd {
    fn run(&self, job: Job) {
        match &mut *self.0.lock() {
            Some(queued) => queued.push(job),
            None => job(),
        }
    }
}
