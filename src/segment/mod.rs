//! One segment: a fixed-size file at an absolute position, mapped, and where its entries are.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Segment`], what readers and the writer share |
//! | [`active`] | [`ActiveSegment`](active::ActiveSegment), the only way to write: appends, seals, truncates |
//! | [`scanner`] | goes over the bytes of a segment and says what stands where |
//! | [`window`] | reads for it |
//! | [`recovery`] | finds a segment's entries again: by a scan or by the index file |
//! | [`units`] | where each entry is, and which have been verified since opening |

pub(crate) mod active;
pub(crate) mod recovery;
pub(crate) mod scanner;
mod units;
mod window;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::disk::{Alive, DiskFile, Mapping};
use crate::error::Damage;
use crate::format::batch::Batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::frame::Frame;
use crate::format::index::{self, Unit};
use crate::format::segment::{Cursor, SegmentHeader};
use crate::mutants::{Mutant, planted};
pub(crate) use units::{Units, after};

/// A segment of a log. Whether it is still written to is the business of
/// [`ActiveSegment`](active::ActiveSegment); readers need not know.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
    mapping: Mapping,
    units: RwLock<Units>,
}

impl Segment {
    /// Puts a segment together from its parts. `units` must describe `file`.
    pub(crate) fn new(
        path: PathBuf,
        header: SegmentHeader,
        file: Arc<dyn DiskFile>,
        units: Units,
    ) -> std::io::Result<Self> {
        let mapping = file.map()?;
        Ok(Self { path, header, file, mapping, units: RwLock::new(units) })
    }

    /// First position of the segment: its header's.
    pub(crate) fn position(&self) -> u64 {
        self.header.start.position
    }

    /// Position after the segment.
    pub(crate) fn end_position(&self) -> u64 {
        self.header.start.position + self.header.size
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the segment begins, as its header says.
    pub(crate) fn start(&self) -> Cursor {
        self.header.start
    }

    /// Position of the first entry.
    pub(crate) fn first_entry(&self) -> u64 {
        let units = self.units();
        let first = units.as_slice().first().map(|unit| self.position() + unit.offset() as u64);
        first.unwrap_or(units.end().position)
    }

    /// What the next entry after the last one must continue.
    pub(crate) fn end(&self) -> Cursor {
        self.units().end()
    }

    /// Tells later whether anybody still maps the file.
    pub(crate) fn alive(&self) -> Alive {
        self.mapping.alive()
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }

    /// Writes what lies at `positions` once more. After a failed sync the system shows bytes that the disk does not
    /// have and calls them clean: only what is written again is sure to be in the next sync.
    pub(crate) fn rewrite(&self, positions: Range<u64>) -> std::io::Result<()> {
        const CHUNK: u64 = 1 << 20;
        let mut at = positions.start;
        while at < positions.end {
            let mut bytes = vec![0; CHUNK.min(positions.end - at) as usize];
            self.file.read_at(&mut bytes, at - self.position())?;
            self.file.write_at(&bytes, at - self.position())?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes zeros, in pieces that end where a page does: of one that is written in part the rest is read first, and
    /// what cannot be read there is what has to be overwritten.
    fn zero(&self, range: Range<usize>) -> std::io::Result<()> {
        const CHUNK: usize = 1 << 20;
        let zeros = vec![0; CHUNK.min(range.len())];
        let mut at = range.start;
        while at < range.end {
            let length = (CHUNK - at % CHUNK).min(range.end - at);
            self.write(at, &zeros[..length])?;
            at += length;
        }
        Ok(())
    }

    /// Through the file, not the mapping: a store to a clean page faults, once per page and sync, and has it written
    /// back with all its neighbours (docs/performance.md). And what cannot be written is an error here.
    fn write(&self, offset: usize, bytes: &[u8]) -> std::io::Result<()> {
        self.mapping.check_unfrozen(offset, bytes.len())?;
        self.file.write_at(bytes, offset as u64)
    }

    /// Declares everything below `position` committed: it never changes again and may be read without a copy.
    pub(crate) fn freeze(&self, position: u64) {
        let line = position.min(self.end_position()).saturating_sub(self.position());
        // A segment's size fits a usize: it has been mapped.
        self.mapping.freeze(line as usize);
    }

    /// Numbers of the memberships in this segment, ascending.
    pub(crate) fn memberships(&self) -> Vec<u64> {
        self.units().memberships()
    }

    /// The header of entry `number`; `None` if it is not in this segment.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn entry_header(&self, number: u64) -> Result<Option<EntryHeader>, Damage> {
        let units = self.units();
        let Some(slot) = units.slot(number) else { return Ok(None) };
        self.header_at(&units, slot).map(Some)
    }

    /// Entry `number`, verified; `None` if it is not in this segment. A slice of the mapping if it is committed, else
    /// a copy.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn frame(&self, number: u64) -> Result<Option<Frame>, Damage> {
        let units = self.units();
        units.slot(number).map(|slot| self.frame_at(&units, slot)).transpose()
    }

    /// Number of the last entry that begins at `position` or before it; `None` if all of this segment's begin later.
    pub(crate) fn number_at(&self, position: u64) -> Option<u64> {
        let units = self.units();
        let offset = position.checked_sub(self.position())?;
        let after = units.as_slice().partition_point(|unit| unit.offset() as u64 <= offset);
        Some(units.first_number() + after.checked_sub(1)? as u64)
    }

    /// The entry that holds record `index`, as [`Segment::frame`], and which of its records that is.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn frame_of_index(&self, index: u64) -> Result<Option<(Frame, usize)>, Damage> {
        let units = self.units();
        let Some(slot) = units.find_index(index) else { return Ok(None) };
        let frame = self.frame_at(&units, slot)?;
        let record = (index - frame.header.index) as usize;
        Ok(Some((frame, record)))
    }

    fn frame_at(&self, units: &Units, slot: usize) -> Result<Frame, Damage> {
        let start = units.get(slot).offset();
        let next = units.as_slice().get(slot + 1).map(Unit::offset);
        let end = next.unwrap_or_else(|| (units.end().position - self.position()) as usize);
        let mut bytes = self.bytes(units, slot, start..end.max(start))?;
        let header = self.header_in(units, slot, &bytes)?;
        if header.length() != bytes.len() {
            // It is the next one that is not where the list says.
            let end = start + header.length();
            if end > self.mapping.len() {
                let (found, expected) = (end.to_string(), self.mapping.len().to_string());
                return Err(self.damage(units, slot, "entry length", found, expected));
            }
            bytes = self.bytes(units, slot, start..end)?;
        }
        if !units.is_verified(slot) && !planted(Mutant::BodyNotVerified) {
            header.verify(&bytes).map_err(|error| {
                self.damage(units, slot, "chain value", error.to_string(), "the bytes written".into())
            })?;
            // The chain value says that these are the bytes a leader made, not that it made them well.
            if header.kind == EntryKind::Batch {
                let body = &bytes[ENTRY_HEADER..ENTRY_HEADER + header.body as usize];
                Batch::parse(body, header.records as usize)
                    .map_err(|error| self.damage(units, slot, "batch", error.to_string(), "a batch".into()))?;
            }
            units.set_verified(slot);
        }
        Ok(Frame { header, bytes })
    }

    /// Verifies entry `number` again: its bytes in memory, and those that `disk`, the file, has if they were synced,
    /// which is all before position `synced`. `None` if they are sound.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub(crate) fn look_again(&self, number: u64, disk: &dyn DiskFile, synced: u64) -> std::io::Result<Option<Damage>> {
        let units = self.units();
        let Some(slot) = units.slot(number) else { return Ok(None) };
        let start = units.get(slot).offset();
        let next = units.as_slice().get(slot + 1).map(Unit::offset);
        let end = next.unwrap_or_else(|| (units.end().position - self.position()) as usize).max(start + ENTRY_HEADER);
        // What is mapped, but as an error where the disk cannot read.
        let mut bytes = vec![0; end - start];
        self.file.read_at(&mut bytes, start as u64)?;
        let mut found = self.unsound(&units, slot, &bytes);
        if found.is_none() && self.position() + end as u64 <= synced {
            disk.read_at(&mut bytes, start as u64)?;
            found = self.unsound(&units, slot, &bytes);
        }
        drop(units);
        if found.is_some() {
            self.units_mut().clear_verified(slot);
        }
        Ok(found)
    }

    /// That the disk cannot read entry `number`.
    pub(crate) fn unreadable(&self, number: u64, error: &std::io::Error) -> Option<Damage> {
        let units = self.units();
        let slot = units.slot(number)?;
        Some(self.damage(&units, slot, "read of the disk", error.to_string(), "an entry".into()))
    }

    /// What is wrong with `bytes`, which are to be the entry at `slot`, and perhaps a blank behind it.
    fn unsound(&self, units: &Units, slot: usize, bytes: &[u8]) -> Option<Damage> {
        let header = match self.header_in(units, slot, bytes) {
            Ok(header) => header,
            Err(damage) => return Some(damage),
        };
        let wrong = match bytes.get(..header.length()) {
            Some(entry) => header.verify(entry).err()?.to_string(),
            None => format!("{} bytes", header.length()),
        };
        Some(self.damage(units, slot, "chain value", wrong, "the bytes written".into()))
    }

    /// The index file's bytes.
    pub(crate) fn encode_index(&self) -> Vec<u8> {
        let units = self.units();
        index::encode(self.position(), units.end().chain, units.as_slice())
    }

    fn header_at(&self, units: &Units, slot: usize) -> Result<EntryHeader, Damage> {
        let start = units.get(slot).offset();
        self.header_in(units, slot, &self.bytes(units, slot, start..start + ENTRY_HEADER)?)
    }

    /// The header at the beginning of `bytes`, which are those of the entry at `slot`.
    fn header_in(&self, units: &Units, slot: usize, bytes: &[u8]) -> Result<EntryHeader, Damage> {
        let header = EntryHeader::decode(bytes)
            .map_err(|error| self.damage(units, slot, "entry header", error.to_string(), "an entry".into()))?;
        let start = units.get(slot).offset() as u64;
        let (position, number) = (self.position() + start, units.first_number() + slot as u64);
        // What the index file says of an entry need not be true.
        let index = self.header.start.index + u64::from(units.get(slot).index);
        if (header.position, header.number, header.index) != (position, number, index) {
            let place = |position, number, index| format!("entry {number} of position {position} and index {index}");
            let found = place(header.position, header.number, header.index);
            return Err(self.damage(units, slot, "entry", found, place(position, number, index)));
        }
        Ok(header)
    }

    /// Bytes of the entry at `slot`: a slice of the mapping if all of it is committed, else a copy. What was not read
    /// since opening may not be in memory: it is read in one piece, and what the disk cannot read is damage and not a
    /// fault.
    fn bytes(&self, units: &Units, slot: usize, range: Range<usize>) -> Result<Bytes, Damage> {
        if !units.is_verified(slot) {
            let mut bytes = vec![0; range.len()];
            return match self.file.read_at(&mut bytes, range.start as u64) {
                Ok(()) => Ok(bytes.into()),
                Err(error) => Err(self.damage(units, slot, "read of the disk", error.to_string(), "an entry".into())),
            };
        }
        Ok(match self.mapping.slice(range.clone()) {
            Some(bytes) => bytes,
            None => self.mapping.copy(range).into(),
        })
    }

    fn damage(&self, units: &Units, slot: usize, what: &'static str, found: String, expected: String) -> Damage {
        let unit = units.get(slot);
        Damage {
            file: self.path.clone(),
            position: self.position() + unit.offset() as u64,
            index: self.header.start.index + u64::from(unit.index),
            what,
            found,
            expected,
        }
    }

    fn units(&self) -> RwLockReadGuard<'_, Units> {
        self.units.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn units_mut(&self) -> RwLockWriteGuard<'_, Units> {
        self.units.write().unwrap_or_else(PoisonError::into_inner)
    }
}
