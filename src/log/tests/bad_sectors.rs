//! A node starts in spite of a bad sector behind the end of the log, or in one of two progress slots.

use super::recovery_files::{edit, slot, with_votes};
use super::recovery_table::{Case, position};
use super::repair::{answer, good, repair_with};
use super::*;
use crate::disk::hooked::HookedDisk;
use crate::format::hard_state::SLOT;
use crate::log::recovery::{EndCase, Known};

fn open_on(disk: &HookedDisk, dir: &Path) -> Result<(Log, Recovered), OpenError> {
    Log::open(Arc::new(disk.clone()), dir.join("log"), identity(), options())
}

/// A page behind the last entry of every [`Case`].
const BEHIND: std::ops::Range<u64> = 5000..5100;

#[test]
fn a_bad_sector_behind_the_end_is_overwritten() {
    for known in [Known::Nothing, Known::Committed] {
        let case = Case::new(known);
        let disk = HookedDisk::with_bad_sector(case.segment(2 * SIZE), BEHIND);
        let (log, recovered) = open_on(&disk, case.dir.path()).unwrap();
        assert_eq!(recovered.cut.map(|cut| cut.case), Some(EndCase::StaleTail), "{known:?}");
        assert_eq!(log.end().number, 12, "{known:?}");
        assert!(!disk.is_bad(), "{known:?}: still cannot be read");
        closed(log);
        assert_eq!(open_on(&disk, case.dir.path()).unwrap().1.cut, None, "{known:?}");
    }
}

/// Zeros are written in pieces. The system would read a page first to write a piece that ends within it.
#[test]
fn a_bad_sector_anywhere_behind_the_end_is_overwritten() {
    const LARGE: u64 = 4 << 20;
    let identity = || Identity { segment_size: LARGE, ..identity() };
    for page in [(1 << 20) / 4096, (2 << 20) / 4096, LARGE / 4096 - 1] {
        let dir = tempfile::tempdir().unwrap();
        let options = || LogOptions { segment_size: LARGE, ..options() };
        let mut log = Log::open(Arc::new(RealDisk), dir.path().join("log"), identity(), options()).unwrap().0;
        append(&mut log, &["a"]);
        flushed(&mut log);
        closed(log);
        let bad = page * 4096 + 3500..page * 4096 + 3600;
        let disk = HookedDisk::with_bad_sector(dir.path().join("log").join(names::segment(0)), bad);
        let opened = Log::open(Arc::new(disk.clone()), dir.path().join("log"), identity(), options());
        let (log, _) = opened.unwrap_or_else(|error| panic!("page {page}: {error}"));
        assert_eq!((log.end().number, disk.is_bad()), (1, false), "page {page}");
    }
}

/// After a repair the directory starts, also if there was nothing to repair.
#[test]
fn a_repair_that_is_done_leaves_a_log_that_opens_on_a_bad_sector_too() {
    let (_theirs, theirs) = good();
    for damaged in [None, Some(10), Some(2)] {
        let case = Case::new(Known::Committed);
        if let Some(number) = damaged {
            case.flip(position(number) + 200);
        }
        let disk = HookedDisk::with_bad_sector(case.segment(2 * SIZE), BEHIND);
        let reader = theirs.reader();
        let report = repair_with(case.dir.path(), Arc::new(disk.clone()), |number| answer(&reader, number, 12));
        let report = report.unwrap_or_else(|error| panic!("{damaged:?}: {error}"));
        assert!(report.done, "{damaged:?}");
        let (log, _) = open_on(&disk, case.dir.path()).unwrap_or_else(|error| panic!("{damaged:?}: {error}"));
        assert_eq!(log.end().number, 12, "{damaged:?}");
        closed(log);
    }
}

#[test]
fn a_progress_slot_that_cannot_be_read_is_written_anew_and_the_other_one_is_used() {
    for lost in [2, 3] {
        let (dir, file) = with_votes();
        let at = slot(lost) as u64;
        let disk = HookedDisk::with_bad_sector(file.clone(), at..at + 512);
        let (log, _) = open_on(&disk, dir.path()).unwrap_or_else(|error| panic!("slot {lost}: {error}"));
        assert_eq!((log.end().number, log.reader().vote().unwrap().term), (6, 2), "slot {lost}");
        assert!(!disk.is_bad(), "slot {lost} still cannot be read");
        let committed = log.progress().commit_point();
        closed(log);
        // The slot that was good is not needed any more.
        edit(&file, |bytes| bytes[slot(5 - lost) + 30] ^= 1);
        let log = open(dir.path());
        assert_eq!(log.progress().commit_point(), committed, "slot {lost}");
    }
}

#[test]
fn a_vote_slot_that_cannot_be_read_refuses_to_open_as_a_damaged_one_does() {
    for lost in [0, 1] {
        let (dir, file) = with_votes();
        let before = std::fs::read(&file).unwrap();
        let at = slot(lost) as u64;
        let disk = HookedDisk::with_bad_sector(file.clone(), at..at + SLOT as u64);
        match open_on(&disk, dir.path()).map(drop) {
            Err(OpenError::Damaged(damage)) => {
                assert_eq!((&*damage.mismatch.what, damage.file), ("vote slot", file.clone()));
                assert!(damage.mismatch.found.contains("cannot be read"), "{}", damage.mismatch.found);
            }
            other => panic!("slot {lost}: {other:?}"),
        }
        assert!(std::fs::read(&file).unwrap() == before, "slot {lost}: changed");
    }
}
