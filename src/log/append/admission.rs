//! Whether there is room for entries: asked before Raft sees them, so that a full disk is a refusal and not a failure.
//!
//! Room is what is left of the active segment, and the spare. A little of it is kept for Raft's own entries: a ledger
//! that takes no records still elects and changes its members.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::disk::{is_exhausted, is_full};
use crate::format::segment::{BLANK_HEADER, SEGMENT_HEADER};
use crate::log::Shared;
use crate::log::names;
use crate::log::reader::LogReader;
use crate::log::spare::is_due;
use crate::segment::Segment;

/// Most bytes that are kept for Raft's own entries. A blank takes 80 of them.
const RESERVE: u64 = 64 << 10;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It can be written.
    Now,
    /// Perhaps, once those before it have their places.
    Later,
    /// It cannot.
    Full(NoRoom),
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// What there is no room for, and what the system said.
    pub(crate) why: String,
    /// What is missing is not room on the disk, but a descriptor or a memory mapping for this process.
    pub(crate) process: bool,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The segment that is written to, as long as blocks of it are not there: it is a copy that was made without those that
/// held zeros, and the disk is full.
#[derive(Default)]
pub(in crate::log) struct Sparse(Mutex<Option<Lacking>>);

struct Lacking {
    segment: Arc<Segment>,
    /// When somebody last tried.
    at: Option<u64>,
    why: NoRoom,
}

/// Why blocks of `segment` are not there.
fn lacks(segment: &Segment, error: &io::Error) -> NoRoom {
    let file = segment.path().display();
    let why = if is_full(error) {
        format!("no room for the blocks of {file}, which is a copy without them: {error}")
    } else {
        format!("blocks of {file}, which is a copy without them, cannot be allocated: {error}")
    };
    NoRoom { why, process: is_exhausted(error) }
}

impl Sparse {
    fn state(&self) -> MutexGuard<'_, Option<Lacking>> {
        self.0.lock()
    }

    /// From now on `segment` is written to. `reserve`: bytes that Raft's own entries may take although there is no
    /// room.
    ///
    /// # Errors
    /// If there is no room even for those, or the system fails.
    pub(in crate::log) fn look_at(&self, segment: &Arc<Segment>, reserve: u64) -> io::Result<()> {
        let mut state = self.state();
        *state = None;
        let Err(error) = segment.allocate() else { return Ok(()) };
        if !is_full(&error) {
            return Err(error);
        }
        segment.allocate_next(reserve + BLANK_HEADER as u64)?;
        tracing::warn!(file = %segment.path().display(), %error, "blocks of it are not on the disk, which has no room");
        *state = Some(Lacking { segment: segment.clone(), at: None, why: lacks(segment, &error) });
        Ok(())
    }

    /// Makes sure that the blocks are there, unless that was tried a moment ago.
    fn filled(&self, now: u64) -> Result<(), NoRoom> {
        let mut state = self.state();
        let Some(lacking) = &mut *state else { return Ok(()) };
        if !is_due(lacking.at, now) {
            return Err(lacking.why.clone());
        }
        match lacking.segment.allocate() {
            Ok(()) => *state = None,
            Err(error) => {
                lacking.at = Some(now);
                lacking.why = lacks(&lacking.segment, &error);
                return Err(lacking.why.clone());
            }
        }
        Ok(())
    }

    fn failure(&self) -> Option<NoRoom> {
        self.state().as_ref().map(|lacking| lacking.why.clone())
    }

    /// Nothing is written to that segment any more.
    pub(in crate::log) fn forget(&self) {
        *self.state() = None;
    }
}

impl LogReader {
    /// Leader: whether a batch of `length` bytes can be written behind `pending` bytes of others that have no place
    /// yet. `now` in milliseconds.
    pub(crate) fn room_for(&self, length: u64, pending: u64, now: u64) -> Admission {
        let shared = self.shared();
        let wanted = pending + length + shared.reserve() + BLANK_HEADER as u64;
        if let Err(why) = shared.sparse.filled(now) {
            return if pending > 0 { Admission::Later } else { Admission::Full(why) };
        }
        let (end, active_end) = shared.write_end();
        if end + wanted <= active_end {
            shared.want_spare_again(now);
            return Admission::Now;
        }
        // What does not fit into the active segment may waste all that is left of it.
        if pending > 0 && SEGMENT_HEADER as u64 + wanted > shared.options.segment_size {
            return Admission::Later;
        }
        // Without a segment the first one may have no room for it either.
        let more = u64::from(active_end == 0 && shared.first_segment_left() < wanted);
        match shared.need_spare(now).and_then(|()| shared.room_for_segments(more)) {
            Ok(()) => Admission::Now,
            Err(_) if pending > 0 => Admission::Later,
            Err(why) => Admission::Full(why),
        }
    }

    /// Leader: whether the segment that begins with entry `begins` can be ended by a roll: it is the one that is
    /// written to, holds a record, and another one can follow it. `now` in milliseconds.
    pub(crate) fn can_roll(&self, begins: u64, now: u64) -> bool {
        let shared = self.shared();
        let active = shared.segments().last().map(|active| (active.start(), active.end()));
        let holds = active.is_some_and(|(start, end)| start.number == begins && start.index < end.index);
        holds && shared.sparse.filled(now).is_ok() && shared.need_spare(now).is_ok() && self.ready_for_rolls().is_ok()
    }

    /// Makes sure that a roll may be written, room aside: the directory says that there may be one.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn ready_for_rolls(&self) -> Result<(), NoRoom> {
        let shared = self.shared();
        shared.raise().map_err(|error| {
            let file = shared.directory.file(names::IDENTITY);
            let why = format!("{} cannot be made of the version that has rolls: {error}", file.display());
            NoRoom { why, process: is_exhausted(&error) }
        })
    }

    /// Follower: whether the leader's entries from number `from` up to `position` can be written. Positions are the
    /// same everywhere, so this needs no knowledge of what is under way. What is there from `from` on is cut off first.
    /// `control`: they are Raft's own, for which room is kept.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_until(&self, from: u64, position: u64, control: bool, now: u64) -> Result<(), NoRoom> {
        let shared = self.shared();
        if !control {
            shared.sparse.filled(now)?;
        }
        let active_end = shared.active_end_before(from);
        let reserve = if control { 0 } else { shared.reserve() };
        if position + reserve + BLANK_HEADER as u64 <= active_end {
            shared.want_spare_again(now);
            return Ok(());
        }
        shared.need_spare(now)?;
        // A leader sends the entries of one segment at a time; those before them may be on their way still.
        let behind = (position + reserve + BLANK_HEADER as u64 - active_end).div_ceil(shared.options.segment_size);
        shared.room_for_segments(behind - 1)
    }

    /// Why the next segment cannot be made for want of room on the disk, if it cannot: appends are refused once the
    /// active one is full.
    pub(crate) fn disk_full(&self) -> Option<String> {
        let shared = self.shared();
        let why = shared.sparse.failure().or_else(|| shared.spare.failure());
        why.filter(|no_room| !no_room.process).map(|no_room| no_room.why)
    }

    /// As [`LogReader::disk_full`], where nothing is written that would find out: what could not be made some time ago
    /// is tried again, and a later look tells what came of it.
    pub(crate) fn disk_full_now(&self, now: u64) -> Option<String> {
        let shared = self.shared();
        // One that is closed makes no more files.
        if shared.check().is_ok() {
            // It keeps why not.
            let _: Result<(), NoRoom> = shared.sparse.filled(now);
            shared.want_spare_again(now);
        }
        self.disk_full()
    }

    /// Whether there is no room for another segment: also where none has been tried yet, for the active one is not half
    /// full. Nothing is allocated for the answer.
    pub(crate) fn lacks_room(&self, now: u64) -> bool {
        let shared = self.shared();
        self.disk_full_now(now).is_some() || !shared.spare.is_made() && shared.room_for_segments(1).is_err()
    }

    /// Whether this log can begin anew: what it begins behind can be written down. Its segments make room for the one
    /// that comes in their place.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_to_begin_anew(&self) -> Result<(), NoRoom> {
        let shared = self.shared();
        shared.secure_ballast().map_err(|error| {
            let dir = shared.directory.path().display();
            let why = format!("where the log begins cannot be written down in {dir}: {error}");
            NoRoom { why, process: is_exhausted(&error) }
        })
    }
}

impl Shared {
    pub(in crate::log) fn reserve(&self) -> u64 {
        RESERVE.min(self.options.segment_size / 16)
    }

    /// Where the segment ends that entry `from` would be written to if all from there on were cut off.
    fn active_end_before(&self, from: u64) -> u64 {
        let segments = self.segments();
        let cut = segments.last().is_some_and(|active| from < active.end().number);
        let keep = if cut { segments.partition_point(|segment| segment.start().number < from) } else { segments.len() };
        // Without a segment, as with one before the next that is full.
        let begin = || self.durable_position() / self.options.segment_size * self.options.segment_size;
        segments.get(keep.max(1) - 1).map_or_else(begin, |active| active.end_position())
    }

    /// Bytes behind the place of the next entry in the segment that is to be begun.
    fn first_segment_left(&self) -> u64 {
        let size = self.options.segment_size;
        size - self.durable_position() % size
    }

    /// Where the next entry goes, and where the active segment ends. Asked before the spare is looked at: so a roll in
    /// between makes the room look smaller, never larger.
    fn write_end(&self) -> (u64, u64) {
        let segments = self.segments();
        segments.last().map_or((0, 0), |active| (active.end().position, active.end_position()))
    }
}
