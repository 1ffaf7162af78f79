//! The log as openraft's log storage.
//!
//! To ensure correctness (openraft's contract, `RaftLogStorage`):
//! - `append` returns when the entries can be read, and calls back when they are durable;
//! - the vote is durable when `save_vote` returns;
//! - calls come one at a time; readers run beside them.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{Instant, OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;

use super::state_machine::membership_at;
use super::timestamps::Timestamps;
use crate::error::Damage;
use crate::format::batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::format::segment::Cursor;
use crate::log::reader::LogReader;
use crate::log::{Completion, Health, Log};
use crate::raft::append::inflight::BatchPlace;
use crate::raft::blocking::run_blocking;
use crate::raft::election::vote_saves::{ElectionBounds, VoteCollector, VoteSaves};
use crate::raft::entry::{Content, Entry, NewEntry};
use crate::raft::type_config::{LogId, RaftVote, Runtime, TypeConfig, log_id};
use crate::types::{OpenRange, Span};

/// Milliseconds since 1970. The simulation has its own.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Where a log begins after a snapshot that was just installed: the state machine leaves it here for the purge that
/// follows.
pub(crate) type InstalledStart = Arc<Mutex<Option<(LogId, Cursor)>>>;

/// Most bytes of entries in one replication request, unless a single entry is larger.
const READ_BYTES: usize = 1 << 20;

/// How often Raft looks whether what it has to read has been repaired, and how often at most.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const MENDING: u32 = 50;

/// The writing side.
pub(crate) struct LogStore<R> {
    log: Log,
    timestamps: Arc<Timestamps>,
    installed: InstalledStart,
    saves: VoteSaves,
    /// What a save of a vote is judged by, and who asks for those of the others. Without them it is not, and nobody.
    election: Option<(ElectionBounds, Arc<dyn VoteCollector>)>,
    _runtime: PhantomData<fn() -> R>,
}

/// The reading side; one per replication stream and one for applying.
pub(crate) struct EntryReader<R> {
    log: LogReader,
    health: Arc<Health>,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> LogStore<R> {
    pub(crate) fn new(log: Log, clock: Clock, installed: InstalledStart) -> Self {
        let timestamps = Arc::new(Timestamps::new::<R>(clock));
        Self { log, timestamps, installed, saves: VoteSaves::default(), election: None, _runtime: PhantomData }
    }

    /// What time it stamps entries with.
    pub(crate) fn timestamps(&self) -> Arc<Timestamps> {
        self.timestamps.clone()
    }

    /// Has `saves` know how long votes take to be saved, and where that is long for elections within `bounds`, has
    /// `votes` ask the others for theirs.
    pub(crate) fn asking(self, votes: Arc<dyn VoteCollector>, saves: VoteSaves, bounds: ElectionBounds) -> Self {
        Self { saves, election: Some((bounds, votes)), ..self }
    }

    /// `vote` was saved, which took so long.
    async fn saved_within(&self, took: Duration, vote: &RaftVote) {
        let Some((bounds, votes)) = &self.election else { return };
        let term = vote.leader_id.term;
        self.saves.took::<R>(took, term, bounds);
        if bounds.is_slow(took) {
            tracing::warn!(
                group = %self.log.identity().group,
                took = %Span(took),
                lower_election_timeout = %Span(bounds.election_timeout.0),
                "the disk is slow to save a vote: an election takes some five such saves"
            );
        }
        if vote.committed {
            self.saves.elected();
        } else if vote.leader_id.voted_for == bounds.node
            && let Some(within) = self.saves.stands(bounds)
        {
            let log = self.log.reader();
            let last = log.last().map(|(term, number)| log_id(term, number));
            // Who cannot be read is not asked now; openraft asks them, and waits for less long.
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

fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Damage>())
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
        EntryReader { log: self.log.reader(), health: self.log.health(), _runtime: PhantomData }
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let node = Some(vote.leader_id.voted_for.clone());
        let _saving = self.saves.begin();
        let began = R::Instant::now();
        // No error: it is never closed.
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
            // Without the leader's word on where the log goes on, the place is made up, and the leader's next entry
            // will be refused for not fitting: nothing wrong can be stored. Only openraft's test suite comes here.
            _ => Cursor { number: id.index + 1, term: id.leader_id.term, ..self.log.end() },
        };
        self.log.reset(id.leader_id.term, id.index, next)
    }
}

impl<R: Runtime> EntryReader<R> {
    /// `range` with an end.
    fn asked(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let (asked, there) = (OpenRange::new(range), self.log.numbers());
        asked.start.unwrap_or(there.start)..asked.end.unwrap_or(there.end)
    }

    /// What there is of `range`.
    fn present(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let (asked, there) = (self.asked(range), self.log.numbers());
        asked.start.max(there.start)..asked.end.min(there.end)
    }

    /// Reads until what is damaged has been repaired, if anybody does that: Raft ends with the first read that fails.
    async fn sound<T>(&self, read: impl Fn(&LogReader) -> Result<T, Damage>) -> Result<T, Damage> {
        let mut rounds = MENDING;
        loop {
            match read(&self.log) {
                Err(damage) if rounds > 0 && self.health.is_mended() => {
                    if rounds == MENDING {
                        tracing::warn!(group = %self.log.group(), %damage,
                            "Raft waits for the repair of what it has to read");
                    }
                    rounds -= 1;
                    // Whether it was repaired or only may be by now: it is read again, and noted again.
                    let _: Result<(), _> = R::timeout(LOOK_AGAIN, self.health.mended()).await;
                }
                read => return read,
            }
        }
    }

    async fn entries(&self, numbers: Range<u64>, bytes: usize) -> io::Result<Vec<Entry>> {
        let frames = self.sound(|log| log.frames(numbers.clone(), bytes)).await.map_err(io::Error::other)?;
        frames.into_iter().map(|frame| Entry::stored(frame).map_err(io::Error::other)).collect()
    }

    /// Entry `number` as far as applying looks at it.
    async fn header(&self, number: u64) -> io::Result<Entry> {
        let missing = || io::Error::other(format!("entry {number} is to be applied but is not in the log"));
        let header = self.sound(|log| log.entry_header(number)).await.map_err(io::Error::other)?.ok_or_else(missing)?;
        match header.kind {
            EntryKind::Membership => {
                let frame = self.sound(|log| log.frame(number)).await.map_err(io::Error::other)?.ok_or_else(missing)?;
                Entry::stored(frame).map_err(io::Error::other)
            }
            EntryKind::Blank | EntryKind::Batch | EntryKind::Roll => Ok(Entry::header(&header)),
        }
    }
}

impl<R: Runtime> RaftLogReader<TypeConfig<R>> for EntryReader<R> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.entries(self.present(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        // Raft saves no vote without a node.
        let vote = self.log.vote().and_then(|vote| vote.node.map(|node| (vote.term, node, vote.granted)));
        Ok(vote.map(
            |(term, node, granted)| {
                if granted { RaftVote::new_committed(term, node) } else { RaftVote::new(term, node) }
            },
        ))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        // A peer was given up for a purge, and its stream is not closed yet. What is left does not continue what it was
        // sent; openraft takes nothing for a pause, and an error for the end of the storage.
        if start < self.log.numbers().start {
            return Ok(Vec::new());
        }
        let mut entries = match self.entries(self.present(&(start..end)), READ_BYTES).await {
            // A peer that waits is no reason to be the end of this node.
            Err(error) if is_damage(&error) && self.health.is_mended() => {
                tracing::error!(group = %self.log.group(), %error, "a peer gets nothing before this is repaired");
                return Ok(Vec::new());
            }
            read => read?,
        };
        // The purge may have come since.
        if entries.first().is_some_and(|first| first.number() != start) {
            return Ok(Vec::new());
        }
        // What a follower with a full disk has is room for one segment more: the spare.
        let segment = |entry: &Entry| match &entry.content {
            Content::Stored(frame) => self.log.segment_of(frame.header.position),
            Content::New(_) | Content::Header(_) => 0,
        };
        if let Some(first) = entries.first().map(segment) {
            entries.truncate(entries.partition_point(|entry| segment(entry) == first));
        }
        Ok(entries)
    }

    /// Used for applying only, which looks at no record: headers are enough.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // From the number that was asked for, not from what there is: an entry that is gone must be noticed.
        let asked = self.asked(&range);
        let end = asked.end.min(self.log.numbers().end);
        let reader = &*self;
        stream::iter(asked.start..end).then(move |number| reader.header(number))
    }
}
