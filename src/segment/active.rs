//! The segment that is written to.

use std::sync::Arc;

use super::{Segment, Units};
use crate::disk::DiskFile;
use crate::format::frame::Frame;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentHeader, encode_blank};

/// The right to write to a segment. There is one per log.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    segment: Arc<Segment>,
}

impl ActiveSegment {
    /// Begins a segment in a fresh, zeroed file. `next` is what the first entry must continue; if its position lies
    /// behind the segment's start (a log that begins in the middle), a blank fills the gap.
    pub(crate) fn begin(
        path: std::path::PathBuf,
        file: Arc<dyn DiskFile>,
        size: u64,
        next: Cursor,
    ) -> std::io::Result<Self> {
        let position = next.position / size * size;
        let first_entry = (position + SEGMENT_HEADER as u64).max(next.position);
        let start = Cursor { position, ..next };
        let segment = Segment::new(path, SegmentHeader { size, start }, file, Units::empty(start, first_entry))?;
        segment.mapping.publish(0, &segment.header.encode());
        let gap = first_entry - position - SEGMENT_HEADER as u64;
        if gap > 0 {
            segment.mapping.publish(SEGMENT_HEADER, &encode_blank(gap as u32, next.chain));
        }
        Ok(Self { segment: Arc::new(segment) })
    }

    /// Goes on in a segment that was found on disk.
    pub(crate) fn resume(segment: Arc<Segment>) -> Self {
        Self { segment }
    }

    /// The segment, for readers.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether an entry of `length` bytes fits. Behind every entry there is room for a blank, so every segment but the
    /// last ends with one and a reader always knows that it is complete.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.segment.end().position + length as u64 + BLANK_HEADER as u64 <= self.segment.end_position()
    }

    /// Writes `frame`, which must continue [`Segment::end`] and fit (the log's writer has checked both).
    pub(crate) fn append(&mut self, frame: &Frame) {
        let offset = (frame.header.position - self.segment.position()) as usize;
        self.segment.mapping.publish(offset, &frame.bytes);
        self.segment.units_mut().push(&frame.header);
    }

    /// Fills the rest with a blank: no further entry goes into this segment.
    pub(crate) fn seal(&mut self) {
        let end = self.segment.end();
        let (offset, size) = ((end.position - self.segment.position()) as usize, self.segment.mapping.len());
        // A segment's size fits 32 bits (`MAX_SEGMENT_SIZE`).
        let blank = encode_blank((size - offset) as u32, end.chain);
        self.segment.mapping.publish(offset, &blank);
        self.segment.mapping.zero(offset + blank.len()..size);
    }

    /// Removes the entries from number `from` on and zeroes all that was behind them.
    ///
    /// `end` is what then comes next; `written` is the position up to which the file may hold bytes.
    pub(crate) fn truncate(&mut self, from: u64, end: Cursor, written: u64) {
        let mut units = self.segment.units_mut();
        let slots = from.saturating_sub(units.first_number()) as usize;
        units.truncate(slots, end);
        let start = self.segment.position();
        let stop = written.clamp(end.position, self.segment.end_position());
        let range = (end.position - start) as usize..(stop - start) as usize;
        // The mark of the first entry goes first: a process that dies half-way leaves zeros there, not an entry whose
        // bytes do not fit.
        self.segment.mapping.zero(range.start..range.end.min(range.start + 8));
        self.segment.mapping.zero(range);
    }
}
