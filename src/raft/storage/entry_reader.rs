//! The log as openraft reads it.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Range, RangeBounds};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::storage::RaftLogReader;

use crate::error::Damage;
use crate::format::entry::EntryKind;
use crate::log::Health;
use crate::log::LogReader;
use crate::raft::entry::{Content, Entry};
use crate::raft::log_id::RaftVote;
use crate::raft::type_config::{Runtime, TypeConfig};
use crate::types::OpenRange;
use std::sync::Arc;

/// Most bytes of entries in one replication request, unless a single entry is larger.
const READ_BYTES: usize = 1 << 20;

/// Pause between two reads of a damaged entry, and the number of such reads, while the scrubber repairs it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const MENDING: u32 = 50;

/// The reading side; one per replication stream and one for applying.
pub(crate) struct EntryReader<R> {
    log: LogReader,
    health: Arc<Health>,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> EntryReader<R> {
    pub(super) fn new(log: LogReader, health: Arc<Health>) -> Self {
        Self { log, health, _runtime: PhantomData }
    }

    /// `range`, with the log's bounds where it has none.
    fn asked(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let (asked, there) = (OpenRange::new(range), self.log.numbers());
        asked.start.unwrap_or(there.start)..asked.end.unwrap_or(there.end)
    }

    /// The part of `range` that the log has.
    fn present(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let (asked, there) = (self.asked(range), self.log.numbers());
        asked.start.max(there.start)..asked.end.min(there.end)
    }

    /// Reads; if the entries are damaged and a scrubber repairs them, reads again: Raft ends with the first error.
    async fn sound<T>(&self, read: impl Fn(&LogReader) -> Result<T, Damage>) -> Result<T, Damage> {
        let mut rounds = MENDING;
        loop {
            match read(&self.log) {
                Err(damage) if rounds > 0 && self.health.is_mended() => {
                    if rounds == MENDING {
                        tracing::warn!(group = %self.log.group(), %damage,
                            "Raft has to read a damaged entry, and waits until the scrubber has repaired it");
                    }
                    rounds -= 1;
                    // Whether the repair succeeded, the next read shows; it also notes the damage again.
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

    /// The header of entry `number`: applying needs no more.
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
        // A purge has given up this peer, and its stream is not closed yet. The entries that are left do not continue
        // what the stream has sent. openraft takes an empty answer for a pause, and an error for the storage's end.
        if start < self.log.numbers().start {
            return Ok(Vec::new());
        }
        let mut entries = match self.entries(self.present(&(start..end)), READ_BYTES).await {
            // Better a peer that waits than the end of this node.
            Err(error) if is_damage(&error) && self.health.is_mended() => {
                let group = self.log.group();
                tracing::error!(%group, %error, "a peer is sent no entries until this damage is repaired");
                return Ok(Vec::new());
            }
            read => read?,
        };
        // A purge may have come in between.
        if entries.first().is_some_and(|first| first.number() != start) {
            return Ok(Vec::new());
        }
        // Entries of one segment only: a follower with a full disk has room for one more segment, its spare.
        let segment = |entry: &Entry| match &entry.content {
            Content::Stored(frame) => self.log.segment_of(frame.header.position),
            Content::New(_) | Content::Header(_) => 0,
        };
        if let Some(first) = entries.first().map(segment) {
            entries.truncate(entries.partition_point(|entry| segment(entry) == first));
        }
        Ok(entries)
    }

    /// openraft uses it for applying only, which needs no records: headers are enough.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // From the number that openraft asked for, not from the first that is there: a missing entry must be noticed.
        let asked = self.asked(&range);
        let end = asked.end.min(self.log.numbers().end);
        let reader = &*self;
        stream::iter(asked.start..end).then(move |number| reader.header(number))
    }
}

fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Damage>())
}
