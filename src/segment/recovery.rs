//! Finding a segment's entries again.
//!
//! The scan reads with `pread`: a bad sector is an error here, where a mapping would fault. It never decides; it says
//! where it stopped and why, and the log decides what that means.

use std::io;
use std::sync::Arc;

use super::units::{Units, after};
use crate::disk::DiskFile;
use crate::format::batch::Batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::index::{self, Unit};
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader, decode_blank, is_blank};

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The entries before the stop.
    pub(crate) units: Units,
    /// Why it stopped.
    pub(crate) stop: Stop,
    /// Highest commit point that a good entry names: records below are known to be committed.
    pub(crate) committed: u64,
}

/// Why a scan stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A blank fills the rest: the segment is complete.
    Sealed,
    /// Zeros where an entry would begin: nothing was written further on.
    Clean,
    /// Something else is there: a torn or stale tail, or damage.
    Bad(String),
}

/// Scans the segment in `file`, whose header has been read. With `verify` the chain value of every entry is computed,
/// otherwise only headers are checked and the first read of an entry verifies it.
pub(crate) fn scan(file: &Arc<dyn DiskFile>, header: &SegmentHeader, verify: bool) -> io::Result<Scan> {
    let mut window = Window::new(file.as_ref());
    let start = header.start;
    let mut end = Cursor { position: start.position + SEGMENT_HEADER as u64, ..start };
    let mut units = Vec::new();
    let mut committed = 0;
    let stop = loop {
        let offset = end.position - start.position;
        match step(&mut window, header, offset, &end, units.is_empty(), verify)? {
            Step::Entry(entry) => {
                let index = entry.index - start.index;
                units.push(Unit::new(offset as u32, index as u32, entry.kind == EntryKind::Membership));
                committed = committed.max(entry.committed);
                end = after(&entry);
            }
            Step::Gap(length) => end.position += length,
            Step::Stop(stop) => break stop,
        }
    };
    Ok(Scan { units: Units::found(start, end, units, verify), stop, committed })
}

/// The entries of a sealed segment by its index file; `None` if the index does not fit the segment.
pub(crate) fn by_index(file: &Arc<dyn DiskFile>, header: &SegmentHeader, bytes: &[u8]) -> io::Result<Option<Scan>> {
    let start = header.start;
    let Some((chain, units)) = index::decode(bytes, start.position) else { return Ok(None) };
    let in_order = units.windows(2).all(|pair| pair[0].offset() + ENTRY_HEADER <= pair[1].offset());
    let in_bounds = units.last().is_none_or(|last| ((last.offset() + ENTRY_HEADER) as u64) < header.size);
    if !in_order || !in_bounds {
        return Ok(None);
    }
    let mut window = Window::new(file.as_ref());
    let (mut end, mut committed) = (Cursor { position: start.position + SEGMENT_HEADER as u64, ..start }, 0);
    if let Some(last) = units.last() {
        let Some(bytes) = window.fetch(last.offset() as u64, ENTRY_HEADER)? else { return Ok(None) };
        let number = start.number + units.len() as u64 - 1;
        match EntryHeader::decode(bytes) {
            Ok(entry) if entry.number == number && entry.chain == chain => {
                (end, committed) = (after(&entry), entry.committed);
            }
            _ => return Ok(None),
        }
    }
    let offset = end.position.saturating_sub(start.position);
    match step(&mut window, header, offset, &end, units.is_empty(), false)? {
        Step::Stop(Stop::Sealed) => {
            Ok(Some(Scan { units: Units::found(start, end, units, false), stop: Stop::Sealed, committed }))
        }
        _ => Ok(None),
    }
}

enum Step {
    Entry(EntryHeader),
    Gap(u64),
    Stop(Stop),
}

/// Looks at what lies at `offset`, where `next` says what an entry must continue.
fn step(
    window: &mut Window<'_>,
    header: &SegmentHeader,
    offset: u64,
    next: &Cursor,
    first: bool,
    verify: bool,
) -> io::Result<Step> {
    let rest = header.size.saturating_sub(offset);
    let Some(bytes) = window.fetch(offset, ENTRY_HEADER.min(rest as usize))? else {
        return Ok(Step::Stop(Stop::Bad("the file is too short".into())));
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Step::Stop(Stop::Clean));
    }
    if is_blank(bytes) {
        return Ok(match decode_blank(bytes) {
            Ok((length, chain)) if u64::from(length) == rest && chain == next.chain => Step::Stop(Stop::Sealed),
            Ok((length, _)) if first && offset == SEGMENT_HEADER as u64 && u64::from(length) < rest => {
                Step::Gap(length.into())
            }
            Ok((length, chain)) => Step::Stop(Stop::Bad(format!(
                "a blank of {length} bytes behind chain value {chain:#010x}, expected {rest} behind {:#010x}",
                next.chain
            ))),
            Err(error) => Step::Stop(Stop::Bad(format!("blank: {error}"))),
        });
    }
    let entry = match EntryHeader::decode(bytes) {
        Ok(entry) => entry,
        Err(error) => return Ok(Step::Stop(Stop::Bad(error.to_string()))),
    };
    if let Some(why) = breaks(&entry, next) {
        return Ok(Step::Stop(Stop::Bad(why)));
    }
    if entry.length() as u64 > rest {
        return Ok(Step::Stop(Stop::Bad(format!("an entry of {} bytes where {rest} are left", entry.length()))));
    }
    if verify {
        let verdict = match window.fetch(offset, entry.length())? {
            Some(bytes) => intact(&entry, bytes),
            None => Err("the file is too short".into()),
        };
        if let Err(why) = verdict {
            return Ok(Step::Stop(Stop::Bad(why)));
        }
    }
    Ok(Step::Entry(entry))
}

/// Checks all of an entry: nobody looks at its checksum again.
fn intact(entry: &EntryHeader, bytes: &[u8]) -> Result<(), String> {
    entry.verify(bytes).map_err(|error| error.to_string())?;
    // The chain value says that these are the bytes a leader made, not that it made them well.
    if entry.kind == EntryKind::Batch {
        let body = &bytes[ENTRY_HEADER..ENTRY_HEADER + entry.body as usize];
        Batch::parse(body, entry.records as usize).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Why `entry` does not continue `next`; `None` if it does.
pub(crate) fn breaks(entry: &EntryHeader, next: &Cursor) -> Option<String> {
    let differs =
        |what, found: u64, expected: u64| (found != expected).then(|| format!("{what} {found}, expected {expected}"));
    differs("entry of position", entry.position, next.position)
        .or_else(|| differs("entry number", entry.number, next.number))
        .or_else(|| differs("index", entry.index, next.index))
        .or_else(|| differs("chained behind", entry.previous.into(), next.chain.into()))
        .or_else(|| (entry.term < next.term).then(|| format!("term {} behind term {}", entry.term, next.term)))
}

/// A moving window over a file: few reads for many small looks.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const READ: usize = 256 * 1024;

    fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// `length` bytes at `offset`; `None` past the end of the file.
    fn fetch(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let size = self.file.size();
        if offset.checked_add(length as u64).is_none_or(|end| end > size) {
            return Ok(None);
        }
        let inside = offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(length.max(Self::READ).min((size - offset) as usize), 0);
            self.file.read_at(&mut bytes, offset)?;
            (self.bytes, self.start) = (bytes, offset);
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + length]))
    }
}
