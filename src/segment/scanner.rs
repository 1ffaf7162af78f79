//! Goes over the bytes of a segment, one entry or blank at a time.
//!
//! The scanner reads with `pread`: a bad sector is an error here, where a mapping would fault. It never decides; it
//! says what stands where, and the log decides what that means.

use std::io;
use std::ops::Range;

use super::after;
use super::window::Window;
use crate::disk::{DiskFile, is_bad_sector};
use crate::error::Mismatch;
use crate::format::ALIGNMENT;
use crate::format::batch::{Batch, BatchError};
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::roll::stays;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentHeader, decode_blank, is_blank};

/// Bytes that a disk writes as a whole or not at all.
const SECTOR: u64 = 512;

/// What the scanner finds at a place.
#[derive(Debug)]
pub(crate) enum Step {
    /// An entry that continues the one before.
    Entry(EntryHeader),
    /// The blank before the first entry of a log that begins in the middle of a segment; its bytes.
    Gap(u64),
    /// The scan ends here.
    Stop(Stop),
}

/// Why a scan stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A blank fills the rest: the segment is complete.
    Sealed,
    /// Zeros where an entry would begin: nothing was written here.
    Clean,
    /// Something else is there.
    Broken(Broken),
}

/// Bytes that are not what continues the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// What it looks like.
    pub(crate) kind: Break,
    /// What is there, and what should be.
    pub(crate) mismatch: Mismatch,
}

/// What bytes look like that do not continue the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Break {
    /// No header of an entry, and a part of it was never written.
    TornHeader,
    /// A header that fits, a chain value that does not, and a part of the entry was never written.
    TornBody,
    /// As `TornHeader`, of a blank.
    TornBlank,
    /// No header of an entry, and all of it was written.
    RottenHeader,
    /// A header that fits, a chain value that does not, and all of the entry was written.
    RottenBody,
    /// A blank that does not fit, all of it written.
    RottenBlank,
    /// A good header that belongs elsewhere, or to another past.
    OtherPast,
    /// The disk cannot read it.
    Unreadable,
}

/// Goes over the entries of one segment.
pub(crate) struct Scanner<'a> {
    window: Window<'a>,
    header: SegmentHeader,
    end: Cursor,
    entries: u64,
    verify: bool,
}

impl<'a> Scanner<'a> {
    /// At the start of the segment in `file`, whose header has been read. With `verify` the chain value of every entry
    /// is computed, otherwise only headers are checked.
    pub(crate) fn new(file: &'a dyn DiskFile, header: &SegmentHeader, verify: bool) -> Self {
        let end = Cursor { position: header.start.position + SEGMENT_HEADER as u64, ..header.start };
        Self { window: Window::new(file), header: *header, end, entries: 0, verify }
    }

    /// At any place of the segment that begins with `header`: the entry there must continue `end`. Does not look for a
    /// blank before the first entry. With `here` it reads little more than it looks at.
    pub(crate) fn at(file: &'a dyn DiskFile, header: &SegmentHeader, end: Cursor, here: bool) -> Self {
        let window = if here { Window::small(file) } else { Window::new(file) };
        Self { window, header: *header, end, entries: 1, verify: true }
    }

    /// Goes on behind `entry`, which is the last of the segment's first `entries` entries.
    pub(super) fn resume(mut self, entry: &EntryHeader, entries: u64) -> Self {
        (self.end, self.entries) = (after(entry), entries);
        self
    }

    /// What the next entry must continue.
    pub(crate) fn end(&self) -> Cursor {
        self.end
    }

    /// `length` bytes at `offset` of the file; `None` past its end.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        self.window.fetch(offset, length)
    }

    /// Looks at what comes next, and goes behind it unless the scan ends there.
    ///
    /// # Errors
    /// If the system fails a read for another reason than the medium.
    pub(crate) fn next(&mut self) -> io::Result<Step> {
        let step = match self.look() {
            Err(error) if is_bad_sector(&error) => {
                broken(Break::Unreadable, "read of the disk", error, "an entry, or zeros")
            }
            step => step?,
        };
        match &step {
            Step::Entry(entry) => {
                self.end = after(entry);
                self.entries += 1;
            }
            Step::Gap(length) => self.end.position += length,
            Step::Stop(_) => {}
        }
        Ok(step)
    }

    /// Whether there are only zeros from `offset` to the end of the file. What cannot be read is not known to be zero.
    ///
    /// # Errors
    /// If the system fails a read for another reason than the medium.
    pub(crate) fn only_zeros_from(&mut self, offset: u64) -> io::Result<bool> {
        match self.first_nonzero(offset..self.header.size) {
            Err(error) if is_bad_sector(&error) => Ok(false),
            nonzero => Ok(nonzero?.is_none()),
        }
    }

    /// The offset of the first byte in `range` that is not zero. If the file ends before `range` does, the offset at
    /// which the read began that found this.
    ///
    /// # Errors
    /// If the system fails a read.
    pub(crate) fn first_nonzero(&mut self, range: Range<u64>) -> io::Result<Option<u64>> {
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(Window::READ as u64);
            let Some(bytes) = self.window.fetch(offset, length as usize)? else { return Ok(Some(offset)) };
            if !is_zero(bytes) {
                let at = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
                return Ok(Some(offset + at as u64));
            }
            offset += length;
        }
        Ok(None)
    }

    /// The header of the entry at which the scan stopped, if it is good and in its place, whatever else does not fit.
    pub(crate) fn stopped_at(&mut self) -> Option<EntryHeader> {
        self.header_at(self.end.position.checked_sub(self.header.start.position)?).ok().flatten()
    }

    /// Goes on at the first place from `offset` on where a good header stands, or where a blank fills the rest, and
    /// trusts it about what comes before. `false` if there is none: the scan stays where it is.
    ///
    /// # Errors
    /// If the system fails a read for another reason than the medium.
    pub(crate) fn resume_from(&mut self, offset: u64) -> io::Result<bool> {
        let mut offset = offset.next_multiple_of(ALIGNMENT as u64);
        while offset + BLANK_HEADER as u64 <= self.header.size {
            match self.place_at(offset) {
                Ok(Some(place)) => {
                    self.end = place;
                    // A blank here cannot be the gap before the first entry.
                    self.entries += 1;
                    return Ok(true);
                }
                Ok(None) => offset += ALIGNMENT as u64,
                Err(error) if is_bad_sector(&error) => offset = (offset + 1).next_multiple_of(SECTOR),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn place_at(&mut self, offset: u64) -> io::Result<Option<Cursor>> {
        let rest = self.header.size - offset;
        let Some(bytes) = self.window.fetch(offset, BLANK_HEADER)? else { return Ok(None) };
        let position = self.header.start.position + offset;
        if is_blank(bytes) {
            let blank = decode_blank(bytes).ok().filter(|(length, _)| u64::from(*length) == rest);
            return Ok(blank.map(|(_, chain)| Cursor { position, chain, ..self.end }));
        }
        if !EntryHeader::is_marked(bytes) {
            return Ok(None);
        }
        Ok(self.header_at(offset)?.filter(|entry| entry.number >= self.end.number).map(|entry| Cursor {
            position,
            number: entry.number,
            index: entry.index,
            term: entry.term,
            timestamp: entry.timestamp,
            chain: entry.previous,
        }))
    }

    /// The header at `offset`, if it is good and names this place, and its entry ends in this segment.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<EntryHeader>> {
        let Some(bytes) = self.window.fetch(offset, ENTRY_HEADER)? else { return Ok(None) };
        let (position, rest) = (self.header.start.position + offset, self.header.size - offset);
        let fits = |entry: &EntryHeader| entry.position == position && entry.length() as u64 <= rest;
        Ok(EntryHeader::decode(bytes).ok().filter(fits))
    }

    fn look(&mut self) -> io::Result<Step> {
        let next = self.end;
        let offset = next.position.saturating_sub(self.header.start.position);
        let rest = self.header.size.saturating_sub(offset);
        let Some(bytes) = self.window.fetch(offset, ENTRY_HEADER.min(rest as usize))? else {
            let expected = format!("{} bytes", self.header.size);
            return Ok(broken(Break::TornHeader, "file", "shorter than its segment", expected));
        };
        if is_zero(bytes) {
            return Ok(Step::Stop(Stop::Clean));
        }
        if is_blank(bytes) {
            let first = self.entries == 0 && offset == SEGMENT_HEADER as u64;
            return Ok(blank(&bytes[..BLANK_HEADER.min(bytes.len())], offset, rest, first, next.chain));
        }
        let entry = match EntryHeader::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                let kind = if torn(bytes, offset) { Break::TornHeader } else { Break::RottenHeader };
                return Ok(stopped(kind, error.mismatch("entry header")));
            }
        };
        if let Some(mismatch) = breaks(&entry, &next) {
            return Ok(stopped(Break::OtherPast, mismatch));
        }
        if entry.kind == EntryKind::Roll && !stays(entry.position, entry.length(), entry.kind, self.header.size) {
            let found = format!("a roll at byte {offset}");
            return Ok(broken(Break::OtherPast, "place of the entry", found, "one where a segment begins"));
        }
        if entry.length() as u64 > rest {
            let found = format!("{} bytes", entry.length());
            return Ok(broken(Break::OtherPast, "entry length", found, format!("at most {rest} bytes")));
        }
        if !self.verify {
            return Ok(Step::Entry(entry));
        }
        // If the file ends inside the entry, there are no bytes, and `verify` says that it is cut short.
        let bytes = self.window.fetch(offset, entry.length())?.unwrap_or_default();
        Ok(match entry.verify(bytes) {
            Ok(()) => match well_made(&entry, bytes) {
                Ok(()) => Step::Entry(entry),
                Err(error) => broken(Break::RottenBody, "batch", error, "a batch"),
            },
            Err(error) => {
                let kind = if torn(bytes, offset) { Break::TornBody } else { Break::RottenBody };
                stopped(kind, error.mismatch("chain value"))
            }
        })
    }
}

/// What the blank at `offset` says, with `rest` bytes left in the segment, behind an entry with chain value `expected`.
fn blank(bytes: &[u8], offset: u64, rest: u64, first: bool, expected: u32) -> Step {
    let (length, chain) = match decode_blank(bytes) {
        Ok((length, chain)) => (u64::from(length), chain),
        Err(error) => {
            let kind = if torn(bytes, offset) { Break::TornBlank } else { Break::RottenBlank };
            return broken(kind, "blank", error, format!("a blank of {rest} bytes"));
        }
    };
    match length == rest && chain == expected {
        true => Step::Stop(Stop::Sealed),
        false if first && length < rest => Step::Gap(length),
        false => {
            let blank = |length: u64, chain| format!("{length} bytes behind chain value {chain:#010x}");
            broken(Break::OtherPast, "blank", blank(length, chain), blank(rest, expected))
        }
    }
}

/// The chain value says that these are the bytes a leader made, not that it made them well; no reader checks a verified
/// batch again.
fn well_made(entry: &EntryHeader, bytes: &[u8]) -> Result<(), BatchError> {
    match entry.kind {
        EntryKind::Batch => {
            let body = &bytes[ENTRY_HEADER..ENTRY_HEADER + entry.body as usize];
            Batch::parse(body, entry.records as usize).map(drop)
        }
        EntryKind::Blank | EntryKind::Membership | EntryKind::Roll => Ok(()),
    }
}

fn broken(kind: Break, what: &'static str, found: impl ToString, expected: impl ToString) -> Step {
    stopped(kind, Mismatch::new(what, found, expected))
}

fn stopped(kind: Break, mismatch: Mismatch) -> Step {
    Step::Stop(Stop::Broken(Broken { kind, mismatch }))
}

/// Why `entry` does not continue `next`; `None` if it does.
pub(crate) fn breaks(entry: &EntryHeader, next: &Cursor) -> Option<Mismatch> {
    // Compared before it is formatted: this runs for every good entry of a scan and of a follower's appends.
    let chain = || {
        let hex = |chain: u32| format!("{chain:#010x}");
        (entry.previous != next.chain)
            .then(|| Mismatch::new("chain value before the entry", hex(entry.previous), hex(next.chain)))
    };
    let term =
        || (entry.term < next.term).then(|| Mismatch::new("term", entry.term, format!("{} or later", next.term)));
    Mismatch::between("position of the entry", entry.position, next.position)
        .or_else(|| Mismatch::between("number of the entry", entry.number, next.number))
        .or_else(|| Mismatch::between("index of the entry", entry.index, next.index))
        .or_else(chain)
        .or_else(term)
}

/// Whether a write that did not end explains that `bytes`, which begin at `offset` of the file, are not what they
/// should be. A segment is zeros before it is written. A sector reaches the disk as a whole or not at all, and a page
/// reaches the page cache so when the process dies. So such a write leaves the part of `bytes` in at least one sector
/// all zeros.
///
/// An entry whose own bytes are zeros over a whole sector looks torn whatever happened to it.
fn torn(bytes: &[u8], offset: u64) -> bool {
    let head = (SECTOR - offset % SECTOR).min(bytes.len() as u64) as usize;
    let (first, others) = bytes.split_at(head);
    is_zero(first) || others.chunks(SECTOR as usize).any(is_zero)
}

/// Compares with zeros a block at a time, because recovery looks at whole segments.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|block| *block == ZEROS[..block.len()])
}
