//! The entries that are not committed yet, in memory.
//!
//! Replication reads them from here: their bytes in the mapping may still be truncated, so they are never sliced
//! there. Bounded by what may be in flight.

use std::collections::VecDeque;

use crate::format::frame::Frame;

/// Consecutive entries, the newest last.
#[derive(Debug, Default)]
pub(in crate::log) struct Uncommitted {
    frames: VecDeque<Frame>,
}

impl Uncommitted {
    /// Adds the next entry.
    pub(in crate::log) fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Entry `number`, if it is here.
    pub(in crate::log) fn get(&self, number: u64) -> Option<&Frame> {
        let first = self.frames.front()?.header.number;
        self.frames.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// Forgets the entries below `number`: they are committed and lie in the mapping.
    pub(in crate::log) fn forget_below(&mut self, number: u64) {
        while self.frames.front().is_some_and(|frame| frame.header.number < number) {
            self.frames.pop_front();
        }
    }

    /// Removes the entries from `number` on.
    pub(in crate::log) fn truncate(&mut self, number: u64) {
        while self.frames.back().is_some_and(|frame| frame.header.number >= number) {
            self.frames.pop_back();
        }
    }
}
