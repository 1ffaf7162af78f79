//! The laws of the local log that only a disk that loses things can show.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::kit::{self, Later};
use crate::disk::Disk;
use crate::disk::sim::{Kept, Op, Rng, SimDisk};
use crate::error::OpenError;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::Completion;
use crate::log::Log;

const SIZE: u64 = 16384;

fn open(disk: &SimDisk) -> (Log, Arc<Later>) {
    let later = Later::new(disk, false);
    (kit::open(disk, SIZE, None, &later).unwrap(), later)
}

fn append(log: &mut Log, record: &str) {
    log.append_draft(Draft::batch(&[record]), 1, 0).unwrap();
    log.on_durable(Completion::new(drop));
}

/// A log and what it must hold.
struct Checked {
    seed: u64,
    log: Log,
    later: Arc<Later>,
    written: Vec<String>,
    /// What was written before truncations that were not flushed yet: a crash may bring it back.
    before: Vec<Vec<String>>,
    /// Number of entries of `written`, from the first on, that must stay.
    flushed: usize,
}

impl Checked {
    fn open(seed: u64, disk: &SimDisk, versions: &[Vec<String>], flushed: usize) -> Self {
        let (log, later) = open(disk);
        assert_eq!(log.progress().end(), log.progress().durable(), "seed {seed}: what was opened is durable");
        let reader = log.reader();
        let kept = log.end().number as usize;
        let holds = |(number, record): (usize, &String)| {
            let frame = reader.frame(number as u64).unwrap().unwrap();
            frame.bytes.windows(record.len()).any(|bytes| bytes == record.as_bytes())
        };
        let is_prefix = |version: &&Vec<String>| version.len() >= kept && version[..kept].iter().enumerate().all(holds);
        let version = versions.iter().find(is_prefix);
        let version = version.unwrap_or_else(|| panic!("seed {seed}: {kept} entries that were never written so"));
        assert!(kept >= flushed, "seed {seed}: {flushed} flushed, {kept} kept");
        Self { seed, log, later, written: version[..kept].to_vec(), before: Vec::new(), flushed: kept }
    }

    fn step(&mut self, rng: &mut Rng) {
        match rng.below(10) {
            0 => {
                if self.later.flush() {
                    self.flushed = self.written.len();
                    self.before.clear();
                }
                assert_eq!(self.log.progress().durable(), self.flushed as u64, "seed {}", self.seed);
            }
            3 => self.later.work(),
            1 if self.flushed > 0 => self.log.committer().commit(self.flushed as u64 - 1).unwrap(),
            2 => {
                let committed = self.log.progress().commit_point().number as usize;
                let cut = self.written.len().saturating_sub(rng.below(4) as usize).max(committed);
                self.log.truncate(cut as u64).unwrap();
                self.before.push(self.written.clone());
                self.written.truncate(cut);
                self.flushed = self.flushed.min(cut);
            }
            _ => {
                let record = format!("{:.<1$}", format!("record {}", rng.draw()), rng.below(1500) as usize);
                append(&mut self.log, &record);
                self.written.push(record);
            }
        }
        let progress = self.log.progress();
        assert!(progress.committed() <= progress.end() && progress.durable() <= progress.end());
    }
}

#[test]
fn what_was_flushed_is_a_prefix_of_what_a_crash_leaves() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let (mut disk, mut versions, mut flushed) = (SimDisk::new(), vec![Vec::new()], 0);
        for _ in 0..5 {
            let mut checked = Checked::open(seed, &disk, &versions, flushed);
            for _ in 0..rng.below(60) {
                checked.step(&mut rng);
            }
            disk = if rng.chance(700) { disk.crash(&mut rng).unwrap() } else { disk.kill().unwrap() };
            (versions, flushed) = (checked.before, checked.flushed);
            versions.insert(0, checked.written);
        }
        Checked::open(seed, &disk, &versions, flushed);
    }
}

/// After a failed sync the page cache shows what the disk does not have, and calls it clean. A process that starts
/// again on it must not take that for durable.
#[test]
fn a_restart_after_a_failed_sync_believes_only_what_it_wrote_again() {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    for n in 0..30 {
        append(&mut log, &format!("{n:.<1000}"));
    }
    disk.fail_nth(Op::Sync, 0, io::ErrorKind::Other);
    later.flush();
    assert_eq!(log.progress().durable(), 0);
    drop(log);
    let disk = disk.kill().unwrap();
    let (log, _) = open(&disk);
    let durable = log.progress().durable();
    drop(log);
    let disk = disk.crash(&mut Rng::new(1)).unwrap();
    assert!(open(&disk).0.progress().end() >= durable, "{durable} records were said to be durable");
}

/// Found by the crash model, seed 2258. The zeros of a truncation whose sync failed are only in the page cache, and
/// count as clean there: a start that goes on behind them must write them again.
#[test]
fn what_a_start_shows_after_a_failed_truncation_stays() {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    for n in 0..5 {
        append(&mut log, &format!("{n:.<1000}"));
    }
    later.flush();
    disk.fail_nth(Op::Sync, 1, io::ErrorKind::Other);
    log.truncate(2).unwrap_err();
    drop(log);
    let disk = disk.kill().unwrap();
    let shown = open(&disk).0.end();
    let disk = disk.crash(&mut Rng::new(1)).unwrap();
    assert_eq!(open(&disk).0.end(), shown);
}

/// Purged entries are committed, but may never have been synced here. The header of their segment may not have been
/// synced either, and without the header the entries behind it are lost.
#[test]
fn a_restart_after_a_failed_sync_does_not_believe_a_purge_either() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk);
    for n in 0..10 {
        append(&mut log, &format!("{n:.<1000}"));
    }
    log.purge(1, 7).unwrap(); // nothing has been flushed
    drop(log);
    let disk = disk.kill().unwrap();
    disk.fail_nth(Op::Sync, 1, io::ErrorKind::Other); // the first is that of the hard state
    assert!(matches!(kit::open(&disk, SIZE, None, &Later::new(&disk, false)), Err(OpenError::Io { .. })));
    let disk = disk.kill().unwrap();
    let durable = open(&disk).0.progress().durable();
    assert_eq!(durable, 10, "the page cache has it all");
    let disk = disk.image(Kept::These { names: 0, blocks: 0 });
    assert_eq!(open(&disk).0.progress().end(), durable, "{durable} records were said to be durable");
}

/// An index file is a cache that nobody needs after a crash. Where its sync of the directory failed, the next one
/// seemed to make up for that, and the name of a segment was called durable that was not.
#[test]
fn a_failed_sync_of_the_directory_stops_the_log_whatever_else_is_written() {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    while log.end().position < SIZE {
        append(&mut log, &format!("{:.<1000}", "record"));
    }
    disk.fail_nth(Op::SyncDir, 0, io::ErrorKind::Other);
    later.work(); // the index of the first segment
    later.flush();
    assert!(log.reader().failure().is_some(), "the name of a segment was not synced, and the log goes on");
    assert_eq!(log.progress().durable(), 0);
}

/// The log syncs entries before it notes them as durable.
#[test]
fn a_start_syncs_no_segment_that_was_noted_as_durable() {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    while log.end().position < 4 * SIZE {
        append(&mut log, &format!("{:.<1000}", "record"));
    }
    later.flush();
    drop(log);
    let disk = disk.kill().unwrap();
    // The hard state is synced, and the segment with the end.
    disk.fail_nth(Op::Sync, 2, io::ErrorKind::Other);
    let opened = kit::open(&disk, SIZE, None, &Later::new(&disk, false)).map(drop);
    assert!(opened.is_ok(), "a third sync: {}", opened.unwrap_err());
}

/// The state that a clean end notes may have been in the page cache only, after an earlier sync that failed.
#[test]
fn a_clean_end_remembers_the_commit_point_after_a_failed_sync_too() {
    let disk = SimDisk::new();
    let (mut log, later) = open(&disk);
    for _ in 0..2 {
        append(&mut log, "a");
        later.flush();
        log.committer().commit(log.end().number - 1).unwrap();
    }
    later.work_at_once();
    disk.fail_nth(Op::Sync, 1, io::ErrorKind::Other); // the first is that of the segment
    log.closer().close().unwrap_err();
    drop(log);
    let disk = disk.kill().unwrap();
    let (log, later) = open(&disk);
    let committed = log.progress().committed();
    later.work_at_once();
    log.closer().close().unwrap();
    drop(log);
    let disk = disk.image(Kept::These { names: 0, blocks: 0 });
    assert_eq!((open(&disk).0.progress().committed(), committed), (2, 2));
}

#[test]
fn a_vote_survives_a_failed_sync_a_restart_and_a_power_loss_once_it_was_seen() {
    let vote = |term| HardVote { term, node: Some("n0".parse().unwrap()), granted: false };
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk);
    log.save_vote(vote(1)).unwrap();
    disk.fail_nth(Op::Sync, 0, io::ErrorKind::Other);
    log.save_vote(vote(2)).unwrap_err();
    drop(log);
    let disk = disk.kill().unwrap();
    let seen = open(&disk).0.reader().vote();
    let disk = disk.crash(&mut Rng::new(1)).unwrap();
    assert_eq!(open(&disk).0.reader().vote(), seen);
}

#[test]
fn a_vote_survives_a_power_loss_in_a_new_directory() {
    for seed in 0..50 {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk);
        let vote = HardVote { term: 1, node: Some("n0".parse().unwrap()), granted: true };
        log.save_vote(vote.clone()).unwrap();
        let disk = disk.crash(&mut Rng::new(seed)).unwrap();
        assert_eq!(open(&disk).0.reader().vote(), Some(vote));
    }
}

/// The slot that is left may hold a stale vote: a node that cannot tell must not vote.
#[test]
fn half_a_vote_refuses_the_next_start_by_name() {
    let vote = |term| HardVote { term, node: Some("n0".parse().unwrap()), granted: false };
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk);
    log.save_vote(vote(1)).unwrap();
    log.save_vote(vote(2)).unwrap();
    drop(log);
    let disk = disk.kill().unwrap();
    let file = disk.open(Path::new("/data/hard-state")).unwrap();
    file.write_at(&[0xff; 8], 16).unwrap();
    match kit::open(&disk, SIZE, None, &Later::new(&disk, false)).map(drop) {
        Err(OpenError::Damaged(damage)) => assert_eq!(damage.mismatch.what, "vote slot"),
        other => panic!("{other:?}"),
    }
}
