//! The rows of the recovery table for the files beside the segments.

use std::path::PathBuf;

use super::*;
use crate::error::Damage;
use crate::format::hard_state::{HARD_STATE_SIZE, HardVote, LogPoint, SLOT, SLOT_DISTANCE};
use crate::format::segment::Cursor;
use crate::log::hard_state::HardStateFile;
use crate::log::recovery::{FileDecision, HardStateCase, IndexCase, decide_index, decide_state};

/// A closed log of five committed entries and two votes, and its hard-state file.
pub(super) fn with_votes() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for term in 1..3 {
        log.save_vote(HardVote { term, node: Some("n1".parse().unwrap()), granted: true }).unwrap();
    }
    fill(&mut log, 5);
    commit_all(&log);
    // Two passes: the second notes, in the other slot, the commit point at its beginning.
    fill(&mut log, 1);
    log.closer().close().unwrap();
    closed(log);
    let file = dir.path().join("log/hard-state");
    (dir, file)
}

pub(super) fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

pub(super) fn slot(number: u64) -> usize {
    (number * SLOT_DISTANCE) as usize
}

/// Gives a file or a slot the next format version, with a good checksum.
fn reseal_later(bytes: &mut [u8]) {
    bytes[8] += 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn damaged(result: Result<(Log, Recovered), OpenError>) -> Damage {
    match result.map(drop) {
        Err(OpenError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_row_of_the_hard_state_is_decided() {
    for find in [
        HardStateCase::Good,
        HardStateCase::Absent,
        HardStateCase::VoteLost,
        HardStateCase::NoteHalfLost,
        HardStateCase::NoteLost,
        HardStateCase::Later,
    ] {
        let (dir, file) = with_votes();
        match find {
            HardStateCase::Good => {}
            HardStateCase::Absent => edit(&file, |bytes| bytes.truncate(HARD_STATE_SIZE as usize - 1)),
            HardStateCase::VoteLost => edit(&file, |bytes| bytes[slot(1) + 30] ^= 1),
            HardStateCase::NoteHalfLost => edit(&file, |bytes| bytes[slot(2) + 30] ^= 1),
            HardStateCase::NoteLost => edit(&file, |bytes| {
                bytes[slot(2) + 30] ^= 1;
                bytes[slot(3) + 30] ^= 1;
            }),
            HardStateCase::Later => edit(&file, |bytes| reseal_later(&mut bytes[slot(3)..slot(3) + SLOT])),
        }
        let (decision, opened) = (decide_state(find, false), try_open(dir.path(), identity()));
        match decision {
            FileDecision::Use | FileDecision::Report => {
                let log = opened.unwrap().0;
                assert_eq!(log.reader().vote().unwrap().term, 2, "{find:?}");
                assert_eq!(log.end().number, 6, "{find:?}");
            }
            FileDecision::Refuse if find == HardStateCase::Later => {
                let error = opened.map(drop).unwrap_err();
                assert!(matches!(error, OpenError::Version { found: 2, supported: 1, .. }), "{error}");
            }
            FileDecision::Refuse => {
                let damage = damaged(opened);
                assert_eq!(damage.file, file, "{find:?}");
                assert!(!damage.mismatch.found.is_empty(), "{find:?}: {damage}");
            }
            FileDecision::Make => panic!("{find:?} beside a log"),
        }
    }
}

#[test]
fn a_fresh_directory_gets_a_hard_state_and_only_that() {
    assert_eq!(decide_state(HardStateCase::Absent, true), FileDecision::Make);
    for find in [HardStateCase::VoteLost, HardStateCase::NoteLost, HardStateCase::Later] {
        assert_eq!(decide_state(find, true), FileDecision::Refuse, "{find:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).reader().vote(), None);
}

/// The slot that is lost is the next one written: the good one is not overwritten, and the new note wins.
#[test]
fn a_lost_note_is_written_anew_and_the_good_one_is_kept() {
    for lost in [2, 3] {
        let (_dir, file) = with_votes();
        edit(&file, |bytes| bytes[slot(lost) + 30] ^= 1);
        let before = std::fs::read(&file).unwrap();
        let mut state = HardStateFile::open(&RealDisk, &file, false).unwrap();
        let further = LogPoint { number: 70, index: 70, position: 9000, chain: 3 };
        state.note(further, further).unwrap();
        let after = std::fs::read(&file).unwrap();
        let good = slot(5 - lost)..slot(5 - lost) + SLOT;
        assert_eq!(before[good.clone()], after[good], "slot {lost} is lost, the other one was overwritten");
        assert_eq!(HardStateFile::open(&RealDisk, &file, false).unwrap().noted().durable, further);
    }
}

/// A truncation lowers the noted durable point, and the point stays lowered.
#[test]
fn a_truncation_is_never_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 100);
    log.truncate(60).unwrap();
    closed(log);
    let (mut log, recovered) = try_open(dir.path(), identity()).unwrap();
    assert_eq!((log.end().number, recovered.cut), (60, None));
    fill(&mut log, 100);
    log.truncate(10).unwrap();
    fill(&mut log, 1);
    closed(log);
    assert_eq!(open(dir.path()).end().number, 11);
}

#[test]
fn an_index_that_cannot_be_used_is_made_anew() {
    for find in [IndexCase::Fits, IndexCase::Absent, IndexCase::Unusable, IndexCase::Later] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        fill(&mut log, 300);
        commit_all(&log);
        log.closer().close().unwrap();
        closed(log);
        let index = dir.path().join("log/00000000000000008192.index");
        let good = std::fs::read(&index).unwrap();
        match find {
            IndexCase::Fits => {}
            IndexCase::Absent => std::fs::remove_file(&index).unwrap(),
            IndexCase::Unusable => edit(&index, |bytes| bytes[40] ^= 1),
            IndexCase::Later => edit(&index, |bytes| reseal_later(bytes)),
        }
        if decide_index(find) == FileDecision::Refuse {
            let error = try_open(dir.path(), identity()).map(drop).unwrap_err();
            assert!(matches!(&error, OpenError::Version { file, found: 2, .. } if *file == index), "{error}");
            continue;
        }
        let written = || std::fs::metadata(&index).unwrap().modified().unwrap();
        let before = index.exists().then(written);
        let log = open(dir.path());
        assert_eq!(bodies(&log.reader()).len(), 300, "{find:?}");
        log.closer().close().unwrap();
        closed(log);
        assert!(std::fs::read(&index).unwrap() == good, "{find:?}");
        match decide_index(find) {
            FileDecision::Use => assert_eq!(before, Some(written()), "{find:?}: written for nothing"),
            decision => assert_eq!(decision, FileDecision::Make, "{find:?}"),
        }
    }
}

/// Without a recorded start, recovery never takes segments for the rest of a reset.
#[test]
fn segments_of_another_ledger_are_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &["never synced"]);
    closed(log);
    let other = tempfile::tempdir().unwrap();
    let group = "other".parse().unwrap();
    let mut log = try_open(other.path(), Identity { group, ..identity() }).unwrap().0;
    fill(&mut log, 5);
    closed(log);
    let name = "log/00000000000000000000";
    std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    let before = segment_bytes(dir.path());
    let damage = damaged(try_open(dir.path(), identity()));
    assert_eq!(damage.mismatch.what, "other segment", "{damage}");
    assert_eq!(segment_bytes(dir.path()), before);
}

/// A recorded start on another history removes no noted entry, even if the log goes far beyond the start.
#[test]
fn a_start_that_is_not_reached_never_costs_what_was_noted() {
    for committed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        fill(&mut log, 20);
        if committed {
            commit_all(&log);
            flushed(&mut log);
        }
        let next = Cursor { position: 1000, number: 9, index: 9, term: 1, timestamp: 0, chain: 7 };
        let purged = Some(start_file::PurgePoint { term: 1, number: 8, next });
        log.parts.start.change(|start| start.purged = purged).unwrap();
        closed(log);
        let before = segment_bytes(dir.path());
        let damage = damaged(try_open(dir.path(), identity()));
        assert_eq!(damage.mismatch.what, "start not reached", "{damage}");
        assert_eq!(segment_bytes(dir.path()), before);
    }
}
