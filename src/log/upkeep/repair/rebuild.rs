//! One segment under repair: what is good of the old file, and the new one that is written beside it from the first
//! thing that is not.
//!
//! The new file is made of verified bytes alone, in order: nothing of the old one is copied that was not looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, TEMPORARY, is_bad_sector};
use crate::error::RepairError;
use crate::format::batch::Batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::frame::Frame;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentError, SegmentHeader, encode_blank};
use crate::log::directory::io_error;
use crate::log::files::log_files::remove_if_there;
use crate::log::recovery::EndCase;
use crate::segment::recovery;
use crate::segment::scanner::{Break, Broken, Scanner, Step, Stop};
use crate::segment::{EntryIndex, after};
use crate::types::{NodeId, Repaired, RepairedRange};

/// Bytes copied at once.
const CHUNK: u64 = 1 << 20;

/// A segment that is gone over from its start to its end.
pub(super) struct Rebuild {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    header: SegmentHeader,
    /// Position of the first entry.
    first: u64,
    file: Option<Arc<dyn DiskFile>>,
    head: Head,
    /// From the first difference on.
    new: Option<NewFile>,
    cursor: Cursor,
    entries: u64,
    /// The last entry was not to be had here: what follows need not be either.
    doubtful: bool,
    ranges: Vec<RepairedRange>,
}

/// What the start of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Good,
    NoFile,
    /// The file is too short, or too long.
    Size {
        short: bool,
    },
    Zeros,
    Rotten,
    /// A good one, of another place or another past.
    Other,
}

/// What the old file offers.
pub(super) enum Offer<'a> {
    /// An entry that continues the log.
    Entry(&'a EntryHeader),
    /// The blank that seals the segment.
    Blank,
}

/// How far going over the old file led.
pub(super) enum Walked {
    /// To the number that was given.
    Paused,
    /// To the blank at the end.
    Sealed,
    /// To something that is not kept.
    Stopped(Stopped),
}

/// What is there and not kept.
pub(super) enum Stopped {
    /// Nothing, or what was not wanted.
    Nothing,
    /// Zeros; `true`: and something behind them.
    Clean(bool),
    Broken(Break),
}

/// A segment that is complete.
pub(super) struct Finished {
    pub(super) new: NewFile,
    pub(super) header: SegmentHeader,
    pub(super) entries: EntryIndex,
    pub(super) ranges: Vec<RepairedRange>,
}

impl Rebuild {
    /// At the start of the segment in `file` (if there is one), which must begin with `start`, and its entries at
    /// `first`.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        file: Option<Arc<dyn DiskFile>>,
        size: u64,
        start: Cursor,
        first: u64,
    ) -> Result<Self, RepairError> {
        let header = SegmentHeader { size, start };
        let head = match &file {
            Some(file) => head(file.as_ref(), &header, first).map_err(io_error("read", &path))?,
            None => Head::NoFile,
        };
        let cursor = Cursor { position: first, ..start };
        let (new, ranges) = (None, Vec::new());
        Ok(Self { disk, path, header, first, file, head, new, cursor, entries: 0, doubtful: false, ranges })
    }

    /// What comes next.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn position(&self) -> u64 {
        self.header.start.position
    }

    pub(super) fn end_position(&self) -> u64 {
        self.header.start.position + self.header.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Keeps what continues the log and is `wanted`, up to entry `upto`.
    pub(super) fn walk(&mut self, upto: u64, wanted: &mut dyn FnMut(Offer<'_>) -> bool) -> Result<Walked, RepairError> {
        let Some(file) = self.file.clone() else {
            return Ok(if self.cursor.number < upto { Walked::Stopped(Stopped::Nothing) } else { Walked::Paused });
        };
        let mut scanner = Scanner::at(file.as_ref(), &self.header, self.cursor, self.doubtful);
        let failed = io_error("read", &self.path);
        loop {
            if self.cursor.number >= upto {
                return Ok(Walked::Paused);
            }
            let offset = self.offset();
            match scanner.next().map_err(&failed)? {
                Step::Entry(entry) => {
                    // In the window: the scanner has just verified it.
                    let bytes = scanner.bytes(offset, entry.length()).map_err(&failed)?.unwrap_or_default();
                    if !well_formed(&entry, bytes) {
                        return Ok(Walked::Stopped(Stopped::Broken(Break::RottenBody)));
                    }
                    if !wanted(Offer::Entry(&entry)) {
                        return Ok(Walked::Stopped(Stopped::Nothing));
                    }
                    self.keep(&entry, bytes).map_err(io_error("write a new file for", &self.path))?;
                }
                Step::Gap(_) => return Ok(Walked::Stopped(Stopped::Broken(Break::OtherPast))),
                Step::Stop(Stop::Sealed) if !wanted(Offer::Blank) => return Ok(Walked::Stopped(Stopped::Nothing)),
                Step::Stop(Stop::Sealed) => {
                    let zeros = scanner.only_zeros_from(offset + BLANK_HEADER as u64).map_err(&failed)?;
                    self.seal(zeros)?;
                    return Ok(Walked::Sealed);
                }
                Step::Stop(Stop::Clean) => {
                    let leftovers = !scanner.only_zeros_from(offset).map_err(&failed)?;
                    return Ok(Walked::Stopped(Stopped::Clean(leftovers)));
                }
                Step::Stop(Stop::Broken(Broken { kind, .. })) => return Ok(Walked::Stopped(Stopped::Broken(kind))),
            }
        }
    }

    /// The row of the recovery table for what is there. `later`: there are later segments.
    pub(super) fn find(&self, stopped: &Stopped, later: bool, first: bool) -> EndCase {
        match (self.head, self.is_empty()) {
            (Head::NoFile, _) if later => EndCase::MissingSegment,
            (Head::NoFile, _) => EndCase::SealedEnd,
            (Head::Size { short: true }, _) if !later => EndCase::ShortEnd,
            (Head::Size { short: true }, _) | (Head::Size { .. }, true) => EndCase::WrongSize,
            (Head::Rotten, true) => EndCase::RottenSegment,
            (Head::Other, true) if first => EndCase::StartNotReached,
            (Head::Other, true) => EndCase::OtherSegment,
            (Head::Zeros, true) => match stopped {
                Stopped::Clean(false) | Stopped::Nothing if !later => EndCase::UnwrittenEnd,
                _ => EndCase::LostHeader,
            },
            _ => match stopped {
                Stopped::Clean(_) | Stopped::Nothing if later => EndCase::LostPage,
                Stopped::Clean(true) => EndCase::StaleTail,
                Stopped::Clean(false) | Stopped::Nothing => EndCase::CleanEnd,
                Stopped::Broken(kind) => EndCase::Broken(*kind),
            },
        }
    }

    /// Writes a peer's entry, which the caller has seen to continue the log here.
    pub(super) fn put(&mut self, frame: &Frame, from: &NodeId) -> Result<(), RepairError> {
        let failed = io_error("write a new file for", &self.path);
        let offset = self.offset();
        self.new_file().and_then(|new| new.write_at(&frame.bytes, offset)).map_err(failed)?;
        let header = &frame.header;
        let indexes = header.index..header.index + u64::from(header.records);
        match self.ranges.last_mut() {
            Some(RepairedRange {
                positions, what: Repaired::Entries { entries, indexes: before, from: same }, ..
            }) if positions.end == header.position && same == from => {
                positions.end = header.end();
                *entries += 1;
                before.end = indexes.end;
            }
            _ => {
                let what = Repaired::Entries { entries: 1, indexes, from: from.clone() };
                self.note(header.position..header.end(), what);
            }
        }
        self.cursor = after(header);
        (self.entries, self.doubtful) = (self.entries + 1, true);
        Ok(())
    }

    /// Fills the rest with a blank. `good`: the old file has it.
    pub(super) fn seal(&mut self, good: bool) -> Result<(), RepairError> {
        if good && self.new.is_none() && self.head == Head::Good {
            return Ok(());
        }
        let (position, end, chain) = (self.cursor.position, self.end_position(), self.cursor.chain);
        let (offset, failed) = (self.offset(), io_error("write a new file for", &self.path));
        // A segment's size fits 32 bits (`MAX_SEGMENT_SIZE`).
        let blank = encode_blank((end - position) as u32, chain);
        self.new_file().and_then(|new| new.write_at(&blank, offset)).map_err(failed)?;
        if !good {
            self.note(position..end, Repaired::Blank);
        }
        Ok(())
    }

    /// Begins the new file, whether or not anything differs.
    pub(super) fn renew(&mut self) -> Result<(), RepairError> {
        let failed = io_error("write a new file for", &self.path);
        Ok(self.new_file().map(drop).map_err(failed)?)
    }

    /// The log ends here: nothing is behind it.
    pub(super) fn cut(&mut self) -> Result<(), RepairError> {
        self.renew()?;
        self.note(self.cursor.position..self.end_position(), Repaired::Tail);
        Ok(())
    }

    /// Makes the new file durable, if there is one, and reads all of it again.
    pub(super) fn complete(self, sealed: bool) -> Result<Option<Finished>, RepairError> {
        let Some(new) = self.new else { return Ok(None) };
        new.file.sync().map_err(io_error("sync", &new.temporary))?;
        let scan = recovery::scan(new.file.as_ref(), &self.header, true).map_err(io_error("read", &new.temporary))?;
        let expected = if sealed { Stop::Sealed } else { Stop::Clean };
        if scan.stop != expected || scan.leftovers || scan.entries.end() != self.cursor {
            let found = format!("{:?} behind {:?}", scan.stop, scan.entries.end());
            return Err(RepairError::Unverified { file: new.temporary.clone(), found });
        }
        Ok(Some(Finished { new, header: self.header, entries: scan.entries, ranges: self.ranges }))
    }

    fn offset(&self) -> u64 {
        self.cursor.position - self.header.start.position
    }

    fn note(&mut self, positions: std::ops::Range<u64>, what: Repaired) {
        self.ranges.push(RepairedRange { file: self.path.clone(), positions, what });
    }

    fn keep(&mut self, entry: &EntryHeader, bytes: &[u8]) -> io::Result<()> {
        if self.new.is_some() || self.head != Head::Good {
            let offset = self.offset();
            self.new_file()?.write_at(bytes, offset)?;
        }
        self.cursor = after(entry);
        (self.entries, self.doubtful) = (self.entries + 1, false);
        Ok(())
    }

    /// The new file; it begins with all that was good before.
    fn new_file(&mut self) -> io::Result<&Arc<dyn DiskFile>> {
        if self.new.is_none() {
            let new = NewFile::create(self.disk.clone(), &self.path, self.header.size)?;
            let (start, file) = (self.header.start.position, &new.file);
            for (offset, bytes) in head_bytes(&self.header, self.first) {
                file.write_at(&bytes, offset)?;
            }
            if let Some(old) = &self.file {
                copy(old.as_ref(), file.as_ref(), self.first - start, self.cursor.position - start)?;
            }
            if self.head != Head::Good {
                self.note(start..self.first, Repaired::Header);
            }
            self.new = Some(new);
        }
        // Made above.
        self.new.as_ref().map(|new| &new.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A file that is to take the place of another one. Removed unless it does.
pub(super) struct NewFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temporary: PathBuf,
    file: Arc<dyn DiskFile>,
    installed: bool,
}

impl NewFile {
    fn create(disk: Arc<dyn Disk>, path: &Path, size: u64) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        let temporary = PathBuf::from(temporary);
        remove_if_there(disk.as_ref(), &temporary)?;
        let file = disk.create(&temporary, size)?;
        Ok(Self { disk, path: path.to_owned(), temporary, file, installed: false })
    }

    pub(super) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Takes the place of the other file. Durable once the directory is synced.
    pub(super) fn install(mut self) -> io::Result<()> {
        self.disk.rename(&self.temporary, &self.path)?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.installed {
            // The next repair, or the next start, removes it too.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// What a file begins with: where and which bytes.
fn head_bytes(header: &SegmentHeader, first: u64) -> Vec<(u64, Vec<u8>)> {
    let mut head = vec![(0, header.encode().to_vec())];
    let gap = first - header.start.position - SEGMENT_HEADER as u64;
    if gap > 0 {
        head.push((SEGMENT_HEADER as u64, encode_blank(gap as u32, header.start.chain).to_vec()));
    }
    head
}

fn head(file: &dyn DiskFile, header: &SegmentHeader, first: u64) -> io::Result<Head> {
    if file.size() != header.size {
        return Ok(Head::Size { short: file.size() < header.size });
    }
    let mut good = true;
    for (offset, expected) in head_bytes(header, first) {
        let mut bytes = vec![0; expected.len()];
        match file.read_at(&mut bytes, offset) {
            Err(error) if is_bad_sector(&error) => return Ok(Head::Rotten),
            read => read?,
        }
        good &= bytes == expected;
    }
    if good {
        return Ok(Head::Good);
    }
    let mut bytes = [0; SEGMENT_HEADER];
    file.read_at(&mut bytes, 0)?;
    Ok(match SegmentHeader::decode(&bytes) {
        Err(SegmentError::Absent) => Head::Zeros,
        Err(_) => Head::Rotten,
        Ok(_) => Head::Other,
    })
}

/// The chain value says that these are the bytes a leader made, not that it made them well.
fn well_formed(entry: &EntryHeader, bytes: &[u8]) -> bool {
    let body = bytes.get(ENTRY_HEADER..ENTRY_HEADER + entry.body as usize).unwrap_or_default();
    entry.kind != EntryKind::Batch || Batch::parse(body, entry.records as usize).is_ok()
}

fn copy(from: &dyn DiskFile, to: &dyn DiskFile, mut offset: u64, end: u64) -> io::Result<()> {
    while offset < end {
        let mut bytes = vec![0; CHUNK.min(end - offset) as usize];
        from.read_at(&mut bytes, offset)?;
        to.write_at(&bytes, offset)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}
