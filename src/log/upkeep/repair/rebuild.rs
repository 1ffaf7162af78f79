//! One segment under repair: the good entries of the old file, and a new file beside it, begun at the first difference.
//!
//! [`Rebuild`] writes only verified bytes to the new file, in order: it copies nothing of the old file unverified.

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

/// Bytes that [`copy`] holds in memory at once: a segment may be far larger.
const CHUNK: u64 = 1 << 20;

/// Rebuilds one segment, from its start to its end.
pub(super) struct Rebuild {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    header: SegmentHeader,
    /// Position of the first entry.
    first: u64,
    /// The old file, if there is one.
    file: Option<Arc<dyn DiskFile>>,
    head: Head,
    /// `None` until the old file differs from what the segment must hold.
    new: Option<NewFile>,
    /// What the next entry must continue.
    cursor: Cursor,
    /// Entries so far, from the old file or a peer.
    entries: u64,
    /// The last entry came from a peer because the old file lacks it: the bytes behind it may be damaged too.
    doubtful: bool,
    ranges: Vec<RepairedRange>,
}

/// What the old file begins with.
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
    /// A good header of another position or another history.
    Other,
}

/// The next thing in the old file that continues the log: the caller of [`Rebuild::walk`] keeps or rejects it.
pub(super) enum Offer<'a> {
    /// An entry that continues the log.
    Entry(&'a EntryHeader),
    /// The blank that seals the segment.
    Blank,
}

/// How far [`Rebuild::walk`] came.
pub(super) enum Walked {
    /// To the entry `upto`.
    Paused,
    /// To the blank at the end.
    Sealed,
    /// To bytes that it does not keep.
    Stopped(Stopped),
}

/// The bytes of the old file that [`Rebuild::walk`] does not keep.
pub(super) enum Stopped {
    /// There is no file, or the caller rejected the offer.
    Nothing,
    /// Zeros; `true`: other bytes follow them.
    Clean(bool),
    Broken(Break),
}

/// A complete segment with a new file, which is not installed yet.
pub(super) struct Finished {
    pub(super) new: NewFile,
    pub(super) header: SegmentHeader,
    pub(super) entries: EntryIndex,
    pub(super) ranges: Vec<RepairedRange>,
}

impl Rebuild {
    /// Begins at the start of the segment: `file` is its old file, `start` what its header must say, `first` the
    /// position of its first entry.
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

    /// What the next entry must continue.
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

    /// Keeps the old file's entries, and its blank, as long as each continues the log and is `wanted`. Pauses before
    /// entry `upto`.
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

    /// The row of the recovery table that describes where the walk stopped. `later`: there are later segments; `first`:
    /// this is the first segment.
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

    /// Writes an entry of the peer `from`. The caller has checked that it continues the log here.
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

    /// Fills the rest of the segment with a blank. `good`: the old file has that blank already.
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

    /// Begins the new file even if the old one shows no difference.
    pub(super) fn renew(&mut self) -> Result<(), RepairError> {
        let failed = io_error("write a new file for", &self.path);
        Ok(self.new_file().map(drop).map_err(failed)?)
    }

    /// Ends the log here: the new file has zeros behind the last entry.
    pub(super) fn cut(&mut self) -> Result<(), RepairError> {
        self.renew()?;
        self.note(self.cursor.position..self.end_position(), Repaired::Tail);
        Ok(())
    }

    /// Syncs the new file and reads all of it again, to verify it. `None`: nothing differed, so there is no new file.
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

    /// The new file. The first call makes it, and copies the good entries before the cursor from the old file.
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
        // `new` is set above, so the error cannot happen.
        self.new.as_ref().map(|new| &new.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A temporary file that [`install`](Self::install) renames to `path`. Dropped before that, it is removed.
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

    /// Replaces the old file. The caller makes that durable with a sync of the directory.
    pub(super) fn install(mut self) -> io::Result<()> {
        self.disk.rename(&self.temporary, &self.path)?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.installed {
            // A failure does no harm: the next repair or start removes the file.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// The bytes that a segment file begins with, each with its offset: the header, and a blank up to the entry at `first`.
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

/// Whether a batch's body can be parsed. The chain value only proves that a leader made these bytes, not that the
/// leader made a valid batch.
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
