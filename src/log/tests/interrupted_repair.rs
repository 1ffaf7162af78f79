//! A repair that is interrupted at any call leaves a directory that a start refuses, or a good one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::full_disk::Jobs;
use crate::disk::Disk;
use crate::disk::sim::{Op, Rng, SimDisk};
use crate::error::{OpenError, RepairError};
use crate::format::frame::Draft;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::log::repair::{Repair, RepairStep, Repairing, Supply};
use crate::log::{Log, LogOptions};
use crate::types::Incarnation;

const SIZE: u64 = 8192;

fn identity() -> Identity {
    Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::from_u128(1),
    }
}

fn open(disk: &SimDisk) -> Result<Log, OpenError> {
    let jobs = Arc::new(Jobs::default());
    let (scheduler, background) = (jobs.clone(), jobs);
    let options = LogOptions { segment_size: SIZE, interval: None, scheduler, background };
    Log::open(Arc::new(disk.clone()), PathBuf::from("/data"), identity(), options).map(|(log, _)| log)
}

/// Thirty entries in several segments, all committed and durable.
fn filled(disk: &SimDisk) -> Log {
    let mut log = open(disk).unwrap();
    for number in 0..30 {
        log.append_draft(Draft::batch(&[format!("{number:.<1000}")]), 1, 1000).unwrap();
    }
    log.committer().commit(29).unwrap();
    log
}

fn segment(position: u64) -> PathBuf {
    Path::new("/data").join(format!("{position:020}"))
}

/// A good log whose process has ended, and then damage in three segments.
fn damaged() -> SimDisk {
    let disk = SimDisk::new();
    let log = filled(&disk);
    log.closer().close().unwrap();
    drop(log);
    let disk = disk.kill().unwrap();
    for (position, offset) in [(0, 300), (SIZE, 40), (3 * SIZE, 5000)] {
        let file = disk.open(&segment(position)).unwrap();
        file.write_at(b"rotten", offset).unwrap();
        file.sync().unwrap();
    }
    disk.remove(&segment(2 * SIZE)).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk
}

fn repair(disk: &SimDisk, peer: &LogReader) -> Result<(), RepairError> {
    let mut repair = Repair::begin(Arc::new(disk.clone()), PathBuf::from("/data"), Some(identity()))?;
    while let RepairStep::Need(number) = repair.advance()? {
        let frames = peer.frames(number..30, 4000).unwrap();
        repair.supply(&"n7".parse().unwrap(), Supply { frames, committed: 30, committed_term: 1 })?;
    }
    repair.finish(false).map(drop)
}

#[test]
fn an_interrupted_repair_leaves_what_is_refused_or_good() {
    let theirs = filled(&SimDisk::new()).reader();
    // Every record that a read does not refuse equals the peer's.
    let never_wrong = |log: &Log| {
        assert_eq!(log.end().number, 30);
        (0..30).all(|number| match log.reader().frame(number) {
            Ok(ours) => ours.unwrap().bytes == theirs.frame(number).unwrap().unwrap().bytes,
            Err(_) => true,
        })
    };
    let good = |log: &Log| never_wrong(log) && log.reader().frames(0..30, usize::MAX).is_ok();
    let ops = [Op::Create, Op::Open, Op::Read, Op::Write, Op::Sync, Op::Rename, Op::Remove, Op::SyncDir];
    let (mut interrupted, mut refused) = (0, 0);
    for op in ops {
        for nth in 0.. {
            let disk = damaged();
            assert!(matches!(open(&disk).map(drop), Err(OpenError::Damaged(_))));
            disk.fail_nth(op, nth, io::ErrorKind::Other);
            let ended = repair(&disk, &theirs);
            let mut rng = Rng::new(nth << 8 | op as u64);
            // The failing call may also be the last one before the process dies, or before the power goes.
            let disk = if nth % 2 == 0 { disk.crash(&mut rng).unwrap() } else { disk.kill().unwrap() };
            match open(&disk) {
                Ok(log) => assert!(never_wrong(&log), "{op:?} {nth}: opened, and wrong"),
                Err(OpenError::Damaged(_)) => refused += 1,
                Err(error) => panic!("{op:?} {nth}: {error}"),
            }
            let over = ended.is_ok();
            interrupted += u64::from(!over);
            let disk = disk.kill().unwrap();
            repair(&disk, &theirs).unwrap_or_else(|error| panic!("{op:?} {nth}: not repaired then: {error}"));
            assert!(good(&open(&disk).unwrap()), "{op:?} {nth}: repaired, and not good");
            if over {
                break;
            }
            assert!(nth < 500, "{op:?}: it does not end");
        }
    }
    assert!(interrupted > 40 && refused > 30, "{interrupted} interrupted, {refused} refused");
}
