//! The entries that are not committed yet, in memory.
//!
//! Replication reads them from here, and not as slices of the mapping, whose bytes a truncation may still overwrite.
//! The limit of appends in flight bounds their number.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::format::frame::Frame;

/// Consecutive entries, the newest last.
#[derive(Debug, Default)]
pub(in crate::log) struct Uncommitted {
    frames: Mutex<VecDeque<Frame>>,
}

impl Uncommitted {
    /// Adds the next entry.
    pub(in crate::log) fn push(&self, frame: Frame) {
        self.frames.lock().push_back(frame);
    }

    /// Entry `number`, if it is here.
    pub(in crate::log) fn get(&self, number: u64) -> Option<Frame> {
        let frames = self.frames.lock();
        let first = frames.front()?.header.number;
        frames.get(usize::try_from(number.checked_sub(first)?).ok()?).cloned()
    }

    /// Forgets the entries below `number`: they are committed, and readers take them from the mapping.
    pub(in crate::log) fn forget_below(&self, number: u64) {
        let mut frames = self.frames.lock();
        while frames.front().is_some_and(|frame| frame.header.number < number) {
            frames.pop_front();
        }
    }

    /// Removes the entries from `number` on.
    pub(in crate::log) fn truncate(&self, number: u64) {
        let mut frames = self.frames.lock();
        while frames.back().is_some_and(|frame| frame.header.number >= number) {
            frames.pop_back();
        }
    }
}
