//! Where each entry of a segment is.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::index::Unit;
use crate::format::segment::Cursor;

/// The entries of a segment in order, what comes after them, and which have been verified since opening.
#[derive(Debug)]
pub(crate) struct EntryIndex {
    start: Cursor,
    end: Cursor,
    entries: Vec<Unit>,
    /// One per entry that was in the file at opening. Later entries were written in this life of the node, and count as
    /// verified.
    seen: Vec<AtomicBool>,
    /// Another file has taken the segment's name: an entry that is verified there is not verified in the bytes mapped
    /// here.
    retired: bool,
}

impl EntryIndex {
    /// No entries yet. `start` is the state of the log where the segment begins; entries begin at `first_entry`.
    pub(crate) fn empty(start: Cursor, first_entry: u64) -> Self {
        let end = Cursor { position: first_entry, ..start };
        Self { start, end, entries: Vec::new(), seen: Vec::new(), retired: false }
    }

    /// Entries found in a file; `verified` says whether their chain values have been checked.
    pub(crate) fn found(start: Cursor, end: Cursor, entries: Vec<Unit>, verified: bool) -> Self {
        let seen = if verified { Vec::new() } else { entries.iter().map(|_| AtomicBool::new(false)).collect() };
        Self { start, end, entries, seen, retired: false }
    }

    /// What the next entry must continue.
    pub(crate) fn end(&self) -> Cursor {
        self.end
    }

    /// Number of the first entry.
    pub(crate) fn first_number(&self) -> u64 {
        self.start.number
    }

    /// All entries.
    pub(crate) fn as_slice(&self) -> &[Unit] {
        &self.entries
    }

    /// Where entry `number` is in the list.
    pub(crate) fn slot(&self, number: u64) -> Option<usize> {
        let slot = usize::try_from(number.checked_sub(self.start.number)?).ok()?;
        (slot < self.entries.len()).then_some(slot)
    }

    /// The entry at `slot`, which came from [`EntryIndex::slot`].
    pub(crate) fn get(&self, slot: usize) -> Unit {
        self.entries[slot]
    }

    /// Where the entry that holds record `index` is in the list. Control entries carry the index of the next record, so
    /// the last entry whose index is at most `index` holds the record.
    pub(crate) fn find_index(&self, index: u64) -> Option<usize> {
        let wanted = index.checked_sub(self.start.index)?;
        if index >= self.end.index {
            return None;
        }
        let after = self.entries.partition_point(|unit| u64::from(unit.index) <= wanted);
        after.checked_sub(1)
    }

    /// Numbers of the memberships.
    pub(crate) fn memberships(&self) -> Vec<u64> {
        let marked = self.entries.iter().enumerate().filter(|(_, unit)| unit.is_membership());
        marked.map(|(slot, _)| self.start.number + slot as u64).collect()
    }

    /// Adds the entry that `header` describes; the caller has checked that it continues [`EntryIndex::end`].
    pub(crate) fn push(&mut self, header: &EntryHeader) {
        let offset = (header.position - self.start.position) as u32;
        let index = (header.index - self.start.index) as u32;
        self.entries.push(Unit::new(offset, index, header.kind == EntryKind::Membership));
        self.end = after(header);
    }

    /// Keeps the first `slots` entries; `end` is what then comes next.
    pub(crate) fn truncate(&mut self, slots: usize, end: Cursor) {
        self.entries.truncate(slots);
        self.seen.truncate(slots);
        self.end = end;
    }

    /// Whether the entry's chain value has been checked since opening.
    pub(crate) fn is_verified(&self, slot: usize) -> bool {
        self.seen.get(slot).is_none_or(|seen| seen.load(Ordering::Relaxed))
    }

    /// From now on a reader checks the entry again before it returns it.
    pub(crate) fn clear_verified(&mut self, slot: usize) {
        // Entries that were written in this life of the node are not on the list, and come to it as verified.
        let listed = self.seen.len().max(slot + 1).min(self.entries.len());
        self.seen.resize_with(listed, || AtomicBool::new(true));
        if let Some(seen) = self.seen.get(slot) {
            seen.store(false, Ordering::Relaxed);
        }
    }

    /// Remembers that the entry's chain value has been checked.
    pub(crate) fn set_verified(&self, slot: usize) {
        if let Some(seen) = self.seen.get(slot).filter(|_| !self.retired) {
            seen.store(true, Ordering::Relaxed);
        }
    }

    /// From now on readers check an entry each time they read it.
    pub(crate) fn retire(&mut self) {
        self.seen = self.entries.iter().map(|_| AtomicBool::new(false)).collect();
        self.retired = true;
    }
}

/// What the entry after the one described by `header` must continue.
pub(crate) fn after(header: &EntryHeader) -> Cursor {
    Cursor {
        position: header.end(),
        number: header.number + 1,
        index: header.index + u64::from(header.records),
        term: header.term,
        timestamp: header.timestamp,
        chain: header.chain,
    }
}
