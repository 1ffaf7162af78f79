//! The laws of a repair, on real files: a refused directory is good again and equal to the peer's, and one that cannot
//! be proven stays as it was.

use super::recovery_table::{BLANK, Case, FINDS, KNOWN, position};
use super::*;
use crate::disk::Disk;
use crate::disk::hooked::HookedDisk;
use crate::error::RepairError;
use crate::format::frame::Frame;
use crate::log::recovery::{Decision, EndCase, Known, decide};
use crate::log::repair::online::SegmentRepair;
use crate::log::repair::{Repair, RepairStep, Repairing, Supply};
use crate::types::{NodeId, RepairReport, Repaired};

const ROUNDS: usize = 1000;

fn peer() -> NodeId {
    "n7".parse().unwrap()
}

/// The answer of a peer that has committed the entries below `committed`: two entries at a time.
pub(super) fn answer(peer: &LogReader, number: u64, committed: u64) -> Supply {
    let numbers = number..committed.min(number + 2);
    let frames = peer.frames(numbers, usize::MAX).unwrap();
    let last = committed.checked_sub(1).and_then(|last| peer.entry_header(last).unwrap());
    Supply { frames, committed, committed_term: last.map_or(0, |last| last.term) }
}

fn run(repair: &mut Repair, mut ask: impl FnMut(u64) -> Supply) -> Result<(), RepairError> {
    for _ in 0..ROUNDS {
        match repair.advance()? {
            RepairStep::Need(number) => repair.supply(&peer(), ask(number))?,
            RepairStep::Done => return Ok(()),
        }
    }
    panic!("it does not end");
}

fn begin(dir: &Path, disk: Arc<dyn Disk>) -> Repair {
    Repair::begin(disk, dir.join("log"), Some(identity())).unwrap()
}

pub(super) fn repair_with(
    dir: &Path,
    disk: Arc<dyn Disk>,
    ask: impl FnMut(u64) -> Supply,
) -> Result<RepairReport, RepairError> {
    let mut repair = begin(dir, disk);
    run(&mut repair, ask)?;
    repair.finish(false)
}

fn repair(dir: &Path, from: &LogReader) -> Result<RepairReport, RepairError> {
    let committed = from.progress().commit_point().number;
    repair_with(dir, Arc::new(RealDisk), |number| answer(from, number, committed))
}

/// A log with the same entries as every [`Case`].
pub(super) fn good() -> (Case, Log) {
    let case = Case::new(Known::Committed);
    let (log, _) = case.open().unwrap();
    commit_all(&log);
    (case, log)
}

/// New files of segments. Index files are made at any time, by the thread of a log that was open.
fn new_files(case: &Case) -> Vec<String> {
    let mut names = RealDisk.list(&case.dir.path().join("log")).unwrap();
    names.retain(|name| name.ends_with(".tmp") && !name.contains(".index"));
    names
}

/// Opens without anything to report, and holds the bytes of `peer`.
fn is_as(case: &Case, peer: &Case, row: &str) {
    assert_eq!(new_files(case), Vec::<String>::new(), "{row}");
    let (log, recovered) = case.open().unwrap_or_else(|error| panic!("{row}: {error}"));
    assert_eq!(recovered.cut, None, "{row}");
    assert_eq!(log.end().number, 12, "{row}");
    closed(log);
    let (ours, theirs) = (segment_bytes(case.dir.path()), segment_bytes(peer.dir.path()));
    assert_eq!(ours.len(), theirs.len(), "{row}: files");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "{row}: {} is not as the peer has it", ours.0);
    }
}

#[test]
fn every_refused_row_is_repaired() {
    let (theirs, log) = good();
    let mut rows = 0;
    for find in FINDS {
        // In these two cases the note is damaged, not the log.
        if matches!(find, EndCase::OtherHistory | EndCase::StartNotReached) {
            continue;
        }
        for known in KNOWN {
            if decide(find, known) != Decision::Refuse {
                continue;
            }
            let row = format!("{} / {known:?}", find.name());
            let mut case = Case::new(known);
            case.damage(find);
            assert!(case.open().is_err(), "{row}: opened");
            let reader = log.reader();
            let report = repair_with(case.dir.path(), case.disk(), |number| answer(&reader, number, 12));
            let report = report.unwrap_or_else(|error| panic!("{row}: {error}"));
            assert!(report.done && !report.ranges.is_empty() && report.end == 12, "{row}: {report:?}");
            case.bad_sector = None;
            is_as(&case, &theirs, &row);
            rows += 1;
        }
    }
    assert_eq!(rows, 46);
}

#[test]
fn damage_in_many_places_is_repaired_and_named() {
    let (theirs, log) = good();
    let case = Case::new(Known::Committed);
    case.flip(40);
    case.flip(position(1) + 200);
    case.flip(position(2) + 3);
    case.flip(BLANK + 9);
    case.flip(SIZE - 100);
    case.flip(position(5) + 100);
    case.flip(SIZE + BLANK + 2);
    case.zero(position(10)..position(10) + 600);
    let report = repair(case.dir.path(), &log.reader()).unwrap();
    is_as(&case, &theirs, "many");
    let entries = |entries, indexes| Repaired::Entries { entries, indexes, from: peer() };
    let found: Vec<_> = report.ranges.iter().map(|range| (range.positions.clone(), range.what.clone())).collect();
    let expected = [
        (0..80, Repaired::Header),
        (position(1)..position(3), entries(2, 1..3)),
        (BLANK..SIZE, Repaired::Blank),
        (position(5)..position(6), entries(1, 5..6)),
        (SIZE + BLANK..2 * SIZE, Repaired::Blank),
        (position(10)..position(11), entries(1, 10..11)),
    ];
    assert_eq!(found, expected);
    assert!(report.ranges.iter().all(|range| range.file == case.segment(range.positions.start)));
}

#[test]
fn rot_in_the_zeros_of_a_blank_is_repaired() {
    let (theirs, log) = good();
    let case = Case::new(Known::Committed);
    case.flip(SIZE - 1);
    let report = repair(case.dir.path(), &log.reader()).unwrap();
    assert_eq!(report.ranges[0].what, Repaired::Blank);
    is_as(&case, &theirs, "blank");
}

#[test]
fn a_log_of_which_only_the_hard_state_is_left_is_repaired() {
    let (theirs, log) = good();
    let case = Case::new(Known::Committed);
    for at in [0, SIZE, 2 * SIZE] {
        std::fs::remove_file(case.segment(at)).unwrap();
    }
    let report = repair(case.dir.path(), &log.reader()).unwrap();
    assert_eq!((report.end, report.end_position), (12, log.end().position));
    is_as(&case, &theirs, "nothing left");
}

#[test]
fn a_trial_changes_nothing_and_says_the_same() {
    let (theirs, log) = good();
    let case = Case::new(Known::Committed);
    case.flip(position(6) + 200);
    let before = segment_bytes(case.dir.path());
    let mut trial = begin(case.dir.path(), Arc::new(RealDisk));
    run(&mut trial, |number| answer(&log.reader(), number, 12)).unwrap();
    let said = trial.finish(true).unwrap();
    assert!(!said.done);
    assert_eq!(segment_bytes(case.dir.path()), before);
    let report = repair(case.dir.path(), &log.reader()).unwrap();
    assert_eq!(report, RepairReport { done: true, ..said });
    is_as(&case, &theirs, "after a trial");
}

#[test]
fn what_does_not_continue_the_log_is_not_taken() {
    let (_theirs, log) = good();
    let case = Case::new(Known::Committed);
    case.flip(position(6) + 200);
    let before = segment_bytes(case.dir.path());
    let wrong = |number| {
        let mut supply = answer(&log.reader(), number, 12);
        let frame = supply.frames.remove(0);
        let mut bytes = frame.bytes.to_vec();
        let header = crate::format::entry::EntryHeader { previous: frame.header.previous ^ 1, ..frame.header };
        header.seal(&mut bytes);
        Supply { frames: Frame::parse_all(bytes.into()).unwrap(), ..supply }
    };
    let error = repair_with(case.dir.path(), Arc::new(RealDisk), wrong).unwrap_err();
    assert!(
        matches!(&error, RepairError::Differs(differs) if differs.what == "chain value before the entry"),
        "{error}"
    );
    assert_eq!(segment_bytes(case.dir.path()), before);
    // The next peer may have the entries.
    let mut repair = begin(case.dir.path(), Arc::new(RealDisk));
    run(&mut repair, wrong).unwrap_err();
    run(&mut repair, |number| answer(&log.reader(), number, 12)).unwrap();
    repair.finish(false).unwrap();
    closed(case.open().unwrap().0);
}

#[test]
fn a_repair_does_not_end_before_what_is_committed() {
    let (_theirs, log) = good();
    for (known, find) in [(Known::Committed, EndCase::CleanEnd), (Known::Durable, EndCase::CleanEnd)] {
        let mut case = Case::new(known);
        case.damage(find);
        let before = segment_bytes(case.dir.path());
        let short = |number| Supply { committed_term: 1, ..answer(&log.reader(), number, 11) };
        let error = repair_with(case.dir.path(), Arc::new(RealDisk), short).unwrap_err();
        assert!(matches!(error, RepairError::NotSettled { index: 11, committed: 11, .. }), "{error}");
        assert_eq!(segment_bytes(case.dir.path()), before);
        assert!(case.open().is_err());
        // A later leader has committed nothing there: then nothing is lost, unless it was known to be committed.
        let later = |number| Supply { committed_term: 2, ..answer(&log.reader(), number, 11) };
        match repair_with(case.dir.path(), Arc::new(RealDisk), later) {
            Ok(report) => {
                assert_eq!((known, report.end), (Known::Durable, 11));
                assert_eq!(case.open().unwrap().0.end().number, 11);
            }
            Err(error) => assert!(known == Known::Committed && matches!(error, RepairError::NotSettled { .. })),
        }
    }
}

#[test]
fn rot_that_nobody_can_have_counted_on_is_cut_when_a_later_leader_says_so() {
    let (_theirs, log) = good();
    for damaged in [5, 9, 10, 11] {
        let case = Case::new(Known::Nothing);
        case.flip(position(damaged) + 200);
        assert!(case.open().is_err());
        let ask = |term| {
            let reader = log.reader();
            move |number| Supply { committed_term: term, ..answer(&reader, number, damaged) }
        };
        let error = repair_with(case.dir.path(), Arc::new(RealDisk), ask(1)).unwrap_err();
        assert!(matches!(error, RepairError::NotSettled { .. }), "{damaged}: {error}");
        let report = repair_with(case.dir.path(), Arc::new(RealDisk), ask(2)).unwrap();
        assert_eq!(report.end, damaged);
        let (log, recovered) = case.open().unwrap_or_else(|error| panic!("{damaged}: {error}"));
        assert_eq!((log.end().number, recovered.cut), (damaged, None));
        closed(log);
    }
}

/// A log whose entries from number `common` on are of term 2 and other records.
fn superseding(common: u64, count: u64, shorter: bool) -> (tempfile::TempDir, Log) {
    let (_kept, theirs) = good();
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for number in 0..common {
        log.append_frame(theirs.reader().frame(number).unwrap().unwrap()).unwrap();
    }
    while log.end().number < count {
        let record = format!("other {:.<1$}", log.end().number, if shorter { 700 } else { 1400 });
        log.append_draft(Draft::batch(&[record]), 2, 2000).unwrap();
    }
    flushed(&mut log);
    commit_all(&log);
    (dir, log)
}

#[test]
fn a_durable_tail_that_was_superseded_gives_way() {
    for (common, damaged, shorter) in
        [(5, 6, false), (3, 3, false), (5, 6, true), (4, 11, true), (5, 5, true), (9, 10, true)]
    {
        let row = format!("common {common}, damaged {damaged}, shorter {shorter}");
        let case = Case::new(Known::Durable);
        case.flip(position(damaged) + 200);
        let (dir, theirs) = superseding(common, 14, shorter);
        repair(case.dir.path(), &theirs.reader()).unwrap_or_else(|error| panic!("{row}: {error}"));
        let (log, _) = case.open().unwrap_or_else(|error| panic!("{row}: {error}"));
        let kept = log.reader().frames(0..log.end().number, usize::MAX).unwrap();
        let taken = theirs.reader().frames(0..log.end().number, usize::MAX).unwrap();
        assert!(log.end().number >= 12, "{row}: {:?}", log.end());
        assert!(kept.iter().zip(&taken).all(|(a, b)| a.bytes == b.bytes), "{row}: {:?}", log.end());
        closed(log);
        drop(dir);
    }
}

#[test]
fn a_log_of_another_history_than_was_noted_is_repaired() {
    let (theirs, log) = good();
    let (dir, mut other) = superseding(1, 12, false);
    flushed(&mut other);
    closed(other);
    let case = Case::new(Known::Committed);
    for at in [0, SIZE, 2 * SIZE] {
        let name = format!("log/{at:020}");
        std::fs::copy(dir.path().join(&name), case.dir.path().join(&name)).unwrap();
        let _ = std::fs::remove_file(case.dir.path().join(format!("{name}.index")));
    }
    let Err(OpenError::Damaged(damage)) = case.open().map(drop) else { panic!("opened") };
    assert_eq!(damage.mismatch.what, "noted point");
    repair(case.dir.path(), &log.reader()).unwrap();
    is_as(&case, &theirs, "another history");
    // And no peer with another entry is believed.
    let (_dir, other) = superseding(1, 14, false);
    case.flip(position(6) + 200);
    let error = repair(case.dir.path(), &other.reader()).unwrap_err();
    assert!(matches!(error, RepairError::Differs(_)), "{error}");
}

#[test]
fn what_was_noted_wrongly_is_not_repaired() {
    let (_theirs, log) = good();
    for known in KNOWN {
        let mut case = Case::new(known);
        case.damage(EndCase::OtherHistory);
        let before = segment_bytes(case.dir.path());
        let error = repair(case.dir.path(), &log.reader()).unwrap_err();
        assert!(matches!(error, RepairError::Differs(_) | RepairError::NotSettled { .. }), "{known:?}: {error}");
        assert_eq!(segment_bytes(case.dir.path()), before);
    }
}

#[test]
fn a_log_that_begins_in_the_middle_is_repaired() {
    // The last purged entry is in the middle of its segment, or the last one of the segment.
    for gone in [6, 9] {
        let (_theirs, mut theirs) = good();
        theirs.purge(1, 2).unwrap();
        let flips = [SIZE + 40, position(5) + 200, position(6) + 20, position(7) + 300, position(10) + 90];
        for at in flips.into_iter().chain([u64::MAX]) {
            let case = Case::new(Known::Committed);
            let (mut log, _) = case.open().unwrap();
            commit_all(&log);
            log.purge(1, gone).unwrap();
            flushed(&mut log);
            log.closer().close().unwrap();
            closed(log);
            match case.segment(at) {
                _ if at == u64::MAX => std::fs::remove_file(case.segment(2 * SIZE)).unwrap(),
                segment if segment.exists() => case.flip(at),
                _ => continue,
            }
            let row = format!("gone {gone}, flipped {at}");
            repair(case.dir.path(), &theirs.reader()).unwrap_or_else(|error| panic!("{row}: {error}"));
            let (log, _) = case.open().unwrap_or_else(|error| panic!("{row}: {error}"));
            let (ours, theirs) = (bodies(&log.reader()), bodies(&theirs.reader()));
            assert_eq!(ours, theirs[theirs.len() - ours.len()..], "{row}");
            assert_eq!(ours.len() as u64, 11 - gone, "{row}");
            closed(log);
        }
    }
}

#[test]
fn a_lost_vote_is_not_repaired_and_the_remedy_is_named() {
    let case = Case::new(Known::Committed);
    std::fs::write(case.dir.path().join("log/hard-state"), b"gone").unwrap();
    let error = Repair::begin(Arc::new(RealDisk), case.dir.path().join("log"), Some(identity())).map(drop);
    let error = error.unwrap_err();
    assert!(matches!(error, RepairError::Open(OpenError::Damaged(_))), "{error}");
    assert!(error.to_string().contains("new member"), "{error}");
    case.flip(position(1));
    let refused = Case::new(Known::Committed);
    refused.flip(position(11) + 200);
    let error = refused.open().map(drop).unwrap_err().to_string();
    assert!(error.contains("dledger log repair"), "{error}");
}

#[test]
fn a_new_file_takes_the_place_of_the_old_one_only_when_it_was_read_again() {
    let (_theirs, log) = good();
    let case = Case::new(Known::Committed);
    case.flip(position(1) + 200);
    case.flip(position(11) + 200);
    let before = segment_bytes(case.dir.path());
    // A disk that does not keep the bytes written: one bit of every new file flips.
    let forgetful = HookedDisk::before_sync(|path, file| {
        if path.extension().is_some_and(|ending| ending == "tmp") {
            let mut byte = [0];
            file.read_at(&mut byte, 700)?;
            file.write_at(&[byte[0] ^ 1], 700)?;
        }
        Ok(())
    });
    let error = repair_with(case.dir.path(), Arc::new(forgetful), |number| answer(&log.reader(), number, 12));
    assert!(matches!(error, Err(RepairError::Unverified { .. })), "{error:?}");
    assert_eq!(segment_bytes(case.dir.path()), before);
    assert_eq!(new_files(&case), Vec::<String>::new());
}

/// A reader may have got the segment before it was repaired: its mapping shows the old file, its path names the new.
#[test]
fn who_still_holds_a_segment_that_was_repaired_gets_no_byte_that_was_not_verified() {
    let ((_theirs, peer_log), (case, log)) = (good(), good());
    let (wanted, held) = (peer_log.reader().frame(1).unwrap().unwrap(), log.parts.segments.read()[0].clone());
    case.flip(position(1) + 200);
    held.frame(1).unwrap_err();
    let mut repair = SegmentRepair::begin(&log.health(), 0).unwrap().unwrap();
    while let RepairStep::Need(number) = repair.advance().unwrap() {
        repair.supply(&peer(), answer(&peer_log.reader(), number, 12)).unwrap();
    }
    assert_eq!(repair.finish().unwrap().ranges.len(), 1);
    for look in 0..3 {
        assert!(held.frame(1).unwrap().unwrap().bytes == wanted.bytes, "look {look}");
        assert!(log.reader().frame(1).unwrap().unwrap().bytes == wanted.bytes, "look {look} at the new one");
    }
}
