//! Finding a segment's entries again: by going over them, or by the index file.

use std::io;

use super::entry_index::EntryIndex;
use super::scanner::{Scanner, Step, Stop};
use crate::disk::{DiskFile, is_bad_sector};
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::index::{self, Unit};
use crate::format::segment::SegmentHeader;

/// What a scan found.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    /// The entries before the stop.
    pub(crate) entries: EntryIndex,
    /// Why it stopped.
    pub(crate) stop: Stop,
    /// Highest commit point that a good entry names: records below are known to be committed.
    pub(crate) committed: u64,
    /// Whether anything but zeros lies behind the place of [`Stop::Clean`].
    pub(crate) leftovers: bool,
}

/// Scans the segment in `file`, whose header has been read. With `verify` the chain value of every entry is computed,
/// otherwise only headers are checked and the first read of an entry verifies it.
pub(crate) fn scan(file: &dyn DiskFile, header: &SegmentHeader, verify: bool) -> io::Result<SegmentScan> {
    let mut scanner = Scanner::new(file, header, verify);
    let start = header.start;
    let mut entries = Vec::new();
    let mut committed = 0;
    let stop = loop {
        match scanner.next()? {
            Step::Entry(entry) => {
                let (offset, index) = (entry.position - start.position, entry.index - start.index);
                entries.push(Unit::new(offset as u32, index as u32, entry.kind == EntryKind::Membership));
                committed = committed.max(entry.committed);
            }
            Step::Gap(_) => {}
            Step::Stop(stop) => break stop,
        }
    };
    let end = scanner.end();
    let leftovers = stop == Stop::Clean && !scanner.only_zeros_from(end.position - start.position)?;
    Ok(SegmentScan { entries: EntryIndex::found(start, end, entries, verify), stop, committed, leftovers })
}

/// The entries of a sealed segment by its index file; `None` if the index does not fit the segment.
pub(crate) fn by_index(file: &dyn DiskFile, header: &SegmentHeader, bytes: &[u8]) -> io::Result<Option<SegmentScan>> {
    let start = header.start;
    let Some((chain, entries)) = index::decode(bytes, start.position) else { return Ok(None) };
    let in_order = entries.windows(2).all(|pair| pair[0].offset() + ENTRY_HEADER <= pair[1].offset());
    let in_bounds = entries.last().is_none_or(|last| ((last.offset() + ENTRY_HEADER) as u64) < header.size);
    if !in_order || !in_bounds {
        return Ok(None);
    }
    let mut scanner = Scanner::new(file, header, false);
    let mut committed = 0;
    if let Some(last) = entries.last() {
        let bytes = match scanner.bytes(last.offset() as u64, ENTRY_HEADER) {
            Ok(Some(bytes)) => bytes,
            Err(error) if !is_bad_sector(&error) => return Err(error),
            // A scan reports a bad sector, and a file that is too short.
            _ => return Ok(None),
        };
        let number = start.number + entries.len() as u64 - 1;
        match EntryHeader::decode(bytes) {
            Ok(entry) if entry.number == number && entry.chain == chain => {
                committed = entry.committed;
                scanner = scanner.resume(&entry, entries.len() as u64);
            }
            _ => return Ok(None),
        }
    }
    match scanner.next()? {
        Step::Stop(Stop::Sealed) => {
            let entries = EntryIndex::found(start, scanner.end(), entries, false);
            Ok(Some(SegmentScan { entries, stop: Stop::Sealed, committed, leftovers: false }))
        }
        _ => Ok(None),
    }
}
