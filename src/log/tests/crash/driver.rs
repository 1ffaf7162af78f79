//! One life of a log, and what it promises while it lives.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::model::{Promise, TRUNCATION_COMES_BACK, Written};
use crate::disk::sim::{Rng, SimDisk};
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER};
use crate::log::Completion;
use crate::log::Log;
use crate::log::tests::kit::{self, Later};

/// Two pages: a log of a few dozen entries has several segments.
pub(crate) const SIZE: u64 = 8192;

/// How a log is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// `None`: a completion means durable.
    pub(crate) interval: Option<Duration>,
    /// File work is done at once, and not when the driver says so.
    pub(crate) at_once: bool,
}

/// Why a life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The power is gone, maybe in the middle of something.
    PowerLoss,
    /// A call failed as planned; the log takes nothing more.
    Failure,
}

pub(crate) type Step = Result<(), End>;

/// Completions of a life.
#[derive(Default)]
struct Acks {
    next: u64,
    /// Completions that wait; each is for an entry and all before it.
    waiting: BTreeMap<u64, u64>,
    /// Entries below were said to be durable.
    acked: u64,
    /// Said to be durable or written although a call had failed.
    wrong: bool,
}

/// A log that is open.
pub(crate) struct Driver {
    pub(crate) disk: SimDisk,
    pub(crate) promise: Promise,
    pub(crate) mode: Mode,
    /// None after it was closed and did not open again.
    log: Option<Log>,
    later: Arc<Later>,
    acks: Arc<Mutex<Acks>>,
    term: u64,
    /// Failures before this life.
    failures: u64,
}

/// Else the next entry would have another position than on replicas that have not rolled.
pub(crate) fn assert_no_roll_without_its_entry(log: &Log) {
    let end = log.end();
    if let Some(last) = end.number.checked_sub(1).and_then(|last| log.reader().entry_header(last).unwrap()) {
        assert_eq!(end.position, last.end(), "rolled behind entry {} without the next one", last.number);
    }
}

/// Else a program that knows no rolls would take the roll for a torn tail.
fn assert_no_roll_in_version_1(log: &Log) {
    let reader = log.reader();
    let is_roll = |number| reader.entry_header(number).unwrap().is_some_and(|header| header.kind == EntryKind::Roll);
    assert!(reader.format_version() == 2 || !reader.numbers().any(is_roll), "a roll in a directory of version 1");
}

impl Driver {
    /// Opens the log of `disk` and checks that it keeps `promise`.
    ///
    /// # Panics
    /// If it does not, or if it refuses and the disk is not the reason.
    pub(crate) fn open(disk: &SimDisk, promise: &Promise, mode: Mode) -> Result<Self, End> {
        let (later, failures, fired) = (Later::new(disk, mode.at_once), disk.failures(), disk.fired());
        let opened = kit::open(disk, SIZE, mode.interval, &later);
        if !disk.is_on() {
            return Err(End::PowerLoss);
        }
        let log = match opened {
            Ok(log) => log,
            Err(_) if disk.fired() > fired => return Err(End::Failure),
            Err(error) => panic!("refused to open: {error}"),
        };
        let promise = disk.undisturbed(|| promise.found(&log));
        disk.undisturbed(|| assert_no_roll_without_its_entry(&log));
        disk.undisturbed(|| assert_no_roll_in_version_1(&log));
        let term = log.end().term.max(1);
        let (disk, acks) = (disk.clone(), Arc::default());
        Ok(Self { disk, promise, mode, log: Some(log), later, acks, term, failures })
    }

    /// The life ends. What it promised stays.
    pub(crate) fn end(mut self) -> (SimDisk, Promise) {
        self.remember_acks();
        self.later.forget();
        (self.disk, self.promise)
    }

    fn remember_acks(&mut self) {
        let acks = self.acks.lock();
        assert!(!acks.wrong, "a completion said Ok after a failure");
        let said = self.log.as_ref().map_or(0, |log| log.progress().durable());
        let said = self.promise.versions[0].number_below(said);
        self.promise.durable = self.promise.durable.max(acks.acked).max(said);
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("an open log")
    }

    /// Entries there are.
    pub(crate) fn written(&mut self) -> u64 {
        self.written_to().number
    }

    /// What comes behind the last one.
    pub(crate) fn written_to(&mut self) -> Cursor {
        self.log().end()
    }

    /// Appends an entry as a leader. Without records it is a control entry.
    pub(crate) fn append(&mut self, records: Vec<String>) -> Step {
        self.append_draft(draft(&records), records)
    }

    /// Ends the segment as a leader.
    pub(crate) fn roll(&mut self) -> Step {
        self.append_draft(Draft::control(EntryKind::Roll, b""), Vec::new())
    }

    fn append_draft(&mut self, draft: Draft, records: Vec<String>) -> Step {
        let term = self.term;
        let appended = self.log().append_draft(draft, term, 1000);
        self.appended(appended, records)
    }

    /// Appends an entry as a follower, in which the leader says that entries below `committed` are.
    pub(crate) fn append_frame(&mut self, records: Vec<String>, committed: u64) -> Step {
        self.append_sealed(draft(&records), records, committed)
    }

    /// Ends the segment as a follower.
    pub(crate) fn roll_frame(&mut self, committed: u64) -> Step {
        self.append_sealed(Draft::control(EntryKind::Roll, b""), Vec::new(), committed)
    }

    fn append_sealed(&mut self, draft: Draft, records: Vec<String>, committed: u64) -> Step {
        let end = self.log().end();
        let stop = end.position / SIZE * SIZE + SIZE;
        let fits = match draft.kind {
            EntryKind::Roll => end.position % SIZE == SEGMENT_HEADER as u64,
            _ => end.position + (draft.length() + BLANK_HEADER) as u64 <= stop,
        };
        let header = EntryHeader {
            position: if fits { end.position } else { stop + SEGMENT_HEADER as u64 },
            number: end.number,
            term: self.term,
            index: end.index,
            committed: self.promise.now().index(committed),
            timestamp: 2000,
            records: draft.records,
            kind: draft.kind,
            body: draft.body_length(),
            previous: end.chain,
            chain: 0,
        };
        self.promise.committed = self.promise.committed.max(committed);
        let frame = draft.seal(header);
        let appended = self.log().append_frame(frame.clone()).map(|()| frame.header);
        self.appended(appended, records)
    }

    fn appended(&mut self, appended: io::Result<EntryHeader>, records: Vec<String>) -> Step {
        if let Ok(header) = &appended {
            // Also when the power has gone since: the write came before.
            let frame = self.log().reader().frame(header.number).unwrap().unwrap();
            self.promise.now().push(Written { frame, records: Rc::new(records) });
        }
        self.settle(appended).map(drop)
    }

    /// Asks to be told when all that is written is durable.
    pub(crate) fn on_durable(&mut self) -> Step {
        let (acks, disk, later) = (self.acks.clone(), self.disk.clone(), self.later.clone());
        let (upto, failures, sync) = (self.written(), self.failures, self.mode.interval.is_none());
        let id = {
            let mut acks = acks.lock();
            acks.next += 1;
            let id = acks.next;
            acks.waiting.insert(id, upto);
            id
        };
        self.log().on_durable(Completion::new(move |result| {
            let mut acks = acks.lock();
            let Some(upto) = acks.waiting.remove(&id) else { return };
            if result.is_ok() && disk.is_on() {
                acks.wrong |= disk.failures() - failures > later.failures();
                acks.acked = if sync { acks.acked.max(upto) } else { acks.acked };
            }
        }));
        if self.mode.interval.is_some() {
            assert!(!self.acks.lock().waiting.contains_key(&id), "with an interval, written is enough");
        }
        self.settle(Ok(()))
    }

    /// Runs the flush pass that is due.
    pub(crate) fn flush(&mut self) -> Step {
        let ran = self.later.flush();
        self.remember_acks();
        self.settle(Ok(()))?;
        if ran {
            self.promise.synced();
            let (durable, end) = (self.log().progress().durable(), self.log().end().index);
            assert_eq!(durable, end, "durable after a pass");
            let acks = self.acks.lock();
            let waiting = acks.waiting.values().copied().max().unwrap_or(0);
            assert!(self.mode.interval.is_some() || acks.acked >= waiting, "the pass was over and told nobody");
        }
        Ok(())
    }

    /// Does the queued file work.
    pub(crate) fn work(&mut self) -> Step {
        self.later.work();
        self.settle(Ok(()))
    }

    /// Declares the entries below `end` committed.
    pub(crate) fn commit(&mut self, end: u64) -> Step {
        if end > self.promise.first {
            self.promise.committed = self.promise.committed.max(end);
            let (disk, committer) = (self.disk.clone(), self.log().committer());
            let committed = disk.undisturbed(|| committer.commit(end - 1));
            if !disk.is_on() {
                return Err(End::PowerLoss);
            }
            committed.unwrap();
            assert_eq!(self.log().progress().commit_point().number, self.promise.committed, "committed");
        }
        self.settle(Ok(()))
    }

    /// Removes the entries from `from` on, for a leader of the next term.
    pub(crate) fn truncate(&mut self, from: u64) -> Step {
        self.remember_acks();
        let before = self.promise.now().clone();
        self.promise.now().truncate(from);
        self.promise.versions.push(before);
        self.promise.durable = self.promise.durable.min(from);
        {
            let mut acks = self.acks.lock();
            acks.acked = acks.acked.min(from);
            acks.waiting.values_mut().for_each(|upto| *upto = (*upto).min(from));
        }
        let truncated = self.log().truncate(from);
        self.settle(truncated)?;
        if !TRUNCATION_COMES_BACK {
            self.promise.versions.truncate(1);
        }
        self.term += 1;
        assert_eq!(self.written(), from, "end after a truncation");
        Ok(())
    }

    /// Removes the entries below `first`.
    pub(crate) fn purge(&mut self, first: u64) -> Step {
        self.promise.committed = self.promise.committed.max(first);
        self.promise.purging = Some(first);
        let term = self.term;
        let purged = self.log().purge(term, first - 1);
        self.settle(purged)?;
        (self.promise.first, self.promise.purging) = (first, None);
        Ok(())
    }

    /// Begins anew at `next`.
    pub(crate) fn reset(&mut self, next: Cursor) -> Step {
        self.remember_acks();
        self.promise.resetting = Some(next);
        let reset = self.log().reset(next.term, next.number - 1, next);
        self.settle(reset)?;
        self.promise.reset(next);
        self.acks = Arc::default();
        self.term = self.term.max(next.term);
        Ok(())
    }

    pub(crate) fn vote(&mut self, granted: bool) -> Step {
        let newest = self.promise.vote.as_ref().map_or(0, |vote| vote.term).max(self.term);
        let term = if granted { newest } else { newest + 1 };
        let vote = HardVote { term, node: Some("n1".parse().unwrap()), granted };
        self.promise.voting = Some(vote.clone());
        let saved = self.log().save_vote(vote);
        self.settle(saved)?;
        self.promise.vote = self.promise.voting.take();
        Ok(())
    }

    /// Ends the life properly.
    pub(crate) fn close(&mut self) -> Step {
        self.later.work_at_once();
        let closed = self.log().closer().close();
        self.remember_acks();
        self.settle(closed)?;
        self.promise.synced();
        self.promise.noted = self.log().progress().commit_point().number;
        Ok(())
    }

    /// Ends the life properly and begins the next one on the same machine.
    pub(crate) fn reopen(&mut self) -> Step {
        self.close()?;
        self.later.forget();
        self.log = None;
        let next = Self::open(&self.disk, &self.promise, self.mode)?;
        *self = next;
        Ok(())
    }

    /// The system writes back what it likes.
    pub(crate) fn write_back(&mut self, rng: &mut Rng) -> Step {
        self.disk.write_back(rng);
        self.settle(Ok(()))
    }

    /// Whether the life goes on after a call with this result.
    fn settle<T>(&mut self, result: io::Result<T>) -> Result<T, End> {
        if !self.disk.is_on() {
            return Err(End::PowerLoss);
        }
        let harmed = self.disk.failures() - self.failures > self.later.failures();
        match result {
            // Nothing has changed, and it may be tried again.
            Err(error) if !harmed && error.kind() == io::ErrorKind::StorageFull => Err(End::Failure),
            Err(error) if !harmed => panic!("refused, but no call had failed: {error}"),
            Ok(value) if !harmed => {
                let progress = self.log().progress();
                let (first, committed, end) = (progress.first(), progress.committed(), progress.end());
                assert!(first <= committed && committed <= end && progress.durable() <= end, "order");
                Ok(value)
            }
            _ => {
                self.check_stopped();
                Err(End::Failure)
            }
        }
    }

    /// The first failure sticks.
    fn check_stopped(&mut self) {
        let failure = self.log().reader().failure().cloned();
        let failure = failure.expect("a call has failed: the log must stop");
        let reason = failure.reason();
        // Half a commit point may have been written over the noted one.
        self.promise.noted = 0;
        self.disk.mend();
        let draft = Draft::batch(&["after a failure"]);
        let term = self.term;
        assert_eq!(self.log().append_draft(draft, term, 0).unwrap_err().to_string(), reason);
        let vote = HardVote { term: u64::MAX, node: None, granted: false };
        assert_eq!(self.log().save_vote(vote).unwrap_err().to_string(), reason);
        let told = Arc::new(Mutex::new(None));
        let tell = told.clone();
        self.log().on_durable(Completion::new(move |result| *tell.lock() = Some(result.is_ok())));
        self.later.flush();
        assert_eq!(*told.lock(), Some(false), "a completion after a failure");
        self.remember_acks();
        self.later.work_at_once();
        assert_eq!(self.log().closer().close().unwrap_err().to_string(), reason);
        self.remember_acks();
    }
}

fn draft(records: &[String]) -> Draft {
    if records.is_empty() { Draft::control(EntryKind::Blank, b"") } else { Draft::batch(records) }
}
