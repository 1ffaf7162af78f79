//! [`SegmentRepair`] repairs one sealed segment while the log stays open.
//!
//! All its entries are committed, so every peer has the same ones, and the cursors at its start and end are known. The
//! new file replaces the old file and its mapping; readers that hold slices of the old mapping keep them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rebuild::{Finished, Offer, Rebuild, Walked};
use super::{RepairStep, Repairing, Supply, at, differs, fitting};
use crate::error::RepairError;
use crate::format::frame::Frame;
use crate::format::segment::Cursor;
use crate::log::Health;
use crate::log::directory::{Identity, io_error};
use crate::segment::scanner::breaks;
use crate::segment::{MappedFile, Segment};
use crate::types::{NodeId, RepairReport};

/// The repair of one segment.
pub(crate) struct SegmentRepair {
    health: Arc<Health>,
    old: Arc<Segment>,
    /// What the next segment begins with.
    end: Cursor,
    rebuild: Rebuild,
    supplied: VecDeque<(NodeId, Frame)>,
    /// `rebuild` has reached the end of the segment.
    sealed: bool,
}

impl SegmentRepair {
    /// Begins to repair the segment at `position`; `None` if there is no sealed segment there.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn begin(health: &Arc<Health>, position: u64) -> Result<Option<Self>, RepairError> {
        let disk = health.files().disk();
        let Some((old, end)) = health.settled_segment(position) else { return Ok(None) };
        let path = old.path().to_owned();
        // Read past the page cache, which may still hold good bytes that the disk has lost.
        let file = match disk.open_direct(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("open", &path)(error).into()),
        };
        let (size, first) = (old.end_position() - old.position(), old.first_entry());
        let mut rebuild = Rebuild::open(disk.clone(), path, file, size, old.start(), first)?;
        // Always write a new file: if only the page cache is damaged and the disk is good, a new file is good in both.
        rebuild.renew()?;
        Ok(Some(Self { health: health.clone(), old, end, rebuild, supplied: VecDeque::new(), sealed: false }))
    }

    /// Replaces the old file by the new one, if there is a new one.
    ///
    /// # Errors
    /// If the new file does not hold what it should, or the system fails.
    pub(crate) fn finish(self) -> Result<RepairReport, RepairError> {
        let Self { health, old, end, rebuild, .. } = self;
        let files = health.files();
        let mut report =
            RepairReport { end: end.index, end_position: end.position, done: true, ..RepairReport::default() };
        if let Some(Finished { new, entries, ranges, header, .. }) = rebuild.complete(true)? {
            let failed = io_error("replace", old.path());
            let mapped = MappedFile::new(new.file().clone()).map_err(&failed)?;
            let segment = Segment::new(files.disk().clone(), old.path().to_owned(), header, mapped, entries);
            segment.freeze(segment.end_position());
            // The segment needs no descriptor any more: it is synced, and all its entries are committed.
            segment.let_go();
            // Once the log is closed, its directory may belong to another log.
            let _not_closing = health.flusher().hold();
            files.check().map_err(&failed)?;
            let mut segments = health.segments().write();
            // If the segment was purged meanwhile, the new file is not installed.
            if let Some(place) = segments.iter_mut().find(|segment| Arc::ptr_eq(segment, &old)) {
                old.retire();
                new.install().map_err(&failed)?;
                *place = Arc::new(segment);
            }
            drop(segments);
            // A failed sync stops the log: a later sync may succeed without having made this rename durable.
            let synced = files.directory().sync();
            files.or_fail("syncing the directory", synced).map_err(&failed)?;
            report.ranges = ranges;
        }
        health.note_repaired(old.position());
        Ok(report)
    }
}

impl Repairing for SegmentRepair {
    fn identity(&self) -> &Identity {
        self.health.files().directory().identity()
    }

    fn advance(&mut self) -> Result<RepairStep, RepairError> {
        while !self.sealed {
            let next = self.rebuild.cursor();
            if next.number == self.end.number {
                if next.chain != self.end.chain {
                    let (found, expected) = (format!("{:#010x}", next.chain), format!("{:#010x}", self.end.chain));
                    return differs("chain value of the last entry", found, expected);
                }
                let walked = self.rebuild.walk(u64::MAX, &mut |offer| matches!(offer, Offer::Blank))?;
                if !matches!(walked, Walked::Sealed) {
                    self.rebuild.seal(false)?;
                }
                self.sealed = true;
                return Ok(RepairStep::Done);
            }
            if let Walked::Paused = self.rebuild.walk(self.end.number, &mut |offer| matches!(offer, Offer::Entry(_)))? {
                continue;
            }
            let next = self.rebuild.cursor();
            let Some((from, frame)) = at(&self.supplied, next.number) else { return Ok(RepairStep::Need(next.number)) };
            if let Some(mismatch) = breaks(&frame.header, &next) {
                self.supplied.clear();
                return Err(RepairError::Differs(mismatch));
            }
            if frame.header.end() > self.rebuild.end_position() {
                return differs("length of the entry", frame.header.length(), "less");
            }
            self.rebuild.put(frame, from)?;
        }
        Ok(RepairStep::Done)
    }

    fn supply(&mut self, from: &NodeId, answer: Supply) -> Result<(), RepairError> {
        self.supplied.clear();
        let next = self.rebuild.cursor();
        if answer.frames.is_empty() {
            let Cursor { position, index, .. } = next;
            return Err(RepairError::NotSettled { position, index, committed: answer.committed });
        }
        self.supplied.extend(fitting(answer, next.number)?.into_iter().map(|frame| (from.clone(), frame)));
        Ok(())
    }
}
