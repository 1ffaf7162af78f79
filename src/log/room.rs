//! Whether there is room for entries: asked before Raft sees them, so that a full disk is a refusal and not a failure.
//!
//! Room is what is left of the active segment, and the spare. A little of it is kept for Raft's own entries: a ledger
//! that takes no records still elects and changes its members.

use super::Shared;
use super::reader::LogReader;
use crate::format::segment::{BLANK_HEADER, SEGMENT_HEADER};

/// Most bytes that are kept for Raft's own entries. A blank takes 80 of them.
const RESERVE: u64 = 64 << 10;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// It can be written.
    Enough,
    /// Perhaps, once those before it have their places.
    Later,
    /// The disk is full: why.
    None(String),
}

impl LogReader {
    /// Leader: whether a batch of `length` bytes can be written behind `pending` bytes of others that have no place
    /// yet. `now` in milliseconds.
    pub(crate) fn room_for(&self, length: u64, pending: u64, now: u64) -> Room {
        let shared = self.shared();
        let wanted = pending + length + shared.reserve() + BLANK_HEADER as u64;
        let (end, active_end) = shared.write_end();
        if end + wanted <= active_end {
            shared.want_spare_again(now);
            return Room::Enough;
        }
        // What does not fit into the active segment may waste all that is left of it.
        if pending > 0 && SEGMENT_HEADER as u64 + wanted > shared.options.segment_size {
            return Room::Later;
        }
        match shared.need_spare(now) {
            Ok(()) => Room::Enough,
            Err(_) if pending > 0 => Room::Later,
            Err(why) => Room::None(why),
        }
    }

    /// Follower: whether the leader's entries from number `from` up to `position` can be written. Positions are the
    /// same everywhere, so this needs no knowledge of what is under way. What is there from `from` on is cut off first.
    /// `control`: they are Raft's own, for which room is kept.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_until(&self, from: u64, position: u64, control: bool, now: u64) -> Result<(), String> {
        let shared = self.shared();
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

    /// Why the next segment cannot be made, if it cannot: appends are refused once the active one is full.
    pub(crate) fn disk_full(&self) -> Option<String> {
        self.shared().spare.failure()
    }
}

impl Shared {
    fn reserve(&self) -> u64 {
        RESERVE.min(self.options.segment_size / 16)
    }

    /// Where the segment ends that entry `from` would be written to if all from there on were cut off.
    fn active_end_before(&self, from: u64) -> u64 {
        let segments = self.segments();
        let cut = segments.last().is_some_and(|active| from < active.end().number);
        let keep = if cut { segments.partition_point(|segment| segment.start().number < from) } else { segments.len() };
        segments.get(keep.max(1) - 1).map_or(0, |active| active.end_position())
    }

    /// Where the next entry goes, and where the active segment ends. Asked before the spare is looked at: so a roll in
    /// between makes the room look smaller, never larger.
    fn write_end(&self) -> (u64, u64) {
        let segments = self.segments();
        segments.last().map_or((0, 0), |active| (active.end().position, active.end_position()))
    }
}
