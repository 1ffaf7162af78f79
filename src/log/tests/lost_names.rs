//! Names that a failed sync of a directory has lost: the next start, under a system that still shows them, makes them
//! anew before anything relies on them.

use std::io;
use std::path::Path;

use super::kit::{self, Later};
use crate::disk::Disk;
use crate::disk::sim::{Kept, Op, SimDisk};
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::Completion;
use crate::log::Log;

const SIZE: u64 = 8192;

/// With file work done at once.
fn try_open(disk: &SimDisk) -> Option<(Log, std::sync::Arc<Later>)> {
    let later = Later::new(disk, true);
    Some((kit::open(disk, SIZE, None, &later).ok()?, later))
}

fn open(disk: &SimDisk) -> (Log, std::sync::Arc<Later>) {
    let later = Later::new(disk, true);
    let log = kit::open(disk, SIZE, None, &later).unwrap_or_else(|error| panic!("refused to open: {error}"));
    (log, later)
}

fn append(log: &mut Log, term: u64, record: &str) -> io::Result<()> {
    log.append_draft(Draft::batch(&[format!("{record:.<1500}")]), term, 0)?;
    log.on_durable(Completion::new(drop));
    Ok(())
}

/// A log of `entries` entries, five to a segment. Only the first one is durable.
fn written(entries: u64) -> (SimDisk, Log, std::sync::Arc<Later>) {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    for n in 0..entries {
        append(&mut log, 1, &format!("{n}")).unwrap();
        if n == 0 {
            later.flush();
        }
    }
    (disk, log, later)
}

fn no_sync_of_the_directory(disk: &SimDisk) {
    disk.fail_nth(Op::SyncDir, 0, io::ErrorKind::Other);
}

/// The process dies; the next one still sees everything in the page cache.
fn next(disk: &SimDisk, log: Log) -> SimDisk {
    drop(log);
    disk.kill().unwrap()
}

/// The disk after a loss of power.
fn dark(disk: &SimDisk) -> SimDisk {
    disk.image(Kept::These { names: 0, blocks: 0 })
}

#[test]
fn a_segment_whose_name_was_not_synced_keeps_its_entries() {
    let (disk, log, later) = written(10);
    no_sync_of_the_directory(&disk);
    later.flush();
    assert!(log.reader().failure().is_some());
    let disk = next(&disk, log);
    let (log, _) = open(&disk);
    assert_eq!(log.progress().durable(), 10, "nothing is lost as long as the system runs");
    assert_eq!(open(&dark(&disk)).0.end().number, 10, "entries that were said to be durable");
}

#[test]
fn a_log_begins_where_it_was_seen_to_begin() {
    let (disk, mut log, later) = written(14);
    later.flush();
    log.committer().commit(9).unwrap();
    no_sync_of_the_directory(&disk);
    log.purge(1, 9).unwrap_err();
    let disk = next(&disk, log);
    let (log, _) = open(&disk);
    let begins = |log: &Log| (log.purged().map(|purged| purged.number), log.end().number);
    assert_eq!(begins(&log), (Some(9), 14));
    assert_eq!(begins(&open(&dark(&disk)).0), (Some(9), 14));
}

#[test]
fn a_vote_stays_in_a_directory_whose_first_names_were_not_synced() {
    for failing in 0.. {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/data")).unwrap();
        disk.fail_nth(Op::SyncDir, failing, io::ErrorKind::Other);
        if try_open(&disk).is_some() {
            assert!(failing > 3, "the directory's own, the identity, the hard state, the first segment");
            break;
        }
        let disk = disk.kill().unwrap();
        let vote = HardVote { term: 1, node: Some("n0".parse().unwrap()), granted: true };
        open(&disk).0.save_vote(vote.clone()).unwrap();
        assert_eq!(open(&dark(&disk)).0.reader().vote(), Some(vote), "sync {failing}");
    }
}

/// A program that knows no rolls must refuse a log with one, even if the earlier write of the version was lost.
#[test]
fn a_directory_with_a_roll_says_so() {
    let version = |disk: &SimDisk| disk.read(Path::new("/data/identity")).unwrap()[8];
    let roll = |log: &mut Log| log.append_draft(Draft::control(EntryKind::Roll, b""), 1, 0);
    let (disk, mut log, later) = written(3);
    later.flush();
    no_sync_of_the_directory(&disk);
    roll(&mut log).unwrap_err();
    let disk = next(&disk, log);
    let (mut log, later) = open(&disk);
    assert_eq!((version(&disk), log.reader().format_version()), (2, 2));
    roll(&mut log).unwrap();
    append(&mut log, 1, "behind it").unwrap();
    later.flush();
    let disk = dark(&disk);
    let log = open(&disk).0;
    assert_eq!((version(&disk), log.end().number), (2, 5));
    // Each process writes the version once more; on a full disk it removes the ballast for that.
    disk.set_capacity(Some(disk.used()));
    log.capacity().ready_for_rolls().unwrap();
}

/// Later segments that are cut off by a truncation at `cut`, without a sync of their names.
fn truncated(cut: u64) -> SimDisk {
    let (disk, mut log, later) = written(18);
    later.flush();
    no_sync_of_the_directory(&disk);
    log.truncate(cut).unwrap_err();
    next(&disk, log)
}

/// The same, by a start: entry 3 is torn.
fn torn() -> SimDisk {
    let (disk, log, _) = written(18);
    let disk = next(&disk, log).image(Kept::These { names: usize::MAX, blocks: u64::MAX });
    let file = disk.open(Path::new("/data/00000000000000000000")).unwrap();
    file.write_at(&[0; 512], 5120).unwrap();
    disk.fail_nth(Op::SyncDir, 1, io::ErrorKind::Other); // the first is that of the directory's own name
    assert!(try_open(&disk).is_none());
    disk.kill().unwrap()
}

/// Other entries replace those that were cut off, in as many segments. Whenever the power goes, the entries that were
/// cut off do not come back: neither where they would continue the log, nor where they would not.
#[test]
fn segments_that_were_cut_off_do_not_come_back() {
    let cases: [(u64, fn() -> SimDisk); 3] = [(3, || truncated(3)), (5, || truncated(5)), (3, torn)];
    for (case, (cut, cut_off)) in cases.into_iter().enumerate() {
        for step in 0.. {
            let disk = cut_off();
            disk.lose_power_after(step);
            let done = instead(&disk, cut).is_some() && disk.is_on();
            for blocks in [0, u64::MAX] {
                let log = open(&disk.image(Kept::These { names: 0, blocks })).0;
                let term = |number| log.reader().entry_header(number).unwrap().map(|header| header.term);
                let terms: Vec<_> = (5..log.end().number).map(term).collect();
                assert!(terms.iter().all(|term| *term == Some(2)), "case {case}, {step} steps: {terms:?}");
            }
            if done {
                assert!(step > 50, "the test must lose power");
                break;
            }
        }
    }
}

fn instead(disk: &SimDisk, cut: u64) -> Option<()> {
    let (mut log, later) = try_open(disk)?;
    assert!(log.end().number <= 5, "whole segments were cut off");
    log.truncate(cut).ok()?;
    for n in cut..18 {
        append(&mut log, 2, &format!("instead {n}")).ok()?;
        if n % 3 == 0 {
            later.flush();
        }
    }
    Some(())
}

/// A process that dies while it makes a name anew leaves the file under the other name.
#[test]
fn a_name_that_was_being_made_anew_is_put_back() {
    for failing in 0.. {
        let (disk, mut log, later) = written(10);
        log.committer().commit(4).unwrap();
        log.purge(1, 4).unwrap();
        no_sync_of_the_directory(&disk);
        later.flush();
        let disk = next(&disk, log);
        disk.fail_nth(Op::Rename, failing, io::ErrorKind::Other);
        if try_open(&disk).is_some() {
            assert!(failing >= 4, "where the log begins, and a segment");
            break;
        }
        let names = disk.kill().unwrap().list(Path::new("/data")).unwrap();
        assert_eq!(names.iter().any(|name| name.ends_with(".again")), failing % 2 == 1, "{failing}: {names:?}");
        for disk in [disk.image(Kept::These { names: usize::MAX, blocks: u64::MAX }), disk.kill().unwrap()] {
            let log = open(&disk).0;
            let seen = (log.purged().map(|purged| purged.number), log.end().number);
            assert_eq!(seen, (Some(4), 10), "rename {failing}");
            let names = disk.list(Path::new("/data")).unwrap();
            assert!(!names.iter().any(|name| name.ends_with(".again")), "{failing}: {names:?}");
        }
    }
}

/// After a loss of power in between, a file may have both of its names; the usual one is replaced later.
#[test]
fn a_name_that_is_there_is_not_put_back_over() {
    let (disk, mut log, later) = written(10);
    later.flush();
    let before = |disk: &SimDisk| disk.read(Path::new("/data/start")).unwrap();
    log.committer().commit(4).unwrap();
    log.purge(1, 4).unwrap();
    let old = before(&disk);
    log.committer().commit(9).unwrap();
    log.purge(1, 9).unwrap();
    let disk = next(&disk, log);
    disk.write_atomic(Path::new("/data/start.again"), &old).unwrap();
    let log = open(&disk).0;
    assert_eq!((log.purged().map(|purged| purged.number), log.end().number), (Some(9), 10));
    assert!(disk.read(Path::new("/data/start.again")).is_err());
}

/// A closed log's directory may belong to another log by then, or be removed.
#[test]
fn a_closed_log_says_nothing_more_of_rolls() {
    let (disk, log, later) = written(3);
    later.flush();
    let identity = || disk.read(Path::new("/data/identity")).unwrap();
    let before = identity();
    log.closer().close().unwrap();
    let why = log.capacity().ready_for_rolls().unwrap_err();
    assert!(why.why.contains("closed"), "{why}");
    assert_eq!(identity(), before);
}
