//! After a truncation the directory opens, and holds the log as it was up to the cut.

use super::*;
use crate::format::hard_state::{LogPoint, Noted};
use crate::log::directory::is_free;

impl Sample {
    /// The directory opens, holds the records below `to`, and takes more; then a verification finds nothing.
    fn ends_at(&mut self, to: u64) {
        let (findings, _) = verified(&self.stopped());
        assert!(findings.iter().all(|finding| finding.row == Some("index")), "{findings:?}");
        let mut log = self.log();
        assert_eq!(log.end().index, to);
        self.appended.retain(|entry| entry.number < log.end().number);
        self.append(&mut log, 30);
        for (index, expected) in (0..).zip(self.records()) {
            assert_eq!(log.reader().record(index).unwrap().body, expected, "record {index}");
        }
        close(log);
        let (findings, _) = verified(&self.stopped());
        assert!(findings.iter().all(|finding| finding.row == Some("index")), "{findings:?}");
    }
}

#[test]
fn every_first_record_of_an_entry_can_be_cut_at_and_no_other() {
    cut_everywhere(&Sample::new());
}

/// Behind a roll there is no record, one, or another roll.
#[test]
fn so_it_is_where_segments_were_ended_before_they_were_full() {
    let mut sample = Sample::of(13);
    let mut log = sample.log();
    for entries in [9, 0, 4, 0] {
        let roll = log.append_draft(Draft::control(EntryKind::Roll, b""), 4, 1_800_000_000_000).unwrap();
        let EntryItem { number, index, position, kind, .. } = EntryItem::new(&roll, true);
        assert_eq!((position % SIZE, kind), (80, EntryKindName::Roll));
        sample.appended.push(Appended { number, index, position, kind, records: vec![] });
        sample.append(&mut log, entries);
    }
    flush(&mut log);
    log.committer().commit(log.end().number - 1).unwrap();
    close(log);
    assert_eq!(verified(&sample.stopped()).0.len(), 0);
    let entries = dumped(&sample.stopped(), DumpOptions::default());
    let entries = entries.iter().filter_map(|item| if let DumpItem::Entry(entry) = item { Some(entry) } else { None });
    let dumped: Vec<_> =
        entries.map(|entry| (entry.number, entry.position, entry.kind.name(), entry.verified)).collect();
    let appended = sample.appended.iter().map(|entry| (entry.number, entry.position, entry.kind.name(), true));
    assert_eq!(dumped, appended.collect::<Vec<_>>());
    cut_everywhere(&sample);
}

fn cut_everywhere(sample: &Sample) {
    let firsts: Vec<_> = sample.appended.iter().filter(|e| !e.records.is_empty()).map(|entry| entry.index).collect();
    let (content, end) = (sample.content(), sample.records().len() as u64);
    for to in 0..=end {
        match sample.stopped().truncate(to, true) {
            Ok(cut) => {
                assert!(to == end || firsts.contains(&to), "{to}");
                assert_eq!((cut.records, cut.to), (end - to, to));
                let mut cut = Sample { appended: sample.appended.clone(), ..Sample::empty() };
                std::fs::create_dir(cut.path()).unwrap();
                cut.restore(&sample.content());
                cut.ends_at(to);
            }
            Err(OfflineError::InsideBatch { first, last, .. }) => {
                assert!(!firsts.contains(&to) && first < to && to <= last);
                assert!(firsts.contains(&first) && (firsts.contains(&(last + 1)) || last + 1 == end));
            }
            Err(error) => panic!("{to}: {error}"),
        }
        sample.restore(&content);
    }
    let error = sample.stopped().truncate(end + 1, true).unwrap_err();
    assert!(matches!(error, OfflineError::OutOfRange { .. }), "{error}");
}

#[test]
fn committed_records_stay_unless_they_are_given_up() {
    let sample = Sample::new();
    let before = sample.content();
    let end = sample.records().len() as u64;
    let error = sample.stopped().truncate(sample.batch(25).index, false).unwrap_err();
    assert!(matches!(error, OfflineError::Committed { committed, .. } if committed == end), "{error}");
    assert_eq!(sample.content(), before);
    let cut = sample.stopped().truncate(end, false).unwrap();
    assert_eq!((cut.entries, cut.discards_committed(), cut.discards_acknowledged()), (0, false, false));
}

impl Sample {
    /// Appends entries that are committed nowhere; with `synced`, they are noted as durable and may have been
    /// acknowledged.
    fn uncommitted(&self, synced: bool) {
        let mut log = self.log();
        for n in 0..20 {
            log.append_draft(Draft::batch(&[vec![b'x'; 300 + n]]), 5, 0).unwrap();
        }
        if synced {
            flush(&mut log);
        }
        self.killed(log);
    }

    /// As after `kill -9`: the log notes nothing more. Its threads may hold the lock a moment longer.
    fn killed(&self, log: Log) {
        drop(log);
        let free = (0..1_000_000).any(|_| {
            std::thread::yield_now();
            is_free(&RealDisk, &self.path()).is_ok()
        });
        assert!(free, "the log is still open");
    }
}

/// An ack follows the note of the synced entries; the commit point is noted only by the next flush.
#[test]
fn what_was_synced_stays_unless_it_is_given_up() {
    let mut sample = Sample::new();
    let end = sample.records().len() as u64;
    sample.uncommitted(true);
    let before = sample.content();
    let error = sample.stopped().truncate(end + 3, false).unwrap_err();
    assert!(error.to_string().contains("this node has synced those"), "{error}");
    assert_eq!(sample.content(), before);
    let cut = sample.stopped().truncate(end + 3, true).unwrap();
    assert_eq!((cut.records, cut.discards_committed(), cut.discards_acknowledged()), (17, false, true));
    assert_eq!((cut.committed, cut.durable, cut.acknowledged, cut.segments.len()), (end, end + 20, end + 20, 1));
    let log = sample.log();
    assert_eq!((log.end().index, log.progress().committed()), (end + 3, end));
    close(log);
    sample.stopped().truncate(end, true).unwrap();
    sample.ends_at(end);
}

/// With `Durability::Interval` an ack needs no sync, and after a loss of power the note may be older than the last one.
#[test]
fn what_a_start_would_keep_stays_unless_it_is_given_up() {
    let mut sample = Sample::new();
    let end = sample.records().len() as u64;
    sample.uncommitted(false);
    let before = sample.content();
    let error = sample.stopped().truncate(end + 3, false).unwrap_err();
    assert!(error.to_string().contains("may have acknowledged them without a note"), "{error}");
    assert_eq!(sample.content(), before);
    sample.stopped().truncate(end, true).unwrap();
    sample.ends_at(end);
}

/// Membership changes and blanks are acknowledged and committed like records, and have no index.
#[test]
fn an_entry_without_records_stays_unless_it_is_given_up() {
    let sample = Sample::of(ENTRIES - 1);
    let last = sample.appended.last().unwrap();
    assert_eq!(last.kind, EntryKindName::Blank);
    sample.flip(last.position + 20);
    let error = sample.stopped().plan_truncation(last.index, false).unwrap_err();
    assert!(error.to_string().contains("known to be committed"), "{error}");
    assert!(sample.stopped().plan_truncation(last.index, true).unwrap().discards_committed());
}

/// Nobody relied on the entry that was being written when the process died: the next start would cut it anyway.
#[test]
fn a_torn_tail_goes_without_being_given_up() {
    let mut sample = Sample::new();
    let end = sample.records().len() as u64;
    let mut log = sample.log();
    let torn = log.append_draft(Draft::batch(&[[b'x'; 1500]]), 5, 0).unwrap().position;
    sample.killed(log);
    let mut bytes = std::fs::read(sample.segment(torn)).unwrap();
    let sector = (torn % SIZE) as usize / 512 * 512 + 512;
    bytes[sector..sector + 512].fill(0);
    std::fs::write(sample.segment(torn), bytes).unwrap();
    let cut = sample.stopped().truncate(end, false).unwrap();
    assert!(cut.damaged && !cut.discards_acknowledged(), "{cut:?}");
    sample.ends_at(end);
}

#[test]
fn a_log_is_cut_in_front_of_damage_and_opens() {
    let places: [fn(&Sample) -> u64; 6] = [
        |sample| sample.batch(35).position + 20,
        |sample| sample.batch(35).position + 90,
        |sample| sample.batch(12).position + 20,
        |_| SIZE + 20,
        |sample| sample.appended.iter().find(|entry| entry.position > SIZE).unwrap().position + 85,
        |_| 0,
    ];
    for place in places {
        let mut sample = Sample::new();
        let at = place(&sample);
        sample.flip(at);
        let damaged = sample.appended.iter().rev().find(|entry| entry.position <= at.max(80)).unwrap().clone();
        let header = at % SIZE < 80;
        let to = if header && at > SIZE { sample.appended[damaged.number as usize + 1].index } else { damaged.index };
        let beyond = sample.stopped().plan_truncation(to + 20, true).unwrap_err();
        assert!(matches!(beyond, OfflineError::DamageBefore { index, .. } if index == to), "{beyond}");
        let refused = sample.stopped().plan_truncation(to, false).unwrap_err();
        assert!(matches!(refused, OfflineError::Committed { .. }), "{refused}");
        let cut = sample.stopped().truncate(to, true).unwrap();
        assert!(cut.damaged && cut.discards_committed(), "{cut:?}");
        sample.ends_at(to);
    }
}

#[test]
fn a_log_that_lacks_what_was_noted_is_taken_as_it_is() {
    let mut sample = Sample::new();
    let last = sample.appended.last().unwrap().clone();
    let mut bytes = std::fs::read(sample.segment(last.position)).unwrap();
    bytes[(last.position % SIZE) as usize..].fill(0);
    std::fs::write(sample.segment(last.position), bytes).unwrap();
    assert!(Log::open(Arc::new(HookedDisk::without_syncs()), sample.path(), identity("n0"), options()).is_err());
    sample.stopped().truncate(last.index, true).unwrap();
    sample.ends_at(last.index);
}

/// The durable point was noted behind a roll, and the entry that replaced the roll was not synced.
#[test]
fn nothing_behind_a_cut_stays_noted_as_durable() {
    let sample = Sample::new();
    let ledger = sample.stopped();
    let (disk, directory) = (ledger.disk.as_ref(), ledger.directory.as_ref().unwrap());
    let noted = offline_access::noted(disk, directory).unwrap();
    let behind = (noted.durable.position / SIZE + 1) * SIZE + SEGMENT_HEADER as u64;
    let durable = LogPoint { position: behind, ..noted.durable };
    offline_access::take_back(disk, directory, Noted { durable, ..noted }).unwrap();
    ledger.truncate(noted.durable.index, false).unwrap();
    assert_eq!(offline_access::noted(disk, directory).unwrap().durable, noted.durable);
}

#[test]
fn a_lost_vote_is_no_reason_to_cut() {
    let sample = Sample::new();
    flip(&sample.path().join(names::HARD_STATE), 30);
    let before = sample.content();
    let error = sample.stopped().truncate(0, true).unwrap_err();
    assert!(matches!(error, OfflineError::Damaged { .. }), "{error}");
    assert_eq!(sample.content(), before);
}

#[test]
fn a_log_that_begins_later_is_cut_there_and_not_before() {
    let mut sample = Sample::new();
    let mut log = sample.log();
    let first = sample.appended[24].clone();
    log.purge(4, first.number - 1).unwrap();
    close(log);
    assert!(!sample.segment(0).exists(), "the test must purge a segment");
    let error = sample.stopped().truncate(first.index - 1, true).unwrap_err();
    assert!(matches!(error, OfflineError::OutOfRange { first: f, .. } if f == first.index), "{error}");
    sample.stopped().truncate(first.index, true).unwrap();
    let mut log = sample.log();
    assert_eq!((log.end().index, log.progress().first()), (first.index, first.index));
    sample.append(&mut log, 5);
    close(log);
    let (findings, _) = verified(&sample.stopped());
    assert_eq!(findings, []);
}
