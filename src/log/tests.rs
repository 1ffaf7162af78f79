//! The laws of the local log, on real files.

use std::path::Path;
use std::sync::mpsc;

use super::Completion;
use super::reader::LogReader;
use super::threads::{BackgroundThread, FlushThread};
use super::*;
use crate::disk::real::RealDisk;
use crate::error::{OpenError, ReadError};
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::segment::Cursor;
use crate::log::directory::Identity;
use crate::types::{Incarnation, ReadLimit};

const SIZE: u64 = 8192;
const HOUR: Duration = Duration::from_secs(3600);

fn identity() -> Identity {
    Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::random(),
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_size: SIZE,
        interval: None,
        scheduler: Arc::new(FlushThread::start().unwrap()),
        background: Arc::new(BackgroundThread::start().unwrap()),
    }
}

fn try_open(dir: &Path, identity: Identity) -> Result<(Log, Recovered), OpenError> {
    Log::open(Arc::new(RealDisk), dir.join("log"), identity, options())
}

fn open(dir: &Path) -> Log {
    try_open(dir, identity()).unwrap().0
}

fn append(log: &mut Log, records: &[&str]) -> u64 {
    log.append_draft(Draft::batch(records), 1, 1000).unwrap().number
}

/// Appends `count` records of about 100 bytes, one entry each, and waits until they are durable.
fn fill(log: &mut Log, count: u64) {
    for _ in 0..count {
        let record = format!("record {:090}", log.end().index);
        append(log, &[&record]);
    }
    flushed(log);
}

fn flushed(log: &mut Log) {
    let (sender, receiver) = mpsc::channel();
    log.on_durable(Completion::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap().unwrap();
}

fn commit_all(log: &Log) {
    log.committer().commit(log.end().number - 1).unwrap();
}

fn bodies(reader: &LogReader) -> Vec<String> {
    let range = reader.progress().first()..reader.progress().committed();
    if range.is_empty() {
        return vec![];
    }
    let records = reader.records(range, ReadLimit::bytes(usize::MAX)).unwrap();
    records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect()
}

#[test]
fn only_committed_records_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let reader = log.reader();
    append(&mut log, &["a", "", "ccc"]);
    assert_eq!(reader.record(0), Err(ReadError::NotYet { index: 0, committed: 0 }));
    commit_all(&log);
    let all = reader.records(0..9, ReadLimit::default()).unwrap();
    assert_eq!(all.iter().map(|r| &r.body[..]).collect::<Vec<_>>(), [&b"a"[..], b"", b"ccc"]);
    assert_eq!(all.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 2]);
    // A record's position is that of its length field, 4 bytes before its bytes.
    assert_eq!(all[1].position - all[0].position, 5);
    assert_eq!(reader.record(3), Err(ReadError::NotYet { index: 3, committed: 3 }));
}

#[test]
fn control_entries_take_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append_draft(Draft::control(EntryKind::Membership, b"members"), 1, 0).unwrap();
    append(&mut log, &["a"]);
    log.append_draft(Draft::control(EntryKind::Blank, b""), 2, 0).unwrap();
    append(&mut log, &["b"]);
    log.append_draft(Draft::control(EntryKind::Blank, b""), 3, 0).unwrap();
    commit_all(&log);
    assert_eq!(bodies(&log.reader()), ["a", "b"]);
    assert_eq!(log.reader().memberships(), [0]);
    assert_eq!(log.reader().record(2), Err(ReadError::NotYet { index: 2, committed: 2 }));
}

#[test]
fn a_log_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 300);
    commit_all(&log);
    let (before, end) = (bodies(&log.reader()), log.end());
    assert!(log.parts.segments.read().len() > 3, "the test must roll");
    log.closer().close().unwrap();
    closed(log);
    let (mut log, recovered) = try_open(dir.path(), identity()).unwrap();
    assert_eq!(recovered.cut, None);
    assert_eq!((log.end(), log.progress().committed()), (end, 300));
    assert_eq!(bodies(&log.reader()), before);
    fill(&mut log, 10);
    commit_all(&log);
    assert_eq!(log.reader().record(309).unwrap().index, 309);
}

/// The bytes of every segment: two logs with the same entries must have the same ones.
fn segment_bytes(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    let segments =
        files.iter().map(|f| (f.file_name().into_string().unwrap(), f.path())).filter(|(n, _)| n.len() == 20);
    segments.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

#[test]
fn a_replica_fed_with_frames_is_byte_identical() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut follower) = (open(one.path()), open(two.path()));
    fill(&mut leader, 200);
    for number in leader.reader().numbers() {
        follower.append_frame(leader.reader().frame(number).unwrap().unwrap()).unwrap();
    }
    flushed(&mut follower);
    assert_eq!(follower.end(), leader.end());
    assert_eq!(segment_bytes(one.path()), segment_bytes(two.path()));
}

#[test]
fn a_frame_that_does_not_continue_the_log_is_refused_and_stops_it() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut follower) = (open(one.path()), open(two.path()));
    fill(&mut leader, 3);
    let frame = |n| leader.reader().frame(n).unwrap().unwrap();
    follower.append_frame(frame(0)).unwrap();
    let error = follower.append_frame(frame(2)).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    // The first failure sticks.
    let again = follower.append_frame(frame(1)).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
}

#[test]
fn truncation_rewrites_in_place_and_readers_keep_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 50);
    commit_all(&log);
    let held = log.reader().record(49).unwrap();
    fill(&mut log, 250);
    let uncommitted = log.reader().frame(120).unwrap().unwrap();
    log.truncate(50).unwrap();
    assert_eq!(log.end().index, 50);
    assert_eq!(log.parts.segments.read().len(), 2);
    for _ in 0..250 {
        let record = format!("another {:090}", log.end().index);
        append(&mut log, &[&record]);
    }
    flushed(&mut log);
    commit_all(&log);
    assert_eq!(&held.body[..7], b"record ");
    uncommitted.header.verify(&uncommitted.bytes).unwrap();
    assert!(bodies(&log.reader())[50..].iter().all(|body| body.starts_with("another ")));
    let end = log.end();
    log.closer().close().unwrap();
    closed(log);
    let (log, recovered) = try_open(dir.path(), identity()).unwrap();
    assert_eq!((recovered.cut, log.end()), (None, end));
}

#[test]
fn committed_entries_are_never_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 5);
    commit_all(&log);
    assert!(log.truncate(4).unwrap_err().to_string().contains("are committed"));
    assert_eq!(bodies(&log.reader()).len(), 5);
}

/// Version 1, byte for byte: whatever changes this needs a new version, its reader, and a line in the changelog.
#[test]
fn the_bytes_of_a_log_are_those_of_version_1() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append_draft(Draft::control(EntryKind::Membership, b"members"), 1, 1_700_000_000_000).unwrap();
    log.append_draft(Draft::control(EntryKind::Blank, b""), 2, 1_700_000_000_001).unwrap();
    log.append_draft(Draft::batch(&["a", "", "three"]), 2, 1_700_000_000_002).unwrap();
    log.append_draft(Draft::batch(&["x".repeat(7000)]), 2, 1_700_000_000_003).unwrap();
    log.append_draft(Draft::batch(&["y".repeat(2000)]), 3, 1_700_000_000_004).unwrap();
    flushed(&mut log);
    let files: Vec<_> = segment_bytes(dir.path()).iter().map(|(name, b)| (name.clone(), crc32c::crc32c(b))).collect();
    let (first, second) = ("00000000000000000000".to_owned(), "00000000000000008192".to_owned());
    assert_eq!(files, [(first, 3_034_290_130), (second, 232_938_268)]);
}

#[test]
fn damage_in_an_earlier_segment_is_found_by_the_first_read_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 200);
    commit_all(&log);
    log.closer().close().unwrap();
    closed(log);
    flip(&dir.path().join("log/00000000000000000000"), 80 + 80 + 50);
    let log = open(dir.path());
    match log.reader().record(0) {
        Err(ReadError::Damaged(damage)) => assert_eq!((damage.index, damage.position), (0, 80)),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.reader().record(1).unwrap().index, 1);
}

#[test]
fn purged_records_are_gone_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 300);
    commit_all(&log);
    let held = log.reader().record(0).unwrap();
    log.purge(1, 149).unwrap();
    assert_eq!(log.reader().record(149), Err(ReadError::Removed { index: 149, first: 150 }));
    assert_eq!(log.reader().record(150).unwrap().index, 150);
    assert_eq!(&held.body[..7], b"record ");
    log.closer().close().unwrap();
    closed(log);
    let log = open(dir.path());
    assert_eq!(log.purged().unwrap().number, 149);
    assert_eq!((log.progress().first(), log.progress().committed(), log.progress().end()), (150, 300, 300));
    assert_eq!(bodies(&log.reader()).len(), 150);
    assert!(!dir.path().join("log/00000000000000000000").exists());
}

#[test]
fn a_log_that_begins_anew_shows_its_pointers_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let reader = log.reader();
    std::thread::scope(|scope| {
        let resets = scope.spawn(move || {
            for turn in 1..300 {
                let (position, number) = (turn * SIZE + 4000, turn * 10);
                let next = Cursor { position, number, index: number, term: 1, timestamp: 0, chain: 1 };
                log.reset(1, number - 1, next).unwrap();
            }
        });
        while !resets.is_finished() {
            let pointers = reader.progress().in_order();
            assert!(pointers.first <= pointers.committed.index, "{pointers:?}");
        }
    });
}

#[test]
fn a_reset_log_begins_where_its_leader_says() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut late) = (open(one.path()), open(two.path()));
    fill(&mut leader, 300);
    commit_all(&leader);
    leader.purge(1, 199).unwrap();
    fill(&mut late, 3);
    late.reset(1, 199, leader.purged().unwrap().next).unwrap();
    assert_eq!((late.progress().first(), late.progress().committed()), (200, 200));
    // Every entry is durable so far.
    assert_eq!((late.progress().durable(), late.progress().end()), (200, 200));
    for number in leader.reader().numbers() {
        late.append_frame(leader.reader().frame(number).unwrap().unwrap()).unwrap();
    }
    flushed(&mut late);
    commit_all(&late);
    assert_eq!(bodies(&late.reader()), bodies(&leader.reader()));
    late.closer().close().unwrap();
    closed(late);
    let late = open(two.path());
    assert_eq!((late.end(), late.progress().first()), (leader.end(), 200));
}

#[test]
fn a_vote_survives_and_a_damaged_one_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let vote = |term| HardVote { term, node: Some("n2".parse().unwrap()), granted: false };
    let mut log = open(dir.path());
    assert_eq!(log.reader().vote(), None);
    log.save_vote(vote(4)).unwrap();
    log.save_vote(vote(5)).unwrap();
    closed(log);
    assert_eq!(open(dir.path()).reader().vote(), Some(vote(5)));
    flip(&dir.path().join("log/hard-state"), 30);
    let error = try_open(dir.path(), identity()).map(drop).unwrap_err();
    assert!(error.to_string().contains("vote slot"), "{error}");
}

#[test]
fn a_directory_is_refused_by_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path());
    assert!(matches!(try_open(dir.path(), identity()), Err(OpenError::Locked { .. })));
    closed(held);
    let cases: [(&str, Identity); 4] = [
        ("cluster", Identity { cluster: "other".parse().unwrap(), ..identity() }),
        ("group", Identity { group: "other".parse().unwrap(), ..identity() }),
        ("node", Identity { node: "n7".parse().unwrap(), ..identity() }),
        ("segment size", Identity { segment_size: SIZE * 2, ..identity() }),
    ];
    for (what, wanted) in cases {
        match try_open(dir.path(), wanted).map(drop) {
            Err(OpenError::Foreign { mismatch, .. }) => assert_eq!(mismatch.what, what),
            other => panic!("{what}: {other:?}"),
        }
    }
    std::fs::remove_file(dir.path().join("log/identity")).unwrap();
    assert!(matches!(try_open(dir.path(), identity()), Err(OpenError::Unexpected { .. })));
}

#[test]
fn a_directory_of_the_next_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    closed(open(dir.path()));
    let file = dir.path().join("log/identity");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8] = 3;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let error = try_open(dir.path(), identity()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 3, supported: 2, .. }), "{error}");
}

/// Runs a pass only when the test does.
struct ByHand;

impl threads::FlushScheduler for ByHand {
    fn schedule(&self, _: Arc<Flusher>, _: Duration) {}
}

#[test]
fn without_an_interval_no_append_completes_before_its_sync() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { scheduler: Arc::new(ByHand), ..options() };
    let (mut log, _) = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), options).unwrap();
    append(&mut log, &["a"]);
    let (sender, receiver) = mpsc::channel();
    log.on_durable(Completion::new(move |result| sender.send(result).unwrap()));
    assert!(receiver.try_recv().is_err(), "completed, but nothing has been synced");
    assert_eq!(log.progress().durable(), 0);
    log.parts.flusher.flush();
    receiver.recv().unwrap().unwrap();
    assert_eq!(log.progress().durable(), 1);
}

#[test]
fn with_an_interval_an_append_completes_before_its_sync() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Some(Duration::from_secs(3600));
    let (mut log, _) =
        Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), LogOptions { interval, ..options() })
            .unwrap();
    append(&mut log, &["a"]);
    flushed(&mut log);
    assert_eq!((log.progress().durable(), log.progress().end()), (0, 1));
    log.closer().close().unwrap();
    assert_eq!(log.progress().durable(), 1);
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let error = log.append_draft(Draft::batch(&["x".repeat(SIZE as usize)]), 1, 0).unwrap_err();
    assert!(error.to_string().contains("does not fit into a segment"), "{error}");
    fill(&mut log, 1);
}

fn flip(file: &Path, at: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at as usize] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

mod bad_sectors;
pub(crate) mod crash;
mod descriptors;
mod full_disk;
mod golden;
mod health;
mod interrupted_repair;
mod jobs;
pub(crate) mod kit;
mod lost_names;
mod power_loss;
mod recovery_files;
mod recovery_table;
mod regressions;
mod repair;
mod retention;
mod rolls;
mod seek;
mod spare;
mod taken_back;
mod versions;

/// Dropping alone is not enough: the flush thread may hold the log, and so the lock, a moment longer.
fn closed(log: Log) {
    log.parts.files.directory().unlock();
}

#[test]
fn a_closed_log_is_let_go_of_before_its_interval_is_over() {
    let (dir, options) = (tempfile::tempdir().unwrap(), LogOptions { interval: Some(HOUR), ..options() });
    let (mut log, _) = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), options).unwrap();
    fill(&mut log, 1);
    let shared = Arc::downgrade(&log.parts.segments);
    log.closer().close().unwrap();
    drop(log);
    assert!(shared.upgrade().is_none(), "something keeps the files mapped");
}
