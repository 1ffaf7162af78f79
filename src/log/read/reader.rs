//! Reading entries and records, from any thread.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use tokio::sync::watch;

use crate::error::{Damage, ReadError};
use crate::format::batch::{Batch, RECORD_HEADER};
use crate::format::entry::{ENTRY_HEADER, EntryHeader};
use crate::format::frame::Frame;
use crate::format::hard_state::{HardVote, LogPoint};
use crate::format::segment::Cursor;
use crate::log::Shared;
use crate::log::failure::Failure;
use crate::log::progress::Progress;
use crate::log::start_file::{PurgePoint, StartPoint};
use crate::segment::{Segment, after};
use crate::types::{Group, ReadLimit, Record};

/// Reads a log. Cheap to clone, never blocks the writer for longer than a lookup.
#[derive(Clone)]
pub(crate) struct LogReader {
    pub(in crate::log) shared: Arc<Shared>,
}

impl LogReader {
    pub(in crate::log) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The ledger whose log it is.
    pub(crate) fn group(&self) -> &Group {
        self.shared.group()
    }

    pub(in crate::log) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What an ack of this log means, as it is written: `sync`, or `interval:10ms`.
    pub(crate) fn durability(&self) -> String {
        match self.shared.options.interval {
            None => "sync".to_owned(),
            Some(every) => format!("interval:{every:?}"),
        }
    }

    /// What has not ended for `stall` or longer because the disk does not get on with it, in words; and for how long.
    pub(crate) fn hangs(&self, stall: Duration) -> Option<(Duration, String)> {
        let Shared { syncing, writing, .. } = &*self.shared;
        let under_way = [(syncing.under_way(), "sync"), (writing.under_way(), "write")];
        let stuck = under_way.into_iter().filter_map(|(since, what)| Some((since?, what)));
        let (since, what) = stuck.max().filter(|(since, _)| *since >= stall)?;
        Some((since, format!("a {what} has not ended for {} s", since.as_secs())))
    }

    /// First, committed, durable, end.
    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Told of every move of the commit point.
    pub(crate) fn watch_committed(&self) -> watch::Receiver<LogPoint> {
        self.shared.progress.watch_committed()
    }

    /// Version of the format that the directory is of.
    pub(crate) fn format_version(&self) -> u32 {
        self.shared.directory.version()
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.shared.failure()
    }

    /// The vote, as last saved.
    pub(crate) fn vote(&self) -> Option<HardVote> {
        self.shared.hard_state().vote()
    }

    /// Where the log begins.
    pub(crate) fn start_point(&self) -> StartPoint {
        self.shared.start_point().clone()
    }

    /// The last entry that is gone, if any is.
    pub(crate) fn purged(&self) -> Option<PurgePoint> {
        self.shared.start_point().purged
    }

    /// Keeps Raft's metadata snapshot. Durable on return.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn save_snapshot(&self, snapshot: Vec<u8>) -> std::io::Result<()> {
        self.shared.save_snapshot(snapshot)
    }

    /// Numbers of the entries there are, purged ones excluded.
    pub(crate) fn numbers(&self) -> Range<u64> {
        let first = self.shared.first_number.load(Ordering::Acquire);
        let segments = self.shared.segments();
        let stored = segments.first().map_or(first, |segment| segment.start().number);
        let end = segments.last().map_or(first, |segment| segment.end().number);
        first.max(stored).min(end)..end
    }

    /// Term and number of the last entry, be it stored or gone; `None`: there never was one.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        let first = self.shared.first_number.load(Ordering::Acquire);
        let end = self.shared.segments().last().map(|segment| segment.end());
        match end.filter(|end| end.number > first) {
            Some(end) => Some((end.term, end.number - 1)),
            None => self.purged().map(|purged| (purged.term, purged.number)),
        }
    }

    /// Where the segment with `position` begins.
    pub(crate) fn segment_of(&self, position: u64) -> u64 {
        let size = self.shared.options.segment_size;
        position / size * size
    }

    /// The header of entry `number`; `None` if it is not there.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn entry_header(&self, number: u64) -> Result<Option<EntryHeader>, Damage> {
        self.shared.entry_header(number)
    }

    /// Entry `number`, verified; `None` if it is not there.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn frame(&self, number: u64) -> Result<Option<Frame>, Damage> {
        let in_tail = self.shared.tail().get(number).cloned();
        if in_tail.is_some() {
            return Ok(in_tail);
        }
        self.shared.look(&|segments| segment_of_number(segments, number), &|segment| segment.frame(number))
    }

    /// Consecutive entries of `numbers`, until about `bytes`; at least one if the first is there.
    ///
    /// # Errors
    /// If one is damaged.
    pub(crate) fn frames(&self, numbers: Range<u64>, bytes: usize) -> Result<Vec<Frame>, Damage> {
        let (mut frames, mut taken): (Vec<Frame>, _) = (Vec::new(), 0);
        for number in numbers {
            let Some(frame) = self.frame(number)? else { break };
            // Between two looks the tail may have been truncated and written anew.
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

    /// What the entry after `number` continues, at its place if it is committed, else right behind: what comes in its
    /// place may be shorter and need no roll. `None` if `number` is not there.
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

    /// Declares entry `number` and all before it committed.
    ///
    /// # Errors
    /// If the entry is damaged.
    pub(crate) fn commit(&self, number: u64) -> Result<(), Damage> {
        self.shared.commit(number)
    }

    /// Makes everything written durable, remembers the commit point and lets others have the directory. Blocks until
    /// the log's file work is done. The log takes no write after it.
    ///
    /// # Errors
    /// If a sync fails or one failed before.
    pub(crate) fn close(&self) -> std::io::Result<()> {
        self.shared.close()
    }

    /// The log takes no write from now on, and syncs nothing: as if its process were killed. Its directory is still
    /// its own then, for who still writes; [`LogReader::let_go`] comes after.
    pub(crate) fn abandon(&self) {
        self.shared.abandon();
    }

    /// Lets others have the directory of a log that was abandoned. Blocks until the log's file work is done.
    pub(crate) fn let_go(&self) {
        self.shared.end();
    }

    /// Numbers of the memberships, ascending.
    pub(crate) fn memberships(&self) -> Vec<u64> {
        self.shared.segments().iter().flat_map(|segment| segment.memberships()).collect()
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
    /// As [`LogReader::record`], for the first; what follows it simply ends earlier.
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
            // Nothing there: say why.
            self.frame_of_index(indexes.start)?;
        }
        Ok(records)
    }

    /// Behind the last record that a reader may see.
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
        let found = self
            .shared
            .look(&|segments| segment_of_index(segments, index), &|segment| segment.frame_of_index(index))?;
        found.ok_or_else(|| self.gone(index))
    }

    /// A committed index at or above `first` that is not found was removed in between.
    fn gone(&self, index: u64) -> ReadError {
        ReadError::Removed { index, first: self.progress().first().max(index + 1) }
    }
}

/// Finds the segment that is to be read.
type Choose<'a> = dyn Fn(&[Arc<Segment>]) -> Option<&Arc<Segment>> + 'a;

impl Shared {
    pub(in crate::log) fn entry_header(&self, number: u64) -> Result<Option<EntryHeader>, Damage> {
        // In its own statement: the tail must be let go of before the segments are taken.
        let in_tail = self.tail().get(number).map(|frame| frame.header);
        if in_tail.is_some() {
            return Ok(in_tail);
        }
        self.look(&|segments| segment_of_number(segments, number), &|segment| segment.entry_header(number))
    }

    /// What is found in the segment that is chosen. The list is not locked while the disk is read: that may take long.
    /// Damage is noted, but not of a segment that has gone or was replaced meanwhile: then another one is chosen.
    pub(in crate::log) fn look<T>(
        &self,
        choose: &Choose,
        look: &dyn Fn(&Segment) -> Result<Option<T>, Damage>,
    ) -> Result<Option<T>, Damage> {
        loop {
            let Some(segment) = choose(&self.segments()).cloned() else { return Ok(None) };
            match look(&segment) {
                Err(damage) if self.has(&segment) => {
                    self.note_damage(&damage, &segment);
                    return Err(damage);
                }
                Err(_) => {}
                found => return found,
            }
        }
    }

    fn has(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.segments();
        let at = segments.partition_point(|there| there.position() < segment.position());
        segments.get(at).is_some_and(|there| Arc::ptr_eq(there, segment))
    }

    /// Declares entry `number` and all before it committed: they never change again, readers may see them.
    ///
    /// # Errors
    /// If the entry is damaged.
    pub(crate) fn commit(&self, number: u64) -> Result<(), Damage> {
        // Only to spare the look: what decides is `set_committed`.
        if number < self.progress.commit_point().number {
            return Ok(());
        }
        let header = self.entry_header(number)?;
        // An entry this log does not hold was replaced by a snapshot: the log begins behind it.
        let Some(header) = header else { return Ok(()) };
        let end = after(&header);
        self.freeze(end.position);
        self.progress.set_committed(end.point());
        self.tail().forget_below(end.number);
        self.let_go();
        Ok(())
    }

    /// All before the start of a log that begins anew is committed: it came with a snapshot.
    pub(in crate::log) fn commit_at_start(&self, next: Cursor) {
        self.progress.set_committed(next.point());
    }

    pub(in crate::log) fn freeze(&self, position: u64) {
        let segments = self.segments();
        let before = self.progress.commit_point().position;
        for segment in segments.iter().rev().skip_while(|s| s.position() >= position) {
            segment.freeze(position);
            if segment.position() <= before {
                break;
            }
        }
    }
}

fn segment_of_index(segments: &[Arc<Segment>], index: u64) -> Option<&Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.start().index <= index);
    segments.get(after.checked_sub(1)?)
}

fn segment_of_number(segments: &[Arc<Segment>], number: u64) -> Option<&Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.start().number <= number);
    segments.get(after.checked_sub(1)?)
}

/// Record number `slot` of a verified batch.
fn record(frame: &Frame, slot: usize) -> Option<Record> {
    only_record(frame.clone(), slot)
}

/// As [`record`], of a batch of which no other record is wanted.
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
