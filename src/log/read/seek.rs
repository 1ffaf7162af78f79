//! Finding records by time and by position.

use crate::error::{Damage, ReadError};
use crate::format::entry::EntryHeader;
use crate::log::reader::LogReader;
use crate::types::Record;

impl LogReader {
    /// The smallest index such that no committed record below it has a timestamp of `timestamp` or later: the index of
    /// the first one that has, or the committed end. Never below `first`.
    ///
    /// Timestamps never fall from one entry to the next (`log/append/writer`), so it is a binary search: by segments,
    /// whose headers say the time at which they begin, then by entries.
    ///
    /// # Errors
    /// If an entry at the place found is damaged.
    pub(crate) fn index_at(&self, timestamp: u64) -> Result<u64, ReadError> {
        loop {
            let committed = self.progress().commit_point();
            let found = self.first_entry_at(timestamp, committed.number)?;
            let index = match found {
                Some(number) => match self.checked(number)? {
                    // Retention has removed the entry meanwhile.
                    None => continue,
                    Some(header) => header.index,
                },
                None => committed.index,
            };
            return Ok(index.max(self.progress().first()));
        }
    }

    /// Number of the first entry below `end` with that timestamp or a later one.
    fn first_entry_at(&self, timestamp: u64, end: u64) -> Result<Option<u64>, Damage> {
        let numbers = {
            let segments = self.parts.segments.read();
            // A segment's start has the timestamp of the last entry before it.
            let after = segments.partition_point(|segment| segment.start().timestamp < timestamp);
            match segments.get(after.saturating_sub(1)) {
                Some(segment) => segment.start().number..segment.end().number,
                None => return Ok(None),
            }
        };
        let (mut low, mut high) = (numbers.start.max(self.numbers().start), numbers.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry_header(middle)? {
                Some(header) if header.timestamp >= timestamp => high = middle,
                Some(_) => low = middle + 1,
                // Removed meanwhile, with all before it.
                None => low = self.numbers().start.max(middle + 1),
            }
        }
        Ok((low < end).then_some(low))
    }

    /// The header of an entry of which every byte has been checked.
    fn checked(&self, number: u64) -> Result<Option<EntryHeader>, ReadError> {
        Ok(self.frame(number)?.map(|frame| frame.header))
    }

    /// The committed record that begins at `position`.
    ///
    /// # Errors
    /// [`ReadError::NoRecordAt`] if none does; if it is damaged.
    pub(crate) fn record_at_position(&self, position: u64) -> Result<Record, ReadError> {
        let committed = self.progress().commit_point();
        let split = if position < committed.position { self.split_at(position)? } else { committed.index };
        // The last record that begins at the position or before it.
        let last = split.checked_sub(1).map(|index| self.record(index)).transpose();
        match last {
            Ok(Some(record)) if record.position == position => Ok(record),
            Err(error @ (ReadError::Damaged(_) | ReadError::Closed { .. })) => Err(error),
            last => {
                let before = last.ok().flatten().map(|record| record.position);
                let after = match self.record(split.max(self.progress().first())) {
                    Ok(record) => Some(record.position),
                    Err(error @ ReadError::Damaged(_)) => return Err(error),
                    Err(_) => None,
                };
                Err(ReadError::NoRecordAt { position, before, after })
            }
        }
    }

    /// Index of the first record that begins behind `position`, which lies below the commit point.
    fn split_at(&self, position: u64) -> Result<u64, ReadError> {
        let first = self.progress().first();
        let found = {
            let segments = self.parts.segments.read();
            let after = segments.partition_point(|segment| segment.position() <= position);
            let Some(segment) = after.checked_sub(1).and_then(|at| segments.get(at)) else { return Ok(first) };
            match segment.number_at(position) {
                Some(number) => number,
                // In front of the segment's first entry.
                None => return Ok(segment.start().index.max(first)),
            }
        };
        let Some(frame) = self.frame(found)? else { return Ok(first) };
        Ok(frame.records_until(position) + frame.header.index)
    }
}
