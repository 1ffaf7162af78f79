//! What is not damage, and what a start would do.

use super::*;

/// The findings that are not notes about missing indexes.
fn only(sample: &Sample) -> Finding {
    let (mut findings, _) = verified(&sample.stopped());
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_file_that_is_nobodys_is_a_note() {
    let sample = Sample::new();
    std::fs::write(sample.path().join("start.tmp"), b"x").unwrap();
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.at_start), (Severity::Note, AtStart::Remove));
    std::fs::remove_file(sample.path().join("start.tmp")).unwrap();
    std::fs::write(sample.path().join("notes.txt"), b"x").unwrap();
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.at_start), (Severity::Note, AtStart::Keep));
}

#[test]
fn a_missing_index_is_made_anew() {
    let sample = Sample::new();
    std::fs::remove_file(sample.path().join("00000000000000000000.index")).unwrap();
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.at_start, finding.row), (Severity::Note, AtStart::Remake, Some("index")));
}

#[test]
fn an_index_that_would_be_believed_and_is_wrong_is_damage() {
    let sample = Sample::new();
    let file = sample.path().join("00000000000000000000.index");
    let (chain, mut units) = index_of(&file);
    let wrong = units[3].offset() as u32 + 8;
    units[3] = crate::format::index::Unit::new(wrong, units[3].index, false);
    std::fs::write(&file, crate::format::index::encode(0, chain, &units)).unwrap();
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.at_start), (Severity::Damage, AtStart::Keep));
}

fn index_of(file: &Path) -> (u32, Vec<crate::format::index::Unit>) {
    crate::format::index::decode(&std::fs::read(file).unwrap(), 0).unwrap()
}

#[test]
fn bytes_between_the_slots_and_behind_the_log_are_seen() {
    let sample = Sample::new();
    flip(&sample.path().join(names::HARD_STATE), 5000);
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.position), (Severity::Note, Some(5000)));
    flip(&sample.path().join(names::HARD_STATE), 5000);
    sample.flip(3 * SIZE - 1);
    let finding = only(&sample);
    assert_eq!((finding.severity, finding.at_start, finding.row), (Severity::Note, AtStart::Cut, Some("stale tail")));
    assert!(finding.mismatch.found.contains(&(3 * SIZE - 1).to_string()), "{finding}");
}

/// A slot that cannot be read says nothing about the others.
#[test]
fn a_slot_that_cannot_be_read_is_named_with_what_a_start_then_does() {
    for slot in 0..4 {
        let sample = Sample::new();
        let at = slot * 4096;
        let disk = HookedDisk::with_bad_sector(sample.path().join(names::HARD_STATE), at..at + 256);
        let (findings, summary) = verified(&StoppedLedger::open_on(Arc::new(disk.clone()), sample.path()).unwrap());
        assert_eq!((findings.len(), findings[0].position), (1, Some(at)), "{findings:?}");
        assert!(findings[0].mismatch.found.contains("cannot read"), "{findings:?}");
        let opened = Log::open(Arc::new(disk), sample.path(), identity("n0"), options());
        let refused = if slot < 2 { AtStart::Refuse } else { AtStart::Keep };
        assert_eq!((opened.is_err(), summary.at_start), (slot < 2, refused), "slot {slot}");
        opened.into_iter().for_each(|(log, _)| close(log));
    }
}

#[test]
fn a_finding_says_what_a_start_then_does() {
    let sample = Sample::new();
    let last = sample.appended.last().unwrap().position;
    sample.flip(last + 90);
    let finding = only(&sample);
    assert_eq!(
        (finding.severity, finding.at_start, finding.row),
        (Severity::Damage, AtStart::Refuse, Some("rotten body"))
    );
    assert_eq!((finding.position, finding.index), (Some(last), Some(sample.appended.last().unwrap().index)));
    let open = Log::open(Arc::new(HookedDisk::without_syncs()), sample.path(), identity("n0"), options());
    assert!(open.is_err());
    // A start does not check an earlier segment that the note calls synced.
    sample.flip(last + 90);
    sample.flip(sample.batch(2).position + 90);
    let finding = only(&sample);
    assert_eq!(
        (finding.severity, finding.at_start, finding.row),
        (Severity::Damage, AtStart::Keep, Some("rotten body"))
    );
    close(sample.log());
}

#[test]
fn what_was_noted_and_is_not_there_is_damage() {
    let sample = Sample::new();
    let last = sample.appended.last().unwrap();
    let mut bytes = std::fs::read(sample.segment(last.position)).unwrap();
    bytes[(last.position % SIZE) as usize..].fill(0);
    std::fs::write(sample.segment(last.position), bytes).unwrap();
    let (findings, summary) = verified(&sample.stopped());
    assert!(summary.damages > 0, "{findings:?}");
    assert_eq!((findings[0].row, findings[0].at_start), (Some("clean end"), AtStart::Refuse));
    assert_eq!(summary.at_start, AtStart::Refuse);
}

#[test]
fn a_directory_in_use_and_one_of_somebody_else_are_refused_by_name() {
    let sample = Sample::new();
    let log = sample.log();
    let error = StoppedLedger::open(sample.path()).unwrap_err();
    assert!(matches!(error, OfflineError::Open(OpenError::Locked { .. })), "{error}");
    close(log);
    drop(StoppedLedger::open(sample.path()).unwrap());
    let error = StoppedLedger::open(sample.dir.path()).unwrap_err();
    assert!(error.to_string().contains("but g in it is"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = StoppedLedger::open(empty.path()).unwrap_err();
    assert!(matches!(error, OfflineError::NoLedger { .. }), "{error}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "the look made a file");
    assert!(StoppedLedger::open(empty.path().join("no")).is_err());
}

#[test]
fn without_an_identity_the_rest_is_still_read() {
    let sample = Sample::new();
    std::fs::remove_file(sample.path().join(names::IDENTITY)).unwrap();
    let (findings, summary) = verified(&sample.stopped());
    assert_eq!((findings.len(), findings[0].at_start, summary.entries), (1, AtStart::Refuse, ENTRIES), "{findings:?}");
}

#[test]
fn looking_changes_nothing() {
    let sample = Sample::new();
    sample.flip(sample.batch(25).position + 90);
    std::fs::remove_file(sample.path().join("00000000000000000000.index")).unwrap();
    let before = sample.content();
    let ledger = sample.stopped();
    verified(&ledger);
    dumped(&ledger, DumpOptions::default());
    ledger.plan_truncation(0, true).unwrap();
    assert_eq!(sample.content(), before);
}

/// The renamed file may be where the log goes on: a tool that may not rename it back does not say where the log ends.
#[test]
fn a_name_that_a_start_was_making_anew_is_put_back_or_the_directory_refused() {
    let sample = Sample::new();
    let (expected, _) = verified(&sample.stopped());
    for name in [names::START.to_owned(), names::segment(SIZE)] {
        let (file, away) = (sample.path().join(&name), sample.path().join(format!("{name}.again")));
        std::fs::rename(&file, &away).unwrap();
        let refused = StoppedLedger::to_read(sample.path()).unwrap_err().to_string();
        assert!(refused.contains("rename back") && refused.contains(&format!("{name}.again")), "{refused}");
        let (findings, _) = verified(&sample.stopped());
        assert_eq!(findings, expected);
        assert!(file.exists() && !away.exists());
    }
}
