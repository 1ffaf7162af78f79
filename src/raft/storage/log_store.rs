//! The log as openraft's log storage.
//!
//! To ensure correctness (openraft's contract, `RaftLogStorage`):
//! - `append` returns when the entries can be read, and calls back when they are durable;
//! - the vote is durable when `save_vote` returns;
//! - calls come one at a time; readers run beside them.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{Instant, OptionalSend, RaftTypeConfig};

use super::entry_reader::EntryReader;
use super::snapshot::InstalledStart;
use super::snapshot::membership_at;
use super::timestamps::Clock;
use super::timestamps::Timestamps;
use crate::format::batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader};
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::format::segment::Cursor;
use crate::log::{Completion, Log};
use crate::raft::append::inflight::BatchPlace;
use crate::raft::blocking::run_blocking;
use crate::raft::election::vote_saves::{ElectionBounds, VoteCollector, VoteSaves};
use crate::raft::entry::{Content, Entry, NewEntry};
use crate::raft::log_id::{LogId, RaftVote, log_id};
use crate::raft::type_config::{Runtime, TypeConfig};
use crate::types::Span;

/// The writing side.
pub(crate) struct LogStore<R> {
    log: Log,
    timestamps: Arc<Timestamps>,
    installed: InstalledStart,
    saves: VoteSaves,
    /// The bounds to compare saves of votes with, and the collector that asks the other voters; `None` in openraft's
    /// test suite.
    election: Option<(ElectionBounds, Arc<dyn VoteCollector>)>,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> LogStore<R> {
    pub(crate) fn new(log: Log, clock: Clock, installed: InstalledStart) -> Self {
        let timestamps = Arc::new(Timestamps::new::<R>(clock));
        Self { log, timestamps, installed, saves: VoteSaves::default(), election: None, _runtime: PhantomData }
    }

    /// The source of its entries' timestamps.
    pub(crate) fn timestamps(&self) -> Arc<Timestamps> {
        self.timestamps.clone()
    }

    /// Reports to `saves` how long saving votes takes, and if that is long for elections within `bounds`, has `votes`
    /// ask the other voters for their votes.
    pub(crate) fn asking(self, votes: Arc<dyn VoteCollector>, saves: VoteSaves, bounds: ElectionBounds) -> Self {
        Self { saves, election: Some((bounds, votes)), ..self }
    }

    /// Notes that saving `vote` took `took`, and has the other voters asked if elections need that.
    async fn saved_within(&self, took: Duration, vote: &RaftVote) {
        let Some((bounds, votes)) = &self.election else { return };
        let term = vote.leader_id.term;
        self.saves.took::<R>(took, term, bounds);
        if bounds.is_slow(took) {
            tracing::warn!(
                group = %self.log.identity().group,
                took = %Span(took),
                lower_election_timeout = %Span(bounds.election_timeout.0),
                "the disk is slow to save a vote, and an election takes about five such saves"
            );
        }
        if vote.committed {
            self.saves.elected();
        } else if vote.leader_id.voted_for == bounds.node
            && let Some(within) = self.saves.stands(bounds)
        {
            let log = self.log.reader();
            let last = log.last().map(|(term, number)| log_id(term, number));
            // If the membership cannot be read, only openraft asks the voters, and waits for a shorter time.
            if let Ok(Ok(members)) = run_blocking::<R, _>(move || membership_at(&log, u64::MAX)).await {
                votes.collect(vote.clone(), last, members.membership().clone(), within).await;
            }
        }
    }

    fn append_one(&mut self, entry: Entry) -> io::Result<()> {
        if entry.number() != self.log.end().number
            && self.log.purged().is_none()
            && self.log.reader().numbers().is_empty()
        {
            // Only openraft's test suite begins a log elsewhere than at 0 without a snapshot.
            let next = Cursor { number: entry.number(), ..self.log.end() };
            self.log.begin_at(next)?;
        }
        let (id, content) = (entry.id(), entry.content);
        match content {
            Content::New(new) => {
                let NewEntry { draft, inflight } = Arc::try_unwrap(new).unwrap_or_else(|shared| shared.copy());
                self.check_number(id)?;
                let now = self.timestamps.next(self.log.end().timestamp);
                let header = self.log.append_draft(draft, id.leader_id.term, now)?;
                if let Some(inflight) = inflight {
                    inflight.place(placed(&header));
                }
                Ok(())
            }
            Content::Stored(frame) => {
                let stamp = frame.header.timestamp;
                self.log.append_frame(frame)?;
                self.timestamps.heard(stamp);
                Ok(())
            }
            Content::Header(_) => Err(invalid(format!("entry {id} has no bytes to be written"))),
        }
    }

    fn check_number(&self, id: LogId) -> io::Result<()> {
        let next = self.log.end().number;
        if id.index == next { Ok(()) } else { Err(invalid(format!("entry {id} where number {next} is next"))) }
    }
}

fn placed(header: &EntryHeader) -> BatchPlace {
    let table = batch::body_length(header.records as usize, 0) - header.records as usize * batch::RECORD_HEADER;
    let first_position = header.position + (ENTRY_HEADER + table) as u64;
    BatchPlace { first_index: header.index, first_position, term: header.term }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl NewEntry {
    fn copy(&self) -> Self {
        Self { draft: Draft::clone(&self.draft), inflight: self.inflight.clone() }
    }
}

impl<R: Runtime> RaftLogStorage<TypeConfig<R>> for LogStore<R> {
    type LogReader = EntryReader<R>;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig<R>>> {
        let purged = self.log.purged().map(|purged| log_id(purged.term, purged.number));
        let last = self.log.reader().last().map(|(term, number)| log_id(term, number));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> EntryReader<R> {
        EntryReader::new(self.log.reader(), self.log.health())
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let node = Some(vote.leader_id.voted_for.clone());
        let _saving = self.saves.begin();
        let began = R::Instant::now();
        // Never an error: this semaphore is not closed.
        let place = self.log.vote_places().acquire_owned().await;
        let delay = self.log.vote_delay();
        if !delay.is_zero() {
            R::sleep(delay).await;
        }
        let save = self.log.saving(HardVote { term: vote.leader_id.term, node, granted: vote.committed });
        let saved = run_blocking::<R, _>(save).await.and_then(|saved| saved);
        if saved.is_ok() {
            drop(place);
            self.saved_within(R::Instant::now() - began, vote).await;
        }
        saved
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = <TypeConfig<R> as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        for entry in entries {
            self.append_one(entry)?;
        }
        self.log.on_durable(Completion::new(|result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate(last.map_or(0, |last| last.index + 1))
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        if id.index < self.log.end().number {
            return self.log.purge(id.leader_id.term, id.index);
        }
        if self.log.purged().is_some_and(|purged| purged.number >= id.index) {
            return Ok(());
        }
        let installed = self.installed.lock().take();
        let next = match installed {
            Some((last, next)) if last == id => next,
            // Only openraft's test suite comes here: the leader has not said where the log goes on, so the place is
            // made up. Nothing wrong can be stored: the leader's next entry would not fit it, and be refused.
            _ => Cursor { number: id.index + 1, term: id.leader_id.term, ..self.log.end() },
        };
        self.log.reset(id.leader_id.term, id.index, next)
    }
}
