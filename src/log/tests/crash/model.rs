//! What a log was told, what it promised, and what of that a later life must find.

use std::rc::Rc;

use crate::error::ReadError;
use crate::format::frame::Frame;
use crate::format::hard_state::HardVote;
use crate::format::segment::Cursor;
use crate::log::Log;
use crate::log::reader::LogReader;
use crate::types::ReadLimit;

/// Whether a truncation that has returned can come back after a power loss. Until the next flush pass it can.
pub(crate) const TRUNCATION_COMES_BACK: bool = false;

/// An entry as it was written.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) frame: Frame,
    pub(crate) records: Rc<Vec<String>>,
}

/// What the log held at some time.
#[derive(Clone)]
pub(crate) struct Version {
    /// Number and index of the first entry, and the chain value it continues.
    first: (u64, u64, u32),
    entries: Vec<Written>,
}

impl Version {
    fn new(next: Cursor) -> Self {
        Self { first: (next.number, next.index, next.chain), entries: Vec::new() }
    }

    /// Number of the entry after the last.
    pub(crate) fn end(&self) -> u64 {
        self.first.0 + self.entries.len() as u64
    }

    pub(crate) fn push(&mut self, entry: Written) {
        self.entries.push(entry);
    }

    pub(crate) fn truncate(&mut self, end: u64) {
        self.entries.truncate(end.saturating_sub(self.first.0) as usize);
    }

    fn get(&self, number: u64) -> Option<&Written> {
        self.entries.get(number.checked_sub(self.first.0)? as usize)
    }

    fn before(&self, number: u64) -> Option<&Written> {
        self.get(number.checked_sub(1)?)
    }

    /// Index of the next record behind the entries below `number`.
    pub(crate) fn index(&self, number: u64) -> u64 {
        self.before(number).map_or(self.first.1, |w| w.frame.header.index + u64::from(w.frame.header.records))
    }

    /// The number after the last entry whose records lie below `index`.
    pub(crate) fn number_below(&self, index: u64) -> u64 {
        let below = |w: &&Written| w.frame.header.index + u64::from(w.frame.header.records) <= index;
        let last = self.entries.iter().take_while(below).filter(|w| w.frame.header.records > 0).last();
        last.map_or(self.first.0, |w| w.frame.header.number + 1)
    }

    /// Chain value behind the entries below `number`.
    fn chain(&self, number: u64) -> u32 {
        self.before(number).map_or(self.first.2, |w| w.frame.header.chain)
    }

    /// Why `log` does not hold a prefix of this.
    fn differs(&self, log: &Log) -> Option<String> {
        let (reader, end) = (log.reader(), log.end());
        if end.number > self.end() {
            return Some(format!("{} entries, {} were written", end.number, self.end()));
        }
        if end.chain != self.chain(end.number) || end.index != self.index(end.number) {
            return Some(format!("another past behind entry {}", end.number));
        }
        let changed = |number: &u64| match (reader.frame(*number), self.get(*number)) {
            (Ok(Some(found)), Some(written)) => found.bytes != written.frame.bytes,
            _ => true,
        };
        let found = |number| reader.frame(number).map(|frame| frame.map(|frame| frame.header));
        reader.numbers().find(changed).map(|number| format!("entry {number}: {:?}", found(number)))
    }
}

/// What later lives of a log must find.
#[derive(Clone)]
pub(crate) struct Promise {
    /// The log holds one of these, or a prefix of one. The first is the present content; the others were truncated, and
    /// the entries that replaced them are not flushed yet.
    pub(crate) versions: Vec<Version>,
    /// Entries below this number must be there.
    pub(crate) durable: u64,
    /// Entries below were declared committed, here or by a leader.
    pub(crate) committed: u64,
    /// Entries below were known to be committed when the log was closed.
    pub(crate) noted: u64,
    /// The vote that must be there.
    pub(crate) vote: Option<HardVote>,
    /// A vote that may be there.
    pub(crate) voting: Option<HardVote>,
    /// The first entry of the log.
    pub(crate) first: u64,
    /// Where a purge that has not returned has it begin.
    pub(crate) purging: Option<u64>,
    /// Where a reset that has not returned has the log begin anew.
    pub(crate) resetting: Option<Cursor>,
}

impl Promise {
    /// The promise of a log that has never been opened.
    pub(crate) fn of_nothing() -> Self {
        let chain = crc32c::crc32c(b"c\0g");
        Self::beginning(Cursor { position: 0, number: 0, index: 0, term: 0, timestamp: 0, chain })
    }

    fn beginning(next: Cursor) -> Self {
        let number = next.number;
        Self {
            versions: vec![Version::new(next)],
            durable: number,
            committed: number,
            noted: number,
            vote: None,
            voting: None,
            first: number,
            purging: None,
            resetting: None,
        }
    }

    /// What is written now.
    pub(crate) fn now(&mut self) -> &mut Version {
        &mut self.versions[0]
    }

    /// All that is written is on the disk.
    pub(crate) fn synced(&mut self) {
        self.versions.truncate(1);
        self.durable = self.versions[0].end();
    }

    /// The log began anew.
    pub(crate) fn reset(&mut self, next: Cursor) {
        let (vote, voting) = (self.vote.clone(), self.voting.clone());
        *self = Self { vote, voting, ..Self::beginning(next) };
    }

    /// Checks what `log`, which has just been opened, found. Returns what it promises from now on.
    ///
    /// # Panics
    /// If it breaks a law.
    pub(crate) fn found(&self, log: &Log) -> Self {
        let (reader, progress) = (log.reader(), log.progress());
        let (end, first) = (log.end(), log.purged().map_or(0, |purged| purged.number + 1));
        let mut found = self.clone();
        match self.resetting {
            Some(next) if first == next.number => found.reset(next),
            _ => {
                assert!(first == self.first || Some(first) == self.purging, "{first} is first, {} was", self.first);
                assert!(end.number >= self.durable, "{} entries were durable, {} are left", self.durable, end.number);
            }
        }
        let why: Vec<_> = found.versions.iter().map(|version| version.differs(log)).collect();
        let Some(at) = why.iter().position(Option::is_none) else { panic!("never written so: {why:?}") };
        found.versions.swap(0, at);
        found.now().truncate(end.number);
        found.synced();
        (found.first, found.purging, found.resetting) = (first, None, None);
        found.committed = found.committed.min(end.number).max(first);
        assert_eq!(reader.numbers(), first..end.number, "entries that are there");
        assert_eq!(progress.end(), end.index, "end");
        assert_eq!(progress.durable(), end.index, "what was opened is durable");
        assert_eq!(progress.first(), found.versions[0].index(first), "first");
        found.check_committed(&reader);
        found.vote = reader.vote();
        let half_saved = self.voting.is_some() && found.vote == self.voting;
        assert!(found.vote == self.vote || half_saved, "the vote is {:?}, {:?} was saved", found.vote, self.vote);
        found.voting = None;
        found
    }

    fn check_committed(&self, reader: &LogReader) {
        let (point, now) = (reader.progress().commit_point(), &self.versions[0]);
        assert!(point.number <= self.committed, "{point:?}: {} were committed", self.committed);
        assert!(point.number >= self.noted.max(self.first), "{point:?}: {} were noted", self.noted);
        assert_eq!((point.index, point.chain), (now.index(point.number), now.chain(point.number)), "{point:?}");
        let (first, committed) = (reader.progress().first(), reader.progress().committed());
        assert_eq!(committed, point.index, "committed");
        for index in committed..=reader.progress().end() {
            let not_yet = ReadError::NotYet { index, committed };
            assert_eq!(reader.record(index), Err(not_yet.clone()), "record {index}");
            assert_eq!(reader.records(index..u64::MAX, ReadLimit::default()), Err(not_yet), "records {index}");
        }
        let written = (self.first..point.number).filter_map(|number| now.get(number));
        let bodies: Vec<_> = written.flat_map(|entry| entry.records.iter()).collect();
        assert_eq!(bodies.len() as u64, committed - first, "records that are served");
        for (index, body) in (first..).zip(bodies) {
            let served = reader.record(index).map(|record| record.body);
            assert_eq!(served.as_deref(), Ok(body.as_bytes()), "record {index}");
        }
    }
}
