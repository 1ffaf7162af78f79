//! One segment: a fixed-size file at an absolute position, mapped, and where its entries are.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Segment`], what readers and the writer share |
//! | [`active`] | [`ActiveSegment`](active::ActiveSegment), the only way to write: appends, seals, truncates |
//! | [`recheck`] | verifies an entry again that a peer refuses |
//! | [`scanner`] | goes over the bytes of a segment and says what stands where |
//! | [`window`] | reads for it |
//! | [`recovery`] | finds a segment's entries again: by a scan or by the index file |
//! | [`entry_index`] | where each entry is, and which have been verified since opening |

pub(crate) mod active;
mod entry_index;
mod recheck;
pub(crate) mod recovery;
pub(crate) mod scanner;
mod window;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::{Alive, Disk, DiskFile, Mapping};
use crate::error::{Damage, Mismatch};
use crate::format::batch::Batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::frame::Frame;
use crate::format::index::{self, Unit};
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader};
pub(crate) use entry_index::{EntryIndex, after};

/// A segment of a log. Whether it is still written to is the business of
/// [`ActiveSegment`](active::ActiveSegment); readers need not know.
#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    header: SegmentHeader,
    /// Open until all of the segment is durable and committed: a write must be synced through the descriptor that wrote
    /// it. Afterwards the mapping is enough.
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    mapping: Mapping,
    entries: RwLock<EntryIndex>,
}

/// An open file and its mapping: all that a segment needs of the system.
#[derive(Debug)]
pub(crate) struct MappedFile {
    pub(crate) file: Arc<dyn DiskFile>,
    mapping: Mapping,
}

impl MappedFile {
    /// Maps `file`.
    ///
    /// # Errors
    /// If the system has no mapping left.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let mapping = file.map()?;
        Ok(Self { file, mapping })
    }
}

/// Where an entry was in the segment's index at one moment.
struct EntryPlace {
    slot: usize,
    number: u64,
    unit: Unit,
    range: Range<usize>,
    /// Its bytes, if they have been verified since opening: a slice of the mapping if all of it is committed, else a
    /// copy.
    verified: Option<Bytes>,
}

impl EntryPlace {
    /// Whether `entries` still has the entry in this place.
    fn is_in(&self, entries: &EntryIndex) -> bool {
        entries.slot(self.number).is_some_and(|slot| entries.get(slot) == self.unit)
    }
}

impl Segment {
    /// Puts a segment together from its parts. `entries` must describe `mapped`, which is the file at `path`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        header: SegmentHeader,
        MappedFile { file, mapping }: MappedFile,
        entries: EntryIndex,
    ) -> Self {
        Self { disk, path, header, file: Mutex::new(Some(file)), mapping, entries: RwLock::new(entries) }
    }

    /// First position of the segment: its header's.
    pub(crate) fn position(&self) -> u64 {
        self.header.start.position
    }

    /// Position after the segment.
    pub(crate) fn end_position(&self) -> u64 {
        self.header.start.position + self.header.size
    }

    /// The path of its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the segment begins, as its header says.
    pub(crate) fn start(&self) -> Cursor {
        self.header.start
    }

    /// Position of the first entry.
    pub(crate) fn first_entry(&self) -> u64 {
        let entries = self.entries();
        let first = entries.as_slice().first().map(|unit| self.position() + unit.offset() as u64);
        first.unwrap_or(entries.end().position)
    }

    /// What the next entry after the last one must continue.
    pub(crate) fn end(&self) -> Cursor {
        self.entries().end()
    }

    /// Tells, even after the segment is dropped, whether the file is still mapped.
    pub(crate) fn alive(&self) -> Alive {
        self.mapping.alive()
    }

    /// Closes the descriptor. All of the segment must be durable and committed: no write and no sync may follow.
    pub(crate) fn let_go(&self) {
        *self.held() = None;
    }

    /// Another file takes the name of this segment's file. Readers that still hold this segment read that file, which
    /// has the same entries, and verify an entry each time they read it: what is good in that file may be damaged in
    /// the bytes that are mapped here.
    pub(crate) fn retire(&self) {
        self.entries_mut().retire();
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<dyn DiskFile>>> {
        self.file.lock()
    }

    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.held().clone().ok_or_else(|| {
            io::Error::other(format!(
                "{} is durable and committed: nothing is to be written to it",
                self.path.display()
            ))
        })
    }

    /// Makes sure that all blocks of the file are there: a copied file may lack those that hold zeros.
    ///
    /// # Errors
    /// If there is no room for them, or the system fails.
    pub(crate) fn allocate(&self) -> io::Result<()> {
        self.file()?.allocate(0..self.header.size)
    }

    /// As [`Segment::allocate`], of the next `bytes` behind the last entry.
    ///
    /// # Errors
    /// As [`Segment::allocate`].
    pub(crate) fn allocate_next(&self, bytes: u64) -> io::Result<()> {
        let from = self.end().position - self.position();
        self.file()?.allocate(from..self.header.size.min(from + bytes))
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file()?.sync()
    }

    /// Writes what lies at `positions` once more. After a failed sync the system shows bytes that the disk does not
    /// have and calls them clean: only what is written again is sure to be in the next sync.
    pub(crate) fn rewrite(&self, positions: Range<u64>) -> io::Result<()> {
        const CHUNK: u64 = 1 << 20;
        let file = self.file()?;
        let mut at = positions.start;
        while at < positions.end {
            let mut bytes = vec![0; CHUNK.min(positions.end - at) as usize];
            file.read_at(&mut bytes, at - self.position())?;
            file.write_at(&bytes, at - self.position())?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes zeros, in pieces that end where a page does: before the system writes a part of a page, it reads the
    /// page, and the bytes to be overwritten may be the ones that the disk cannot read.
    fn zero(&self, range: Range<usize>) -> io::Result<()> {
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
    /// back with all its neighbours (docs/performance.md). And a write that fails is an error here.
    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.mapping.check_unfrozen(offset, bytes.len())?;
        self.file()?.write_at(bytes, offset as u64)
    }

    /// Overwrites the header, durably, so that no start takes the file for a segment even if its name comes back. The
    /// entries stay for their readers.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn spoil(&self) -> io::Result<()> {
        // Without a descriptor the segment is committed, and is never cut off.
        let Some(file) = self.held().clone() else { return Ok(()) };
        file.write_at(&[0; SEGMENT_HEADER], 0)?;
        file.sync()
    }

    /// Declares everything below `position` committed: it never changes again and may be read without a copy.
    pub(crate) fn freeze(&self, position: u64) {
        let line = position.min(self.end_position()).saturating_sub(self.position());
        // No reader takes the segment's header from the mapping, so it may be overwritten while no committed entry is
        // behind it.
        let line = if line <= SEGMENT_HEADER as u64 { 0 } else { line };
        // A segment's size fits a usize: it has been mapped.
        self.mapping.freeze(line as usize);
    }

    /// Numbers of the memberships in this segment, ascending.
    pub(crate) fn memberships(&self) -> Vec<u64> {
        self.entries().memberships()
    }

    /// The header of entry `number`; `None` if it is not in this segment.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn entry_header(&self, number: u64) -> Result<Option<EntryHeader>, Damage> {
        self.look(&|entries| entries.slot(number), Some(ENTRY_HEADER), &|spot, bytes| self.header_in(spot, bytes))
    }

    /// Entry `number`, verified; `None` if it is not in this segment. A slice of the mapping if it is committed, else
    /// a copy.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn frame(&self, number: u64) -> Result<Option<Frame>, Damage> {
        self.look(&|entries| entries.slot(number), None, &|spot, bytes| self.frame_at(spot, bytes.clone()))
    }

    /// Number of the last entry that begins at `position` or before it; `None` if all of this segment's begin later.
    pub(crate) fn number_at(&self, position: u64) -> Option<u64> {
        let entries = self.entries();
        let offset = position.checked_sub(self.position())?;
        let after = entries.as_slice().partition_point(|unit| unit.offset() as u64 <= offset);
        Some(entries.first_number() + after.checked_sub(1)? as u64)
    }

    /// The entry that holds record `index`, as [`Segment::frame`], and which of its records that is.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn frame_of_index(&self, index: u64) -> Result<Option<(Frame, usize)>, Damage> {
        let look = |spot: &EntryPlace, bytes: &Bytes| self.frame_at(spot, bytes.clone());
        let found = self.look(&|entries| entries.find_index(index), None, &look)?;
        Ok(found.map(|frame| {
            let record = (index - frame.header.index) as usize;
            (frame, record)
        }))
    }

    /// The header of the entry that holds record `index`; `None` if it is not in this segment.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn header_of_index(&self, index: u64) -> Result<Option<EntryHeader>, Damage> {
        self.look(&|entries| entries.find_index(index), Some(ENTRY_HEADER), &|spot, bytes| self.header_in(spot, bytes))
    }

    /// Looks at the bytes of an entry, or at the first `length` of them. No lock is held while they are read, because a
    /// sector may take long. If they do not fit, and the list of entries has changed meanwhile, looks again.
    fn look<T>(
        &self,
        find: &dyn Fn(&EntryIndex) -> Option<usize>,
        length: Option<usize>,
        look: &dyn Fn(&EntryPlace, &Bytes) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        loop {
            let Some(spot) = self.spot(find, length) else { return Ok(None) };
            let seen = match &spot.verified {
                Some(bytes) => look(&spot, bytes),
                None => self.read(&spot, spot.range.clone()).and_then(|bytes| look(&spot, &bytes)),
            };
            match seen {
                Err(_) if !self.is_current(&spot) => {}
                seen => return seen.map(Some),
            }
        }
    }

    fn spot(&self, find: &dyn Fn(&EntryIndex) -> Option<usize>, length: Option<usize>) -> Option<EntryPlace> {
        let entries = self.entries();
        let slot = find(&entries)?;
        let mut spot = self.spot_in(&entries, slot);
        if let Some(length) = length {
            spot.range.end = spot.range.start + length;
        }
        spot.verified = entries.is_verified(slot).then(|| self.mapped(spot.range.clone()));
        Some(spot)
    }

    /// Where entry `number` is, without its bytes.
    fn place(&self, number: u64) -> Option<EntryPlace> {
        let entries = self.entries();
        let slot = entries.slot(number)?;
        Some(self.spot_in(&entries, slot))
    }

    fn spot_in(&self, entries: &EntryIndex, slot: usize) -> EntryPlace {
        let unit = entries.get(slot);
        let start = unit.offset();
        let next = entries.as_slice().get(slot + 1).map(Unit::offset);
        let end = next.unwrap_or_else(|| (entries.end().position - self.position()) as usize).max(start);
        EntryPlace { slot, number: entries.first_number() + slot as u64, unit, range: start..end, verified: None }
    }

    /// Whether the index still has the entry in this place, and verified or not as `spot` says.
    fn is_current(&self, spot: &EntryPlace) -> bool {
        let entries = self.entries();
        spot.is_in(&entries) && entries.is_verified(spot.slot) == spot.verified.is_some()
    }

    /// The caller has `entries` locked, so that no writer changes bytes that are not committed.
    fn mapped(&self, range: Range<usize>) -> Bytes {
        self.mapping.slice(range.clone()).unwrap_or_else(|| self.mapping.copy(range).into())
    }

    /// Reads bytes that no reader has verified since opening from the file, in one piece: they may not be in memory,
    /// and where the disk cannot read them, that is damage here and would be a fault in the mapping. If the file cannot
    /// be opened (it is gone, or the process has no descriptor left), the system copies the bytes from the mapping.
    fn read(&self, spot: &EntryPlace, range: Range<usize>) -> Result<Bytes, Damage> {
        let held = self.held().clone();
        let read = match held.map_or_else(|| self.disk.open(&self.path), Ok) {
            Ok(file) => {
                let mut bytes = vec![0; range.len()];
                file.read_at(&mut bytes, range.start as u64).map(|()| bytes)
            }
            Err(_) => {
                let _no_change = self.entries();
                self.mapping.read(range)
            }
        };
        read.map(Bytes::from).map_err(|error| self.damage(spot, "read of the disk", error, "an entry"))
    }

    fn frame_at(&self, spot: &EntryPlace, mut bytes: Bytes) -> Result<Frame, Damage> {
        let header = self.header_in(spot, &bytes)?;
        if header.length() != bytes.len() {
            // The header is good, so the index has the next entry in the wrong place.
            let start = spot.unit.offset();
            let end = start + header.length();
            if end > self.mapping.len() {
                return Err(self.damage(spot, "entry length", end, self.mapping.len()));
            }
            bytes = match spot.verified {
                Some(_) => {
                    let _no_change = self.entries();
                    self.mapped(start..end)
                }
                None => self.read(spot, start..end)?,
            };
        }
        if spot.verified.is_none() {
            header.verify(&bytes).map_err(|error| self.damage(spot, "chain value", error, "the bytes written"))?;
            // The chain value says that these are the bytes a leader made, not that it made them well.
            if header.kind == EntryKind::Batch {
                let body = &bytes[ENTRY_HEADER..ENTRY_HEADER + header.body as usize];
                Batch::parse(body, header.records as usize)
                    .map_err(|error| self.damage(spot, "batch", error, "a batch"))?;
            }
            let entries = self.entries();
            if spot.is_in(&entries) {
                entries.set_verified(spot.slot);
            }
        }
        Ok(Frame { header, bytes })
    }

    /// The index file's bytes.
    pub(crate) fn encode_index(&self) -> Vec<u8> {
        let entries = self.entries();
        index::encode(self.position(), entries.end().chain, entries.as_slice())
    }

    /// The header at the beginning of `bytes`, which are those of the entry at `spot`.
    fn header_in(&self, spot: &EntryPlace, bytes: &[u8]) -> Result<EntryHeader, Damage> {
        let header =
            EntryHeader::decode(bytes).map_err(|error| self.damage(spot, "entry header", error, "an entry"))?;
        let (position, number) = (self.position() + spot.unit.offset() as u64, spot.number);
        // What the index file says of an entry need not be true.
        let index = self.header.start.index + u64::from(spot.unit.index);
        if (header.position, header.number, header.index) != (position, number, index) {
            let place = |position, number, index| format!("entry {number} of position {position} and index {index}");
            let found = place(header.position, header.number, header.index);
            return Err(self.damage(spot, "entry", found, place(position, number, index)));
        }
        Ok(header)
    }

    fn damage(&self, spot: &EntryPlace, what: &'static str, found: impl ToString, expected: impl ToString) -> Damage {
        Damage {
            file: self.path.clone(),
            position: self.position() + spot.unit.offset() as u64,
            index: self.header.start.index + u64::from(spot.unit.index),
            mismatch: Mismatch::new(what, found, expected),
        }
    }

    fn entries(&self) -> RwLockReadGuard<'_, EntryIndex> {
        self.entries.read()
    }

    fn entries_mut(&self) -> RwLockWriteGuard<'_, EntryIndex> {
        self.entries.write()
    }
}
