//! The segment that is written to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{EntryIndex, MappedFile, Segment};
use crate::disk::Disk;
use crate::format::entry::EntryKind;
use crate::format::frame::Frame;
use crate::format::roll::stays;
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader, encode_blank};

/// The right to write to a segment. There is one per log.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    segment: Arc<Segment>,
}

impl ActiveSegment {
    /// Begins a segment in a fresh, zeroed file. `next` is what the first entry must continue; if its position lies
    /// behind the segment's start (a log that begins in the middle), a blank fills the gap.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        file: MappedFile,
        size: u64,
        next: Cursor,
    ) -> io::Result<Self> {
        let position = next.position / size * size;
        let first_entry = (position + SEGMENT_HEADER as u64).max(next.position);
        let start = Cursor { position, ..next };
        let segment =
            Segment::new(disk, path, SegmentHeader { size, start }, file, EntryIndex::empty(start, first_entry));
        segment.write(0, &segment.header.encode())?;
        let gap = first_entry - position - SEGMENT_HEADER as u64;
        if gap > 0 {
            segment.write(SEGMENT_HEADER, &encode_blank(gap as u32, next.chain))?;
        }
        Ok(Self { segment: Arc::new(segment) })
    }

    /// Goes on in a segment that recovery has found on disk, and whose descriptor is still open.
    pub(crate) fn resume(segment: Arc<Segment>) -> Self {
        Self { segment }
    }

    /// The segment, for readers.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether an entry of `length` bytes has its place here, and not in the next segment.
    pub(crate) fn takes(&self, length: usize, kind: EntryKind) -> bool {
        stays(self.segment.end().position, length, kind, self.segment.header.size)
    }

    /// Writes `frame`, which must continue [`Segment::end`] and fit (the log's writer has checked both).
    ///
    /// # Errors
    /// If the system fails. The entry is not part of the segment then, whatever of it was written.
    pub(crate) fn append(&mut self, frame: &Frame) -> io::Result<()> {
        let offset = (frame.header.position - self.segment.position()) as usize;
        self.segment.write(offset, &frame.bytes)?;
        self.segment.entries_mut().push(&frame.header);
        Ok(())
    }

    /// Fills the rest with a blank: no further entry goes into this segment. The bytes behind the last entry are zeros
    /// already: files are made of zeros, and a truncation writes them.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        let end = self.segment.end();
        let (offset, size) = ((end.position - self.segment.position()) as usize, self.segment.mapping.len());
        // A segment's size fits 32 bits (`MAX_SEGMENT_SIZE`).
        let blank = encode_blank((size - offset) as u32, end.chain);
        self.segment.write(offset, &blank)
    }

    /// Removes the entries from number `from` on and zeroes all that was behind them.
    ///
    /// `end` is what then comes next; `written` is the position up to which the file may hold bytes.
    ///
    /// # Errors
    /// If the system fails: the entries are gone, their bytes may still be there.
    pub(crate) fn truncate(&mut self, from: u64, end: Cursor, written: u64) -> io::Result<()> {
        let mut entries = self.segment.entries_mut();
        let slots = from.saturating_sub(entries.first_number()) as usize;
        entries.truncate(slots, end);
        let start = self.segment.position();
        let stop = written.clamp(end.position, self.segment.end_position());
        let range = (end.position - start) as usize..(stop - start) as usize;
        self.segment.zero(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::real::RealDisk;

    #[test]
    fn what_is_frozen_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = MappedFile::new(RealDisk.create(&path, 1 << 16).unwrap()).unwrap();
        let next = Cursor { position: 0, number: 0, index: 0, term: 0, timestamp: 0, chain: 7 };
        let active = ActiveSegment::begin(Arc::new(RealDisk), path.clone(), file, 1 << 16, next).unwrap();
        let segment = active.segment();
        segment.freeze(SEGMENT_HEADER as u64 + 8);
        let before = std::fs::read(&path).unwrap();
        for at in [0, SEGMENT_HEADER, SEGMENT_HEADER + 7] {
            segment.write(at, b"12345678").unwrap_err();
        }
        assert!(std::fs::read(&path).unwrap() == before);
        segment.write(SEGMENT_HEADER + 8, b"12345678").unwrap();
        assert!(std::fs::read(&path).unwrap() != before);
    }
}
