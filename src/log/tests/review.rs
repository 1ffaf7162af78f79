//! Findings of the storage review: each of these fails on the code it was written against.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::entry::EntryHeader;
use crate::format::frame::Frame;
use crate::format::segment::{Cursor, SEGMENT_HEADER};

const LARGE: u64 = 4 << 20;

/// Dropping alone is not enough: the flush thread may hold the log, and so the lock, a moment longer.
fn closed(log: Log) {
    log.shared.directory.unlock();
}

fn open_sized(dir: &Path, size: u64) -> Log {
    let (identity, options) =
        (Identity { segment_size: size, ..identity() }, LogOptions { segment_size: size, ..options() });
    Log::open(Arc::new(RealDisk), dir.join("log"), identity, options).unwrap().0
}

/// F1: power loss wrote the header of a sealed, never synced segment's entry but not its body.
#[test]
fn f1_an_entry_that_is_counted_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 200); // nothing is known to be committed
    closed(log);
    flip(&dir.path().join("log/00000000000000000000"), 80 + 80 + 50);
    let log = open(dir.path());
    for number in log.reader().numbers() {
        let frame = log.reader().frame(number);
        assert!(
            frame.is_ok(),
            "open counts {:?} entries as there and durable, but {}",
            log.reader().numbers(),
            frame.unwrap_err()
        );
    }
}

/// F1b: the usual shape: the next file has its name but not yet a header.
#[test]
fn f1b_the_segment_before_an_unwritten_one_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    while log.shared.segments().len() < 2 {
        append(&mut log, &["x".repeat(100).as_str()]);
    }
    flushed(&mut log);
    closed(log);
    std::fs::write(dir.path().join("log/00000000000000008192"), vec![0; SIZE as usize]).unwrap();
    flip(&dir.path().join("log/00000000000000000000"), 80 + 80 + 50);
    let log = open(dir.path());
    assert_eq!(log.reader().numbers(), 0..0, "the body of entry 0 is bad and nothing is known to be committed");
}

/// F2: commit() keeps the tail locked while it takes `segments`; truncate takes them the other way round.
#[test]
fn f2_commit_and_truncate_do_not_wait_for_each_other() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let mut log = open_sized(dir.path(), LARGE);
            fill(&mut log, 8000);
            closed(log);
            let mut log = open_sized(dir.path(), LARGE); // the tail is empty now
            let (shared, reader, stop) = (log.shared.clone(), log.reader(), Arc::new(AtomicBool::new(false)));
            std::thread::scope(|scope| {
                scope.spawn(|| (0..4000).for_each(|number| shared.commit(number).unwrap()));
                let stopped = stop.clone();
                scope.spawn(move || {
                    while !stopped.load(Ordering::Relaxed) {
                        let _ = reader.frame(10);
                    }
                });
                for from in (4000..8000).rev() {
                    log.truncate(from).unwrap();
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(60)).expect("deadlock");
}

/// F3: truncate (not synced), snapshot, reset (start file synced), power loss: the old bytes are back.
#[test]
fn f3_old_entries_never_pass_for_what_follows_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log/00000000000000000000");
    let mut log = open(dir.path());
    fill(&mut log, 30);
    let old = std::fs::read(&file).unwrap();
    log.truncate(5).unwrap();
    let next = Cursor { position: 4000, number: 21, index: 21, term: 2, timestamp: 0, chain: 0xdead };
    log.reset(2, 20, next).unwrap();
    log.reader().close().unwrap();
    drop(log);
    std::fs::write(&file, old).unwrap(); // neither the removal nor the zeros had reached the disk
    let log = open(dir.path());
    assert_eq!(log.end(), next);
}

/// F4: a node that lost its vote must not start as if it had never voted.
#[test]
fn f4_a_lost_hard_state_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.save_vote(HardVote { term: 5, node: Some("n2".parse().unwrap()), granted: false }).unwrap();
    fill(&mut log, 5);
    closed(log);
    std::fs::remove_file(dir.path().join("log/hard-state")).unwrap();
    assert!(try_open(dir.path(), identity()).is_err());
}

#[test]
fn f4b_a_vote_slot_that_reads_as_zeros_is_noticed() {
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

/// F5: while what is committed is ahead of what was durable when the pass began (a slow disk in a fast quorum, or
/// `Durability::Interval`), the commit point is never noted at all.
#[test]
fn f5_the_commit_point_is_noted_while_appends_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_sized(dir.path(), LARGE);
    let shared = log.shared.clone();
    for pass in 0..20 {
        for _ in 0..10 {
            append(&mut log, &["committed before the pass"]);
        }
        commit_all(&log);
        // A pass by hand: an entry is written and committed while the files are being synced.
        let durable = shared.flush.durable_for_review();
        let point = shared.progress.commit_point();
        let upto = shared.sync_for_review(durable);
        append(&mut log, &["written and committed during the pass"]);
        commit_all(&log);
        shared.finish_pass_for_review(upto);
        let noted = shared.hard_state().commit_point().number;
        assert!(
            noted >= point.number,
            "pass {pass}: {} entries were committed before it and durable after it, noted {noted}",
            point.number
        );
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

/// F6: an entry that claims more to be committed than lies before it is stored and then refuses every start.
#[test]
fn f6_what_is_stored_can_be_opened_again() {
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

/// F7: fewer than 80 zero bytes at the end of the last segment are no torn tail.
#[test]
fn f7_a_clean_end_is_not_reported_as_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &[&"x".repeat(7984)]);
    assert_eq!(SIZE - log.end().position, 40);
    log.reader().close().unwrap();
    drop(log);
    assert_eq!(try_open(dir.path(), identity()).unwrap().1.cut, None);
}

/// F8: a start from the network that no log can have.
#[test]
fn f8_an_impossible_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let next = Cursor { position: 2 * SIZE - 8, number: 11, index: 11, term: 1, timestamp: 0, chain: 1 };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = log.reset(1, 10, next);
        let _ = log.append_draft(Draft::batch(&["a"]), 1, 0);
    }));
    assert!(result.is_ok(), "panic");
}

#[test]
fn f8b_a_snapshot_of_the_last_number_is_an_error() {
    let message = crate::pb::SnapshotRequest {
        envelope: None,
        vote: None,
        last_log_id: Some(crate::pb::LogId { term: 1, number: u64::MAX }),
        membership: None,
        start: Some(crate::pb::LogStart { position: 80, index: 0, chain: 0, timestamp: 0 }),
    };
    let result = std::panic::catch_unwind(|| crate::raft::state_machine::from_message(&message).map(drop));
    assert!(result.is_ok(), "panic");
}

/// F9: a purge point is committed by definition.
#[test]
fn f9_first_is_never_above_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    log.shared.commit(49).unwrap();
    log.purge(1, 79).unwrap();
    let progress = log.progress();
    assert!(progress.first() <= progress.committed(), "{} > {}", progress.first(), progress.committed());
}

/// F10: one read for replication must not mix what was truncated with what came instead.
#[test]
fn f10_frames_of_one_read_continue_each_other() {
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
        let began = std::time::Instant::now();
        for round in 1.. {
            if began.elapsed() > Duration::from_secs(20) {
                break;
            }
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

/// F11: a file whose name is a large number.
#[test]
fn f11_a_strange_name_neither_panics_nor_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let strange = dir.path().join("log").join(names::segment(u64::MAX));
    std::fs::write(&strange, b"x").unwrap();
    let result = std::panic::catch_unwind(|| drop(try_open(dir.path(), identity())));
    assert!(result.is_ok(), "panic");
}

/// F12: the proposer merges up to 512 KiB whatever the segment takes; an entry that does not fit ends Raft.
#[tokio::test(flavor = "multi_thread")]
async fn f12_small_segments_survive_concurrent_appends() {
    let dir = tempfile::tempdir().unwrap();
    let node = crate::Node::builder(crate::NodeId::new(0), "127.0.0.1:0")
        .group("g".parse().unwrap())
        .data_dir(dir.path())
        .segment_size(64 << 10)
        .configure(|config| (config.max_record_bytes, config.max_batch_bytes) = (16 << 10, 32 << 10))
        .start()
        .await
        .unwrap();
    let ledger = node.ledger("g").unwrap();
    ledger.append("first").await.unwrap();
    let appends = (0..500).map(|_| ledger.append("x".repeat(1024)));
    for outcome in futures::future::join_all(appends).await {
        if let Err(error) = outcome {
            let mut role = ledger.role();
            let closed = role.wait_for(|role| matches!(role, crate::Role::Closed { .. })).await;
            panic!("{error}, {:?}", *closed.unwrap());
        }
    }
    node.shutdown().await;
}

/// F13: a node killed between the creation and the allocation of its first file starts again.
#[test]
fn f13_a_hard_state_that_was_never_allocated_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk;
    drop(directory::Directory::open(&disk, dir.path().join("log"), identity()).unwrap());
    std::fs::write(dir.path().join("log/hard-state"), b"").unwrap();
    try_open(dir.path(), identity()).map(drop).unwrap();
}

/// F14: a background job that panics must not make every later close wait for ever.
#[test]
fn f14_close_after_a_panicked_job_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.shared.options.background.run(Box::new(|| panic!("a job of this test")));
    let reader = log.reader();
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || done.send(reader.close()));
    finished.recv_timeout(Duration::from_secs(10)).expect("close hangs").unwrap();
}
