//! Committed entries for a node whose own copy is damaged: how a peer answers, and how the node reads the answer.

use bytes::BytesMut;

use super::convert::{Malformed, bounded};
use crate::format::frame::Frame;
use crate::log::reader::LogReader;
use crate::log::repair::Supply;
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// Most bytes of entries in an answer, unless one entry alone is larger.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// Answers with committed entries only.
pub(super) fn serve(log: &LogReader, request: &pb::FetchRequest) -> Result<pb::FetchResponse, pb::Refusal> {
    let damaged = |damage| refusal(Reason::Damaged, damage, "a good entry");
    let committed = log.progress().commit_point().number;
    let (number, first) = (request.first_number, log.numbers().start);
    if number < first.min(committed) {
        return Err(refusal(Reason::Purged, format!("entry {number}"), format!("entry {first} or later")));
    }
    let most = usize::try_from(request.most_bytes).unwrap_or(usize::MAX).min(MOST_BYTES);
    let mut frames = BytesMut::new();
    for number in number..committed {
        let frame = match log.frame(number) {
            Ok(Some(frame)) => frame,
            // Retention has removed it in the meantime.
            Ok(None) => break,
            Err(damage) if frames.is_empty() => return Err(damaged(damage)),
            Err(_) => break,
        };
        if !frames.is_empty() && frames.len() + frame.bytes.len() > most {
            break;
        }
        frames.extend_from_slice(&frame.bytes);
    }
    let last = match committed.checked_sub(1) {
        Some(last) => log.entry_header(last).map_err(damaged)?.map(|header| header.term),
        None => None,
    };
    let committed_term = last.or(log.purged().map(|purged| purged.term)).unwrap_or_default();
    Ok(pb::FetchResponse { frames: frames.freeze(), committed, committed_term })
}

/// Reads an answer. Every frame is checked; the repair checks whether they continue the log.
///
/// # Errors
/// The answer is not well-formed.
pub(crate) fn to_supply(answer: pb::FetchResponse) -> Result<Supply, Malformed> {
    Ok(Supply {
        frames: Frame::parse_all(answer.frames)?,
        committed: bounded("number", answer.committed)?,
        committed_term: bounded("term", answer.committed_term)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::real::RealDisk;
    use crate::format::frame::Draft;
    use crate::log::directory::Identity;
    use crate::log::threads::{BackgroundThread, FlushThread};
    use crate::log::{Log, LogOptions};
    use crate::types::Incarnation;

    pub(in crate::peer) fn open(dir: &Path) -> Log {
        let identity = Identity {
            cluster: "c".parse().unwrap(),
            group: "g".parse().unwrap(),
            node: "n0".parse().unwrap(),
            segment_size: 1 << 20,
            incarnation: Incarnation::random(),
        };
        let scheduler = Arc::new(FlushThread::start().unwrap());
        let background = Arc::new(BackgroundThread::start().unwrap());
        let options = LogOptions { segment_size: 1 << 20, interval: None, scheduler, background };
        Log::open(Arc::new(RealDisk), dir.join("g"), identity, options).unwrap().0
    }

    /// Ten entries of about 100 KiB, of which six are committed.
    fn log(dir: &Path) -> Log {
        let mut log = open(dir);
        for _ in 0..10 {
            log.append_draft(Draft::batch(&["x".repeat(100_000)]), 3, 0).unwrap();
        }
        log.committer().commit(5).unwrap();
        log
    }

    fn fetch(log: &Log, first_number: u64, most_bytes: u64) -> Result<Supply, pb::Refusal> {
        serve(&log.reader(), &pb::FetchRequest { envelope: None, first_number, most_bytes })
            .map(|answer| to_supply(answer).unwrap())
    }

    #[test]
    fn only_committed_entries_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        for (first, expected) in [(0, 6), (4, 2), (5, 1), (6, 0), (9, 0), (u64::MAX, 0)] {
            let supply = fetch(&log, first, u64::MAX).unwrap();
            assert_eq!((supply.frames.len(), supply.committed, supply.committed_term), (expected, 6, 3), "{first}");
            assert!(supply.frames.iter().zip(first..).all(|(frame, number)| frame.header.number == number));
        }
    }

    #[test]
    fn an_answer_is_bounded_and_never_empty_for_the_size_of_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        for _ in 0..10 {
            log.append_draft(Draft::batch(&["x".repeat(300_000)]), 3, 0).unwrap();
        }
        log.committer().commit(19).unwrap();
        assert_eq!(fetch(&log, 0, 0).unwrap().frames.len(), 1);
        assert_eq!(fetch(&log, 0, 250_000).unwrap().frames.len(), 2);
        assert_eq!(fetch(&log, 10, u64::MAX).unwrap().frames.len(), 3);
    }

    #[test]
    fn what_is_gone_and_what_is_damaged_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        log.purge(3, 2).unwrap();
        let refusal = fetch(&log, 1, 1).unwrap_err();
        assert_eq!((refusal.reason(), &*refusal.expected), (Reason::Purged, "entry 3 or later"));
        assert_eq!(fetch(&log, 3, u64::MAX).unwrap().frames.len(), 3);
        for _ in 0..10 {
            log.append_draft(Draft::batch(&["x".repeat(300_000)]), 3, 0).unwrap();
        }
        log.committer().commit(19).unwrap();
        log.closer().close().unwrap();
        let position = log.reader().entry_header(4).unwrap().unwrap().position as usize;
        drop(log);
        let file = dir.path().join("g/00000000000000000000");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[position + 500] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let log = open(dir.path());
        assert_eq!(fetch(&log, 3, u64::MAX).unwrap().frames.len(), 1);
        assert_eq!(fetch(&log, 4, u64::MAX).unwrap_err().reason(), Reason::Damaged);
        assert!(!fetch(&log, 5, u64::MAX).unwrap().frames.is_empty());
    }
}
