//! Whether there is room for entries: asked before Raft sees them, so that a full disk is a refusal and not a failure.
//!
//! Room is what is left of the active segment, and the spare. A little of it is kept for Raft's own entries: a ledger
//! that takes no records still elects and changes its members.

use std::io;
use std::sync::Arc;

use super::admission::{Admission, NoRoom};
use super::spare::Spare;
use super::sparse::Sparse;
use crate::disk::{is_exhausted, is_transient};
use crate::format::segment::{BLANK_HEADER, SEGMENT_HEADER};
use crate::log::files::log_files::LogFiles;
use crate::log::flusher::Flusher;
use crate::log::names;
use crate::log::segments::SegmentList;

/// Bytes kept for Raft's own entries, at most; a blank entry takes 80 of them, so this is some 800 elections.
const RESERVE: u64 = 64 << 10;

/// Says what room a log has for entries. `raft::append::DiskAdmission` holds it.
#[derive(Clone)]
pub(crate) struct Capacity {
    pub(in crate::log) files: Arc<LogFiles>,
    pub(in crate::log) segments: Arc<SegmentList>,
    pub(in crate::log) flusher: Arc<Flusher>,
    pub(in crate::log) spare: Arc<Spare>,
    pub(in crate::log) sparse: Arc<Sparse>,
}

impl Capacity {
    /// Leader: whether a batch of `length` bytes can be written behind `pending` bytes of others that have no place
    /// yet. `now` in milliseconds.
    pub(crate) fn room_for(&self, length: u64, pending: u64, now: u64) -> Admission {
        let wanted = pending + length + self.reserve() + BLANK_HEADER as u64;
        if let Err(why) = self.sparse.filled(now) {
            return if pending > 0 { Admission::Later } else { Admission::Full(why) };
        }
        let (end, active_end) = self.write_end();
        if end + wanted <= active_end {
            self.spare.retry(now);
            return Admission::Now;
        }
        // An entry that does not fit into the active segment may waste all that is left of it.
        if pending > 0 && SEGMENT_HEADER as u64 + wanted > self.files.segment_size() {
            return Admission::Later;
        }
        // If there is no segment yet, the batch may not fit into the first one either.
        let more = u64::from(active_end == 0 && self.first_segment_left() < wanted);
        match self.spare.need(now).and_then(|()| self.spare.room_for_segments(more)) {
            Ok(()) => Admission::Now,
            Err(_) if pending > 0 => Admission::Later,
            Err(why) => Admission::Full(why),
        }
    }

    /// Leader: whether a roll can end the segment that begins with entry `begins`: the segment is active, holds a
    /// record, and another segment can follow it. `now` in milliseconds.
    pub(crate) fn can_roll(&self, begins: u64, now: u64) -> bool {
        let active = self.segments.read().last().map(|active| (active.start(), active.end()));
        let holds = active.is_some_and(|(start, end)| start.number == begins && start.index < end.index);
        holds && self.sparse.filled(now).is_ok() && self.spare.need(now).is_ok() && self.ready_for_rolls().is_ok()
    }

    /// Makes sure that the directory has the version of a log with rolls. Does not look for room.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn ready_for_rolls(&self) -> Result<(), NoRoom> {
        self.raise().map_err(|error| {
            let file = self.files.directory().file(names::IDENTITY);
            let why = format!("{} cannot be made of the version that has rolls: {error}", file.display());
            NoRoom { why, process: is_exhausted(&error) }
        })
    }

    /// Follower: whether the leader's entries from number `from` up to `position` can be written. Positions are the
    /// same on all replicas, so entries under way need not be known. Entries here from `from` on are cut off first.
    /// `control`: the entries are Raft's own, for which room is kept.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_until(&self, from: u64, position: u64, control: bool, now: u64) -> Result<(), NoRoom> {
        if !control {
            self.sparse.filled(now)?;
        }
        let active_end = self.active_end_before(from);
        let reserve = if control { 0 } else { self.reserve() };
        if position + reserve + BLANK_HEADER as u64 <= active_end {
            self.spare.retry(now);
            return Ok(());
        }
        self.spare.need(now)?;
        // A leader sends the entries of one segment at a time; those before them may be on their way still.
        let behind = (position + reserve + BLANK_HEADER as u64 - active_end).div_ceil(self.files.segment_size());
        self.spare.room_for_segments(behind - 1)
    }

    /// Why the next segment cannot be made for want of room on the disk, if it cannot: appends are refused once the
    /// active one is full.
    pub(crate) fn disk_full(&self) -> Option<String> {
        let why = self.sparse.failure().or_else(|| self.spare.failure());
        why.filter(|no_room| !no_room.process).map(|no_room| no_room.why)
    }

    /// As [`Capacity::disk_full`], for a ledger that is not written to: retries what failed some time ago, and a later
    /// call tells whether that succeeded.
    pub(crate) fn disk_full_now(&self, now: u64) -> Option<String> {
        // A closed log makes no more files.
        if self.files.check().is_ok() {
            // `sparse` keeps the reason.
            let _: Result<(), NoRoom> = self.sparse.filled(now);
            self.spare.retry(now);
        }
        self.disk_full()
    }

    /// Whether there is no room for another segment. Also knows before the spare is due, while the active segment is
    /// not half full. Allocates nothing.
    pub(crate) fn lacks_room(&self, now: u64) -> bool {
        self.disk_full_now(now).is_some() || !self.spare.is_made() && self.spare.room_for_segments(1).is_err()
    }

    /// Whether this log can begin anew: its new start can be written down. Its segments make room for their successor.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_to_begin_anew(&self) -> Result<(), NoRoom> {
        self.files.ballast().secure().map_err(|error| {
            let dir = self.files.directory().path().display();
            let why = format!("where the log begins cannot be written down in {dir}: {error}");
            NoRoom { why, process: is_exhausted(&error) }
        })
    }

    fn reserve(&self) -> u64 {
        reserve(self.files.segment_size())
    }

    /// Notes in the directory, before the first roll, that rolls may be in the log. Want of room fails this call only,
    /// and the next call tries again; any other error stops the log.
    fn raise(&self) -> io::Result<()> {
        let (files, directory) = (&self.files, self.files.directory());
        if directory.is_raised() {
            return Ok(());
        }
        // Once the log is closed, its directory may belong to another log.
        let _not_closed = self.flusher.hold();
        files.check()?;
        match files.ballast().write(|| directory.raise(files.disk().as_ref())) {
            Err(error) if !is_transient(&error) => files.or_fail("raising the format version", Err(error)),
            raised => raised,
        }
    }

    /// End of the segment that entry `from` would be written to if all entries from `from` on were cut off.
    fn active_end_before(&self, from: u64) -> u64 {
        let segments = self.segments.read();
        let cut = segments.last().is_some_and(|active| from < active.end().number);
        let keep = if cut { segments.partition_point(|segment| segment.start().number < from) } else { segments.len() };
        // A log without a segment counts as one whose last segment is full.
        let begin = || self.flusher.durable_position() / self.files.segment_size() * self.files.segment_size();
        segments.get(keep.max(1) - 1).map_or_else(begin, |active| active.end_position())
    }

    /// Bytes left behind the next entry's position in the segment that the log will begin.
    fn first_segment_left(&self) -> u64 {
        let size = self.files.segment_size();
        size - self.flusher.durable_position() % size
    }

    /// Where the next entry goes, and where the active segment ends. To be read before the spare: then a roll in
    /// between makes the room look smaller, never larger.
    fn write_end(&self) -> (u64, u64) {
        let segments = self.segments.read();
        segments.last().map_or((0, 0), |active| (active.end().position, active.end_position()))
    }
}

/// Bytes that are kept for Raft's own entries in a log of segments of `size` bytes.
pub(in crate::log) fn reserve(size: u64) -> u64 {
    RESERVE.min(size / 16)
}
