//! The laws of finding records by time and by position, on real files.

use std::path::Path;
use std::sync::Arc;

use crate::disk::real::RealDisk;
use crate::error::ReadError;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::log::directory::Identity;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions, LogReader};
use crate::types::{Incarnation, ReadLimit, Record};

fn open(dir: &Path) -> Log {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: 8192,
        incarnation: Incarnation::random(),
    };
    let (scheduler, background) =
        (Arc::new(FlushThread::start().unwrap()), Arc::new(BackgroundThread::start().unwrap()));
    let options = LogOptions { segment_size: 8192, interval: None, scheduler, background };
    Log::open(Arc::new(RealDisk), dir.join("g"), identity, options).unwrap().0
}

/// Entries of every kind over several segments, ten of a time; the leader's clock once goes back. All but the last five
/// entries are committed.
fn filled(dir: &Path) -> Log {
    let mut log = open(dir);
    for n in 0..100_u64 {
        let clock = if n == 50 { 3 } else { 1000 + n / 10 * 10 };
        match n % 7 {
            0 => log.append_draft(Draft::control(EntryKind::Blank, b""), 1 + n / 7, clock).unwrap(),
            1 => log.append_draft(Draft::control(EntryKind::Membership, b"members"), 1 + n / 7, clock).unwrap(),
            many => {
                let records: Vec<_> = (0..many).map(|i| vec![b'x'; (n * i % 500) as usize]).collect();
                log.append_draft(Draft::batch(&records), 1 + n / 7, clock).unwrap()
            }
        };
    }
    log.committer().commit(94).unwrap();
    log
}

fn all(reader: &LogReader) -> Vec<Record> {
    reader.records(reader.progress().first()..u64::MAX, ReadLimit::bytes(usize::MAX)).unwrap()
}

fn check_times(reader: &LogReader) {
    let records = all(reader);
    let (first, committed) = (reader.progress().first(), reader.progress().committed());
    assert!(records.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp), "timestamps never fall");
    for timestamp in (0..1110).chain([u64::MAX]) {
        let expected = records.iter().find(|record| record.timestamp >= timestamp).map(|record| record.index);
        let found = reader.index_at(timestamp).unwrap();
        assert!((first..=committed).contains(&found), "{timestamp}: {found}");
        assert_eq!(found, expected.unwrap_or(committed), "{timestamp}");
    }
}

#[test]
fn a_time_leads_to_the_first_record_of_it_or_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path());
    assert!(log.parts.segments.read().len() > 3);
    check_times(&log.reader());
    log.purge(40, 6).unwrap();
    assert!(log.reader().progress().first() > 0);
    check_times(&log.reader());
    // As it comes back from the disk, where nothing has been verified yet.
    log.closer().close().unwrap();
    drop(log);
    let log = open(dir.path());
    log.committer().commit(94).unwrap();
    check_times(&log.reader());
}

#[test]
fn an_empty_log_has_nothing_of_any_time_and_at_any_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append_draft(Draft::batch(&["not committed"]), 1, 5).unwrap();
    let reader = log.reader();
    assert_eq!([reader.index_at(0), reader.index_at(6)], [Ok(0), Ok(0)]);
    for position in [0, 100, 168, u64::MAX] {
        let nothing = ReadError::NoRecordAt { position, before: None, after: None };
        assert_eq!(reader.record_at_position(position), Err(nothing));
    }
}

fn check_positions(reader: &LogReader) {
    let records = all(reader);
    let end = reader.progress().commit_point().position;
    let mut next = records.iter().peekable();
    let mut before = None;
    for position in (0..end + 2000).chain([u64::MAX]) {
        match next.next_if(|record| record.position == position) {
            Some(record) => {
                assert_eq!(reader.record_at_position(position).as_ref(), Ok(record));
                before = Some(position);
            }
            None => {
                let after = next.peek().map(|record| record.position);
                let refused = ReadError::NoRecordAt { position, before, after };
                assert_eq!(reader.record_at_position(position), Err(refused));
            }
        }
    }
    assert!(next.peek().is_none());
}

#[test]
fn only_positions_at_which_a_committed_record_begins_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path());
    check_positions(&log.reader());
    log.purge(40, 6).unwrap();
    check_positions(&log.reader());
}

#[test]
fn a_damaged_record_is_not_served_by_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let position = all(&log.reader())[3].position;
    log.closer().close().unwrap();
    drop(log);
    let file = dir.path().join("g/00000000000000000000");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[position as usize + 4] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let log = open(dir.path());
    log.committer().commit(94).unwrap();
    let error = log.reader().record_at_position(position).unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)), "{error}");
}
