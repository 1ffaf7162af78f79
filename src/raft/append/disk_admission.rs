//! Keeps entries away from Raft for which the log has no room: Raft cannot take a storage error and go on.

use crate::format::entry::{EntryHeader, EntryKind};
use crate::log::admission::{Admission, NoRoom};
use crate::log::{Capacity, Log, LogReader};
use crate::raft::entry::{Content, Entry};
use crate::raft::storage::timestamps::Clock;
use crate::raft::type_config::{Runtime, TypeConfig};

type Request<R> = openraft::raft::AppendEntriesRequest<TypeConfig<R>>;

/// Asked by the proposer on the leader and by the peer server on a follower.
#[derive(Clone)]
pub(crate) struct DiskAdmission {
    log: LogReader,
    capacity: Capacity,
    clock: Clock,
}

impl DiskAdmission {
    pub(crate) fn new(log: &Log, clock: Clock) -> Self {
        Self { log: log.reader(), capacity: log.capacity(), clock }
    }

    /// Leader: whether a batch of `length` bytes may be proposed. `pending`: bytes of batches
    /// that were proposed, and have no place in the log yet.
    pub(crate) fn propose(&self, length: usize, pending: usize) -> Admission {
        self.capacity.room_for(length as u64, pending as u64, (self.clock)())
    }

    /// Leader: whether a roll may be proposed that ends the segment which begins with entry `begins`.
    pub(crate) fn roll(&self, begins: u64) -> bool {
        self.capacity.can_roll(begins, (self.clock)())
    }

    /// Follower: whether the entries of `request` may be handed to Raft.
    ///
    /// # Errors
    /// Why not: the disk is full, or the process has no descriptor left.
    pub(crate) fn accept<R: Runtime>(&self, request: &Request<R>) -> Result<(), NoRoom> {
        let frame = |entry: &Entry| match &entry.content {
            Content::Stored(frame) => Some(frame.header),
            Content::New(_) | Content::Header(_) => None,
        };
        // Entries that the log holds already need no room. The log cuts off entries that conflict with the
        // request's, and writes the request's in their place.
        let mut new = request.entries.iter().filter_map(frame).skip_while(|header| self.holds(header)).peekable();
        let (Some(first), Some(last)) = (new.peek().copied(), request.entries.last().and_then(frame)) else {
            return Ok(());
        };
        let (mut control, mut rolls) = (true, false);
        for header in new {
            control &= header.kind != EntryKind::Batch;
            rolls |= header.kind == EntryKind::Roll;
        }
        if rolls {
            self.capacity.ready_for_rolls()?;
        }
        self.capacity.room_until(first.number, last.end(), control, (self.clock)())
    }

    /// Why the disk has no room for another segment, if it has none. Looks at the disk anew from time to time, also
    /// when nothing is appended.
    pub(crate) fn disk_full(&self) -> Option<String> {
        self.capacity.disk_full_now((self.clock)())
    }

    /// Whether the disk has no room for another segment, also if none has been wanted yet.
    pub(crate) fn lacks_room(&self) -> bool {
        self.capacity.lacks_room((self.clock)())
    }

    /// Follower: whether the log can begin anew behind a snapshot.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn accept_snapshot(&self) -> Result<(), NoRoom> {
        self.capacity.room_to_begin_anew()
    }

    /// Whether the log has this very entry.
    fn holds(&self, header: &EntryHeader) -> bool {
        let there = (header.number < self.log.numbers().end).then(|| self.log.entry_header(header.number));
        // A damaged entry counts as held: it is repaired, not written again.
        there.is_some_and(|there| there.map_or(true, |there| there.is_none_or(|there| there.chain == header.chain)))
    }
}
