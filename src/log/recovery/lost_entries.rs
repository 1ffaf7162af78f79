//! [`LostEntries`]: counts the readable entries of a tail that a start cuts, so that the operator learns what was lost.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::disk::Disk;
use crate::format::ALIGNMENT;
use crate::format::segment::{Cursor, SegmentHeader};
use crate::segment::scanner::{Scanner, Step};

/// The entries behind the end of the log that are good by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LostEntries {
    /// Number of entries.
    pub(crate) entries: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Index of the first record.
    first: u64,
    /// Index after the last record.
    end: u64,
}

impl LostEntries {
    /// Indexes of the records, of which some may be missing in between; `None` if there are none.
    pub(crate) fn indexes(&self) -> Option<Range<u64>> {
        (self.records > 0).then_some(self.first..self.end)
    }

    /// Adds the entries behind `next` in the segment at `position`, from `offset` of its file on. Skips bad sectors.
    ///
    /// # Errors
    /// If the system fails a read for a reason other than a bad sector.
    pub(in crate::log) fn look(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        position: u64,
        offset: u64,
        next: Cursor,
    ) -> io::Result<()> {
        let file = disk.open(path)?;
        // The size of the file, which may be shorter than a segment.
        let header = SegmentHeader { size: file.size(), start: Cursor { position, ..next } };
        let mut scanner = Scanner::new(file.as_ref(), &header, true);
        let mut offset = offset;
        while scanner.resume_from(offset)? {
            offset = loop {
                match scanner.next()? {
                    Step::Entry(entry) => {
                        self.first = if self.records == 0 { entry.index } else { self.first };
                        self.end = self.end.max(entry.index + u64::from(entry.records));
                        self.entries += 1;
                        self.records += u64::from(entry.records);
                    }
                    Step::Gap(_) => {}
                    Step::Stop(_) => {
                        let length = scanner.stopped_at().map_or(ALIGNMENT, |entry| entry.length());
                        break scanner.end().position.saturating_sub(position) + length as u64;
                    }
                }
            };
        }
        Ok(())
    }
}
