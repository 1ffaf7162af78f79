//! Directories of format versions 1 and 2, stored in `tests/golden`: this program reads their records, and writes the
//! same bytes from the same calls.
//!
//! A change of the format needs a new version, and still a reader of these directories. Until the first release they
//! may change: `DLEDGER_GOLDEN=write cargo test --lib log::tests::golden` writes them anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::disk::real::RealDisk;
use crate::error::OpenError;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::log::directory::Identity;
use crate::log::*;
use crate::types::{Incarnation, ReadLimit};
use crate::wire::pb;

const SIZE: u64 = 64 << 10;
/// Of the first entry, milliseconds since 1970.
const TIME: u64 = 1_700_000_000_000;
/// The last entry that is gone from the purged one; it lies in the second segment.
const PURGED: u64 = 8;

/// Flushes when the test says so and does file work at once, so that the same calls leave the same bytes.
struct ByHand;

impl FlushScheduler for ByHand {
    fn schedule(&self, _: Arc<Flusher>, _: Duration) {}
}

impl Background for ByHand {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

pub(super) fn open(dir: &Path) -> Result<(Log, Recovered), OpenError> {
    let identity = Identity {
        cluster: "golden".parse().unwrap(),
        group: "RaftNode00".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
    };
    let (scheduler, background) = (Arc::new(ByHand), Arc::new(ByHand));
    // With `None` a vote would flush.
    let interval = Some(Duration::from_secs(60));
    let options = LogOptions { segment_size: SIZE, interval, scheduler, background };
    Log::open(Arc::new(RealDisk), dir.to_owned(), identity, options)
}

fn flush(log: &mut Log) {
    log.on_durable(Completion::new(|done| done.unwrap()));
    log.parts.flusher.flush();
}

fn vote(term: u64, node: &str, granted: bool) -> HardVote {
    HardVote { term, node: Some(node.parse().unwrap()), granted }
}

fn membership() -> pb::Membership {
    let disk = (0..16).collect::<Vec<u8>>().into();
    let voters = pb::Voters { ids: vec!["n0".into()] };
    let member = pb::Member { id: "n0".into(), address: "h:1".into(), incarnation: disk };
    pb::Membership { configs: vec![voters], members: vec![member], ..pb::Membership::default() }
}

fn snapshot() -> Vec<u8> {
    let log_id = |term, number| Some(pb::LogId { term, number });
    let stored = pb::StoredMembership { log_id: log_id(1, 0), membership: Some(membership()) };
    pb::SnapshotRequest { last_log_id: log_id(2, PURGED), membership: Some(stored), ..Default::default() }
        .encode_to_vec()
}

/// The batches: term and records of each.
fn batches() -> Vec<(u64, Vec<String>)> {
    let many = (0..300).map(|number| format!("record {number}")).collect();
    let large = |letter: &str| vec![letter.repeat(20_000)];
    let small = ["a", "", "three"].map(String::from).to_vec();
    vec![
        (1, vec!["hello".into()]),
        (1, many),
        (1, vec![String::new()]),
        (1, large("x")),
        (1, large("y")),
        (1, large("z")),
        (2, small),
        (2, vec!["last".into()]),
    ]
}

/// Writes the directory `dir`: two segments, the first sealed by a blank and indexed.
fn write(dir: &Path, purged: bool) {
    let (mut log, _) = open(dir).unwrap();
    log.save_vote(vote(1, "n0", false)).unwrap();
    log.save_vote(vote(1, "n0", true)).unwrap();
    log.append_draft(Draft::control(EntryKind::Membership, &membership().encode_to_vec()), 1, TIME).unwrap();
    log.append_draft(Draft::control(EntryKind::Blank, b""), 1, TIME + 1).unwrap();
    let mut term = 1;
    for (number, (of_term, records)) in batches().iter().enumerate() {
        if *of_term > term {
            term = *of_term;
            log.save_vote(vote(term, "n1", false)).unwrap();
            log.append_draft(Draft::control(EntryKind::Blank, b""), term, TIME + 50).unwrap();
        }
        log.append_draft(Draft::batch(records), term, TIME + 100 * (1 + number as u64)).unwrap();
        if number == 1 {
            // So that both commit slots are written.
            log.committer().commit(2).unwrap();
            flush(&mut log);
        }
    }
    // All but the last entry.
    log.committer().commit(log.end().number - 2).unwrap();
    flush(&mut log);
    if purged {
        log.committer().save_snapshot(snapshot()).unwrap();
        log.purge(2, PURGED).unwrap();
    }
    log.closer().close().unwrap();
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// All files but the lock, which is empty, and the ballast, which says nothing.
pub(super) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name != names::LOCK && name != names::BALLAST)
        .map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap()))
        .collect()
}

/// A copy to open: the fixture itself is never written to.
pub(super) fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes) in files(&fixture(name)) {
        std::fs::write(dir.path().join(file), bytes).unwrap();
    }
    dir
}

fn rewrites() -> bool {
    std::env::var("DLEDGER_GOLDEN").is_ok_and(|what| what == "write")
}

/// The differences between two directories, file by file.
fn differences(written: &BTreeMap<String, Vec<u8>>, golden: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let all: std::collections::BTreeSet<_> = written.keys().chain(golden.keys()).collect();
    let difference = |name: &String| match (written.get(name), golden.get(name)) {
        (Some(_), None) => Some(format!("{name} is new")),
        (None, _) => Some(format!("{name} is not written any more")),
        (Some(now), Some(then)) if now.len() != then.len() => {
            Some(format!("{name} has {} bytes, had {}", now.len(), then.len()))
        }
        (Some(now), Some(then)) => now
            .iter()
            .zip(then)
            .position(|(now, then)| now != then)
            .map(|at| format!("{name} differs first at byte {at}: {:#04x}, was {:#04x}", now[at], then[at])),
    };
    all.into_iter().filter_map(difference).collect()
}

/// Writes the directory `dir`: two segments, the second begun by a roll.
fn write_rolled(dir: &Path) {
    let (mut log, _) = open(dir).unwrap();
    log.save_vote(vote(1, "n0", true)).unwrap();
    log.append_draft(Draft::control(EntryKind::Membership, &membership().encode_to_vec()), 1, TIME).unwrap();
    log.append_draft(Draft::batch(&["hello"]), 1, TIME + 100).unwrap();
    log.append_draft(Draft::control(EntryKind::Roll, b""), 1, TIME + 200).unwrap();
    log.append_draft(Draft::batch(&["behind the roll"]), 1, TIME + 300).unwrap();
    log.committer().commit(log.end().number - 1).unwrap();
    flush(&mut log);
    log.closer().close().unwrap();
}

fn the_same_is_written(name: &str, write: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let (written, golden) = (files(dir.path()), files(&fixture(name)));
    let differences = differences(&written, &golden).join("\n");
    if rewrites() {
        drop(std::fs::remove_dir_all(fixture(name)));
        std::fs::create_dir_all(fixture(name)).unwrap();
        written.iter().for_each(|(file, bytes)| std::fs::write(fixture(name).join(file), bytes).unwrap());
        panic!("REWROTE tests/golden/{name}; say in docs/format.md and the changelog what is new:\n{differences}");
    }
    assert!(
        differences.is_empty(),
        "what is written is not as it was:\n{differences}\nA new format is a new version. If none was released yet, \
         write tests/golden anew: DLEDGER_GOLDEN=write cargo test --lib log::tests::golden"
    );
}

#[test]
fn what_is_written_is_version_1_byte_for_byte() {
    the_same_is_written("v1", |dir| write(dir, false));
}

#[test]
fn what_is_written_after_a_purge_is_version_1_byte_for_byte() {
    the_same_is_written("v1-purged", |dir| write(dir, true));
}

#[test]
fn what_is_written_with_a_roll_is_version_2_byte_for_byte() {
    the_same_is_written("v2", write_rolled);
}

/// Index, term, timestamp, body.
type Known = (u64, u64, u64, String);

/// Names the first that differs: some are long.
fn same(read: &[Known], expected: &[Known]) {
    let differs = read.iter().zip(expected).find(|(read, expected)| read != expected);
    assert!(differs.is_none(), "{differs:.60?}");
    assert_eq!(read.len(), expected.len());
}

fn records(reader: &LogReader) -> Vec<Known> {
    let range = reader.progress().first()..reader.progress().committed();
    let records = reader.records(range, ReadLimit::bytes(usize::MAX)).unwrap();
    records.iter().map(|r| (r.index, r.term, r.timestamp, String::from_utf8(r.body.to_vec()).unwrap())).collect()
}

/// The committed records of the fixture.
fn expected() -> Vec<Known> {
    let mut all = Vec::new();
    for (number, (term, records)) in batches().into_iter().enumerate() {
        for record in records {
            all.push((all.len() as u64, term, TIME + 100 * (1 + number as u64), record));
        }
    }
    all.pop();
    all
}

#[test]
fn version_1_is_read_as_it_was_written() {
    if rewrites() {
        return;
    }
    let dir = copy("v1");
    let (mut log, recovered) = open(dir.path()).unwrap();
    let reader = log.reader();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(reader.vote(), Some(vote(2, "n1", false)));
    assert_eq!((reader.numbers(), reader.memberships()), (0..11, vec![0]));
    assert_eq!(reader.frame(0).unwrap().unwrap().body(), membership().encode_to_vec());
    let (point, end) = (log.progress().commit_point(), log.end());
    assert_eq!((point.number, point.index, end.number, end.index), (10, 308, 11, 309));
    assert_eq!((point.position, point.chain), (85_896, 752_603_949));
    assert_eq!((log.progress().first(), log.progress().durable()), (0, 309));
    same(&records(&reader), &expected());
    assert_eq!(log.identity().incarnation.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    assert_eq!((log.purged(), reader.start_point().snapshot), (None, None));
    // This program opens the directory without changing its version, and appends to it.
    assert_eq!(files(dir.path()), files(&fixture("v1")));
    log.append_draft(Draft::batch(&["more"]), 2, TIME).unwrap();
    log.committer().commit(11).unwrap();
    assert_eq!(records(&log.reader()).last().map(|last| (last.0, last.3.clone())), Some((309, "more".into())));
}

#[test]
fn a_purged_log_of_version_1_is_read_as_it_was_written() {
    if rewrites() {
        return;
    }
    let dir = copy("v1-purged");
    let (log, recovered) = open(dir.path()).unwrap();
    let reader = log.reader();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(reader.vote(), Some(vote(2, "n1", false)));
    let purged = log.purged().unwrap();
    assert_eq!((purged.term, purged.number, purged.next.number), (2, PURGED, PURGED + 1));
    assert_eq!(reader.start_point().snapshot, Some(snapshot()));
    assert_eq!((reader.numbers(), reader.memberships()), (9..11, vec![]));
    let (first, point) = (log.progress().first(), log.progress().commit_point());
    assert_eq!((first, point.number, point.index, log.end().index), (305, 10, 308, 309));
    same(&records(&reader), &expected()[305..]);
    assert_eq!(files(dir.path()), files(&fixture("v1-purged")));
}

#[test]
fn version_2_is_read_as_it_was_written() {
    if rewrites() {
        return;
    }
    let dir = copy("v2");
    let (log, recovered) = open(dir.path()).unwrap();
    let reader = log.reader();
    assert_eq!((recovered, reader.format_version()), (Recovered::default(), 2));
    let roll = reader.entry_header(2).unwrap().unwrap();
    assert_eq!((roll.kind, roll.position, roll.index, roll.length()), (EntryKind::Roll, SIZE + 80, 1, 80));
    assert_eq!((reader.numbers(), log.end().index), (0..4, 2));
    let known = [(0, 1, TIME + 100, "hello".into()), (1, 1, TIME + 300, "behind the roll".into())];
    same(&records(&reader), &known);
    assert_eq!(files(dir.path()), files(&fixture("v2")));
}

/// Nothing else of the format changes, so an operator who ends no segment by age can go back to the earlier program.
#[test]
fn a_directory_of_version_1_is_one_of_version_2_with_its_first_roll_and_not_before() {
    if rewrites() {
        return;
    }
    let dir = copy("v1");
    let (mut log, _) = open(dir.path()).unwrap();
    log.append_draft(Draft::batch(&["more"]), 2, TIME).unwrap();
    let before = files(dir.path());
    assert_eq!(before["identity"], files(&fixture("v1"))["identity"]);
    log.append_draft(Draft::control(EntryKind::Roll, b""), 2, TIME).unwrap();
    log.append_draft(Draft::batch(&["behind the roll"]), 2, TIME).unwrap();
    log.committer().commit(13).unwrap();
    log.closer().close().unwrap();
    drop(log);
    let after = files(dir.path());
    let (old, new) = (&before["identity"], &after["identity"]);
    assert_eq!((old[8], new[8], &old[16..]), (1, 2, &new[16..]), "version, and what it was made for");
    let (log, recovered) = open(dir.path()).unwrap();
    assert_eq!((recovered, log.end().number, log.end().index), (Recovered::default(), 14, 311));
    let read = records(&log.reader());
    same(&read[..308], &expected());
    assert_eq!(read[309..].iter().map(|last| &last.3[..]).collect::<Vec<_>>(), ["more", "behind the roll"]);
}
