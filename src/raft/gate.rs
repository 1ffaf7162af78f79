//! Keeps entries away from Raft for which the log has no room: Raft cannot take a storage error and go on.

use super::config::{Runtime, TypeConfig};
use super::entry::{Content, Entry};
use super::storage::Clock;
use crate::format::entry::EntryKind;
use crate::log::reader::LogReader;
use crate::log::room::Room;

type Request<R> = openraft::raft::AppendEntriesRequest<TypeConfig<R>>;

/// Asked by the proposer on the leader and by the peer server on a follower.
#[derive(Clone)]
pub(crate) struct Gate {
    log: LogReader,
    clock: Clock,
}

impl Gate {
    pub(crate) fn new(log: LogReader, clock: Clock) -> Self {
        Self { log, clock }
    }

    /// Leader: whether a batch of `length` bytes may be proposed. `pending`: bytes that were, and have no place yet.
    pub(crate) fn propose(&self, length: usize, pending: usize) -> Room {
        self.log.room_for(length as u64, pending as u64, (self.clock)())
    }

    /// Follower: whether the entries of `request` may be handed to Raft.
    ///
    /// # Errors
    /// Why not: the disk is full.
    pub(crate) fn accept<R: Runtime>(&self, request: &Request<R>) -> Result<(), String> {
        let frame = |entry: &Entry| match &entry.content {
            Content::Stored(frame) => Some(frame.header),
            Content::New(_) | Content::Header(_) => None,
        };
        let Some(last) = request.entries.last().and_then(frame) else { return Ok(()) };
        // What is there already needs no room.
        let there = self.log.numbers().end;
        let mut new = request.entries.iter().filter_map(frame).filter(|header| header.number >= there);
        let control = new.all(|header| header.kind != EntryKind::Batch);
        self.log.room_until(last.end(), control, (self.clock)())
    }
}
