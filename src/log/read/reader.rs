//! Reading entries and records, from any thread.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use tokio::sync::watch;

use crate::error::{Damage, ReadError};
use crate::format::batch::{Batch, RECORD_HEADER};
use crate::format::entry::{ENTRY_HEADER, EntryHeader};
use crate::format::frame::Frame;
use crate::format::hard_state::{HardVote, LogPoint};
use crate::format::segment::Cursor;
use crate::log::Parts;
use crate::log::failure::Failure;
use crate::log::progress::Progress;
use crate::log::segments::{of_index, of_number};
use crate::log::start_file::{PurgePoint, StartPoint};
use crate::segment::{Segment, after};
use crate::types::{Group, ReadLimit, Record};

/// Reads a log. Cheap to clone, never blocks the writer for longer than a lookup.
#[derive(Clone)]
pub(crate) struct LogReader {
    pub(in crate::log) parts: Arc<Parts>,
}

impl LogReader {
    pub(in crate::log) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    /// The ledger that the log belongs to.
    pub(crate) fn group(&self) -> &Group {
        self.parts.files.group()
    }

    /// What an ack of this log means, as the configuration writes it: `sync`, or `interval:10ms`.
    pub(crate) fn durability(&self) -> String {
        match self.parts.files.options().interval {
            None => "sync".to_owned(),
            Some(every) => format!("interval:{every:?}"),
        }
    }

    /// Which call has been under way for `stall` or longer because the disk hangs, in words; and for how long.
    pub(crate) fn hangs(&self, stall: Duration) -> Option<(Duration, String)> {
        self.parts.files.hangs(stall)
    }

    /// First, committed, durable, end.
    pub(crate) fn progress(&self) -> &Progress {
        &self.parts.progress
    }

    /// A receiver that learns of every move of the commit point.
    pub(crate) fn watch_committed(&self) -> watch::Receiver<LogPoint> {
        self.parts.progress.watch_committed()
    }

    /// Version of the format that the directory is of.
    pub(crate) fn format_version(&self) -> u32 {
        self.parts.files.directory().version()
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.parts.files.failure()
    }

    /// The vote, as last saved.
    pub(crate) fn vote(&self) -> Option<HardVote> {
        self.parts.flusher.hard_state().vote()
    }

    /// Where the log begins.
    pub(crate) fn start_point(&self) -> StartPoint {
        self.parts.start.point()
    }

    /// The last purged entry, if any was purged.
    pub(crate) fn purged(&self) -> Option<PurgePoint> {
        self.parts.start.purged()
    }

    /// Numbers of the stored entries, without the purged ones.
    pub(crate) fn numbers(&self) -> Range<u64> {
        let first = self.parts.start.first_number();
        let segments = self.parts.segments.read();
        let stored = segments.first().map_or(first, |segment| segment.start().number);
        let end = segments.last().map_or(first, |segment| segment.end().number);
        first.max(stored).min(end)..end
    }

    /// Term and number of the last entry, stored or purged; `None`: there never was one.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        let first = self.parts.start.first_number();
        let end = self.parts.segments.read().last().map(|segment| segment.end());
        match end.filter(|end| end.number > first) {
            Some(end) => Some((end.term, end.number - 1)),
            None => self.purged().map(|purged| (purged.term, purged.number)),
        }
    }

    /// Where the segment with `position` begins.
    pub(crate) fn segment_of(&self, position: u64) -> u64 {
        let size = self.parts.files.options().segment_size;
        position / size * size
    }

    /// The header of entry `number`; `None` if the log has no such entry.
    ///
    /// # Errors
    /// If the header is damaged.
    pub(crate) fn entry_header(&self, number: u64) -> Result<Option<EntryHeader>, Damage> {
        match self.parts.uncommitted.get(number) {
            Some(frame) => Ok(Some(frame.header)),
            None => self.look(&|segments| of_number(segments, number), &|segment| segment.entry_header(number)),
        }
    }

    /// Entry `number`, verified; `None` if the log has no such entry.
    ///
    /// # Errors
    /// If the entry is damaged.
    pub(crate) fn frame(&self, number: u64) -> Result<Option<Frame>, Damage> {
        match self.parts.uncommitted.get(number) {
            Some(frame) => Ok(Some(frame)),
            None => self.look(&|segments| of_number(segments, number), &|segment| segment.frame(number)),
        }
    }

    /// What `look` finds in the segment that `choose` finds. Holds no lock of the list during `look`, which may wait
    /// for the disk. Notes damage, unless the segment was removed or replaced meanwhile: then chooses again.
    pub(in crate::log) fn look<T>(
        &self,
        choose: &Choose,
        look: &dyn Fn(&Segment) -> Result<Option<T>, Damage>,
    ) -> Result<Option<T>, Damage> {
        let Parts { segments, health, .. } = &*self.parts;
        loop {
            let Some(segment) = choose(&segments.read()).cloned() else { return Ok(None) };
            match look(&segment) {
                Err(damage) if segments.has(&segment) => {
                    health.note_damage(&damage, &segment);
                    return Err(damage);
                }
                Err(_) => {}
                found => return found,
            }
        }
    }

    /// Consecutive entries of `numbers`, until about `bytes`; at least one if the first is there.
    ///
    /// # Errors
    /// If one is damaged.
    pub(crate) fn frames(&self, numbers: Range<u64>, bytes: usize) -> Result<Vec<Frame>, Damage> {
        let (mut frames, mut taken): (Vec<Frame>, _) = (Vec::new(), 0);
        for number in numbers {
            let Some(frame) = self.frame(number)? else { break };
            // Between two reads the writer may have replaced the uncommitted entries.
            if frames.last().is_some_and(|last| last.header.chain != frame.header.previous) {
                break;
            }
            if taken > 0 && taken + frame.bytes.len() > bytes {
                break;
            }
            taken += frame.bytes.len();
            frames.push(frame);
        }
        Ok(frames)
    }

    /// What the entry after `number` continues; `None` if `number` is not there. If that entry is committed, at its
    /// real position, perhaps behind a roll; else directly behind `number`: a replacement may be shorter and not roll.
    ///
    /// # Errors
    /// If an entry is damaged.
    pub(crate) fn cursor_after(&self, number: u64) -> Result<Option<Cursor>, Damage> {
        let Some(last) = self.entry_header(number)? else { return Ok(None) };
        let end = after(&last);
        let committed = number + 1 < self.progress().commit_point().number;
        let next = if committed { self.entry_header(number + 1)? } else { None };
        let position = next.map_or(end.position, |next| next.position);
        Ok(Some(Cursor { position, ..end }))
    }

    /// The damage found last, in a sealed segment or not.
    pub(crate) fn newest_damage(&self) -> Option<Damage> {
        self.parts.health.newest_damage()
    }

    /// Has the entries `numbers` checked again, because a peer refuses one of them as damaged.
    pub(crate) fn doubt(&self, numbers: Range<u64>) {
        self.parts.health.doubt(numbers);
    }

    /// Numbers of the memberships, ascending.
    pub(crate) fn memberships(&self) -> Vec<u64> {
        self.parts.segments.read().iter().flat_map(|segment| segment.memberships()).collect()
    }

    /// The committed record `index`.
    ///
    /// # Errors
    /// Not committed yet, removed, or damaged.
    pub(crate) fn record(&self, index: u64) -> Result<Record, ReadError> {
        let (frame, slot) = self.frame_of_index(index)?;
        only_record(frame, slot).ok_or_else(|| self.gone(index))
    }

    /// Committed records from `indexes`, until the limit; at least one if the first is there.
    ///
    /// # Errors
    /// As [`LogReader::record`], for the first record. An error of a later one only ends the result before it.
    pub(crate) fn records(&self, indexes: Range<u64>, limit: ReadLimit) -> Result<Vec<Record>, ReadError> {
        let end = indexes.end.min(self.readable());
        let (mut records, mut bytes, mut index) = (Vec::new(), 0, indexes.start);
        while index < end && records.len() < limit.records {
            let (frame, mut slot) = match self.frame_of_index(index) {
                Ok(found) => found,
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
            };
            let from = index;
            while let Some(record) = record(&frame, slot) {
                if record.index >= end || records.len() >= limit.records {
                    return Ok(records);
                }
                bytes += record.body.len();
                (index, slot) = (record.index + 1, slot + 1);
                records.push(record);
                if bytes >= limit.bytes {
                    return Ok(records);
                }
            }
            if index == from {
                return Err(self.gone(index));
            }
        }
        if records.is_empty() && limit.records > 0 && indexes.start < indexes.end {
            // There is no record: the lookup says why.
            self.frame_of_index(indexes.start)?;
        }
        Ok(records)
    }

    /// Index after the last record that a reader may see.
    fn readable(&self) -> u64 {
        self.progress().committed()
    }

    fn frame_of_index(&self, index: u64) -> Result<(Frame, usize), ReadError> {
        let (first, committed) = (self.progress().first(), self.readable());
        if index >= committed {
            return Err(ReadError::NotYet { index, committed });
        }
        if index < first {
            return Err(ReadError::Removed { index, first });
        }
        let found = self.look(&|segments| of_index(segments, index), &|segment| segment.frame_of_index(index))?;
        found.ok_or_else(|| self.gone(index))
    }

    /// Retention removed record `index` between two lookups: it is committed, at or above `first`, and not found.
    fn gone(&self, index: u64) -> ReadError {
        ReadError::Removed { index, first: self.progress().first().max(index + 1) }
    }
}

/// Finds the segment to read.
type Choose<'a> = dyn Fn(&[Arc<Segment>]) -> Option<&Arc<Segment>> + 'a;

/// Record number `slot` of a verified batch.
fn record(frame: &Frame, slot: usize) -> Option<Record> {
    only_record(frame.clone(), slot)
}

/// As [`record`], for callers who want no other record of the batch.
fn only_record(frame: Frame, slot: usize) -> Option<Record> {
    let Frame { header, mut bytes } = frame;
    let range = Batch::trusted(&bytes[ENTRY_HEADER..], header.records as usize).locate(slot)?;
    let start = ENTRY_HEADER + range.start;
    bytes.truncate(ENTRY_HEADER + range.end);
    bytes.advance(start + RECORD_HEADER);
    Some(Record {
        index: header.index + slot as u64,
        position: header.position + start as u64,
        term: header.term,
        timestamp: header.timestamp,
        body: bytes,
    })
}
