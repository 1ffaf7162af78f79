//! The laws of the local log that only a disk that loses things can show.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::disk::{Op, SimDisk};
use super::file::lock;
use super::rng::Rng;
use super::scheduler::InlineBackground;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::directory::Identity;
use crate::log::flush::{Completion, FlushTarget};
use crate::log::flusher::Scheduler;
use crate::log::{Log, LogOptions};
use crate::types::{Incarnation, ReadLimit};

const SIZE: u64 = 16384;

/// Flushes when it is told to, so that a crash may come before.
#[derive(Default)]
struct Later(Mutex<Vec<FlushTarget>>);

impl Scheduler for Later {
    fn schedule(&self, log: FlushTarget, _: std::time::Duration) {
        lock(&self.0).push(log);
    }
}

impl Later {
    fn flush(&self) {
        let due = std::mem::take(&mut *lock(&self.0));
        due.iter().for_each(|log| log.flush());
    }
}

fn open(disk: &SimDisk) -> (Log, Arc<Later>) {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::from_u128(1),
    };
    let later = Arc::new(Later::default());
    let options = LogOptions {
        segment_size: SIZE,
        interval: None,
        scheduler: later.clone(),
        background: Arc::new(InlineBackground),
    };
    let log = Log::open(Arc::new(disk.clone()), PathBuf::from("/data"), identity, options).unwrap().0;
    (log, later)
}

fn append(log: &mut Log, record: &str) {
    log.append_draft(Draft::batch(&[record]), 1, 0).unwrap();
    log.on_durable(Completion::new(drop));
}

/// All there is, committed or not.
fn bodies(mut log: Log) -> Vec<String> {
    let end = log.end().number;
    if end > 0 {
        log.reader().commit(end - 1).unwrap();
    }
    append(&mut log, "one more: commits what is before");
    let reader = log.reader();
    let range = 0..reader.progress().committed();
    if range.is_empty() {
        return Vec::new();
    }
    let records = reader.records(range, ReadLimit::bytes(usize::MAX)).unwrap();
    records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect()
}

#[test]
fn what_was_flushed_is_a_prefix_of_what_a_crash_leaves() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let (mut disk, mut flushed, mut written) = (SimDisk::new(), 0, Vec::new());
        for _ in 0..4 {
            let (mut log, later) = open(&disk);
            assert_eq!(log.progress().end(), log.progress().durable(), "seed {seed}: open makes durable");
            let kept = log.progress().end() as usize;
            assert!((flushed..=written.len()).contains(&kept), "seed {seed}: {flushed} flushed, {kept} kept");
            written.truncate(kept);
            flushed = kept;
            for _ in 0..rng.below(60) {
                match rng.below(10) {
                    0 => {
                        later.flush();
                        assert_eq!(log.progress().durable(), written.len() as u64);
                        flushed = written.len();
                    }
                    1 if flushed > 0 => log.reader().commit(flushed as u64 - 1).unwrap(),
                    2 => {
                        let committed = log.progress().commit_point().number;
                        let cut = (written.len() as u64).saturating_sub(rng.below(4)).max(committed);
                        log.truncate(cut).unwrap();
                        written.truncate(cut as usize);
                        flushed = flushed.min(cut as usize);
                    }
                    _ => {
                        let record = format!("{:.<1$}", format!("record {}", rng.draw()), rng.below(1500) as usize);
                        append(&mut log, &record);
                        written.push(record);
                    }
                }
            }
            disk = if rng.chance(700) { disk.crash(&mut rng).unwrap() } else { disk.kill().unwrap() };
        }
        let (log, _) = open(&disk);
        let kept = log.progress().end() as usize;
        assert!((flushed..=written.len()).contains(&kept), "seed {seed}: {flushed} flushed, {kept} kept");
        assert_eq!(bodies(log), written[..kept], "seed {seed}");
    }
}

/// After a failed sync the page cache shows what the disk does not have, and calls it clean. A process that starts again
/// on it must not take that for durable.
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
