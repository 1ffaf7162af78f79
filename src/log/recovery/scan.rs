//! [`Scan`]: goes from segment to segment as long as they continue each other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, is_bad_sector};
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::segment::{Cursor, MAX_PLACE, SEGMENT_HEADER, SegmentError, SegmentHeader};
use crate::format::{FORMAT_VERSION, index};
use crate::log::directory::{Directory, io_error};
use crate::log::lost_entries::LostEntries;
use crate::log::names::{self, FileKind};
use crate::log::recovery::{EndCase, FileDecision, IndexCase, decide_index};
use crate::segment::recovery::{self, SegmentScan};
use crate::segment::scanner::{Break, Broken, Scanner, Stop};
use crate::segment::{MappedFile, Segment, after};

/// The files of a directory that matter to a start.
pub(in crate::log) struct Listing {
    /// Positions of the segments, ascending.
    pub(in crate::log) positions: Vec<u64>,
    /// The files that an interrupted write left, and those of segments before the log's start.
    pub(in crate::log) stale: Vec<PathBuf>,
}

impl Listing {
    /// Lists the directory of a log that begins at `base`.
    pub(in crate::log) fn read(disk: &dyn Disk, directory: &Directory, base: Cursor) -> Result<Self, OpenError> {
        let (path, size) = (directory.path(), directory.identity().segment_size);
        let mut listing = Self { positions: Vec::new(), stale: Vec::new() };
        let begins = base.position / size * size;
        for name in disk.list(path).map_err(io_error("list", path))? {
            let file = path.join(&name);
            match names::kind(&name) {
                Some(FileKind::Segment(at) | FileKind::Index(at)) if at % size != 0 || at > MAX_PLACE => {
                    tracing::warn!(file = %file.display(), "leaves the file alone: no segment begins at its position");
                }
                Some(FileKind::Segment(at) | FileKind::Index(at)) if at < begins => listing.stale.push(file),
                Some(FileKind::Segment(at)) => listing.positions.push(at),
                Some(FileKind::Temporary) => listing.stale.push(file),
                Some(FileKind::Fixed) if name == names::SPARE => listing.stale.push(file),
                // `put_back` has given the renamed files their names back.
                Some(FileKind::Fixed | FileKind::Index(_) | FileKind::Renaming) => {}
                None => tracing::warn!(file = %file.display(), "leaves the file alone: it is not one of the ledger's"),
            }
        }
        listing.positions.sort_unstable();
        Ok(listing)
    }
}

/// The segments that continue each other, and why there are no more.
pub(in crate::log) struct Scan {
    pub(in crate::log) segments: Vec<Arc<Segment>>,
    /// Highest commit point, as an index, that a good entry names.
    pub(in crate::log) committed: u64,
    /// Whether a blank fills the last of `segments`.
    pub(in crate::log) last_is_sealed: bool,
    /// Where the scan ended.
    pub(in crate::log) ended: ScanEnd,
    /// Segment files behind the end.
    pub(in crate::log) leftovers: Vec<PathBuf>,
    /// Sealed segments whose index file must be made.
    pub(in crate::log) without_index: Vec<Arc<Segment>>,
}

/// Where a scan ended, and why.
#[derive(Debug, Clone)]
pub(in crate::log) struct ScanEnd {
    pub(in crate::log) case: EndCase,
    pub(in crate::log) file: PathBuf,
    /// What stands there, and what would continue the log.
    pub(in crate::log) mismatch: Mismatch,
}

impl ScanEnd {
    pub(in crate::log) fn new(case: EndCase, file: PathBuf) -> Self {
        Self { case, file, mismatch: Mismatch::new(case.name(), case.name(), "") }
    }

    fn with(self, what: &'static str, found: impl ToString, expected: impl ToString) -> Self {
        Self { mismatch: Mismatch::new(what, found, expected), ..self }
    }
}

impl Scan {
    /// Scans from `base`. A note says that segments that end below `trusted` were synced; the scan checks every byte of
    /// later ones, because any page of theirs may be missing. Segments that end below `settled` are never written to
    /// again.
    pub(in crate::log) fn run(
        disk: &Arc<dyn Disk>,
        directory: &Directory,
        positions: &[u64],
        base: Cursor,
        trusted: u64,
        settled: u64,
    ) -> Result<Self, OpenError> {
        let size = directory.identity().segment_size;
        let mut walk = Self {
            segments: Vec::new(),
            committed: 0,
            last_is_sealed: false,
            ended: ScanEnd::new(EndCase::CleanEnd, directory.path().to_owned()),
            leftovers: Vec::new(),
            without_index: Vec::new(),
        };
        let mut expected = base.position / size * size;
        for (at, &position) in positions.iter().enumerate() {
            let (file, last) = (directory.segment(position), at + 1 == positions.len());
            let looked = if position != expected {
                let ended = ScanEnd::new(EndCase::MissingSegment, directory.segment(expected));
                Err(ended.with("segment", "no file", format!("the segment of position {expected}")))
            } else {
                let verify = last || position + size > trusted;
                open_segment(disk, directory, position, verify, last, walk.segments.last())?
            };
            match looked {
                Ok(opened) => {
                    let segment = Arc::new(opened.segment);
                    if segment.end_position() <= settled {
                        segment.let_go();
                    }
                    walk.committed = walk.committed.max(opened.committed);
                    walk.segments.push(segment.clone());
                    walk.last_is_sealed = opened.stop == Stop::Sealed;
                    if opened.index == FileDecision::Make {
                        walk.without_index.push(segment);
                    }
                    walk.ended = match ended(file, opened.stop, opened.leftovers, last) {
                        ScanEnd { case: EndCase::SealedEnd, .. } if !last => {
                            expected = position + size;
                            continue;
                        }
                        ended => ended,
                    };
                }
                Err(ended) => {
                    walk.leftovers.push(file);
                    walk.ended = ended;
                }
            }
            walk.leftovers.extend(positions[at + 1..].iter().map(|later| directory.segment(*later)));
            break;
        }
        Ok(walk)
    }

    /// Takes back the last roll if the segment that it began is empty: its first entry was never written or is to be
    /// cut. A replacement may fit into the segment before, and then has its place there on all replicas.
    pub(in crate::log) fn take_back_roll(&mut self) {
        if let [.., _, last] = &self.segments[..]
            && last.start().number == last.end().number
        {
            self.last_is_sealed = true;
            self.leftovers.insert(0, last.path().to_owned());
            self.segments.pop();
        }
    }

    /// Counts the readable entries behind `end`, which are to be cut.
    ///
    /// # Errors
    /// If the system fails.
    pub(in crate::log) fn remains(&self, disk: &dyn Disk, end: Cursor) -> Result<LostEntries, OpenError> {
        let mut remains = LostEntries::default();
        let last = self.segments.last();
        let rest = last.map(|last| (last.position(), end.position.saturating_sub(last.position()), last.path()));
        let later = self.leftovers.iter().filter_map(|file| {
            let name = file.file_name()?.to_str()?;
            match names::kind(name)? {
                FileKind::Segment(position) => Some((position, SEGMENT_HEADER as u64, file.as_path())),
                _ => None,
            }
        });
        for (position, offset, file) in rest.into_iter().chain(later) {
            remains.look(disk, file, position, offset, end).map_err(io_error("read", file))?;
        }
        Ok(remains)
    }

    /// What the next entry must continue where the scan ended.
    pub(in crate::log) fn end(&self, base: Cursor) -> Cursor {
        self.segments.last().map_or(base, |last| last.end())
    }

    /// What entry `number` continues; `None` if the entry before it was not found.
    ///
    /// # Errors
    /// If the header of the entry before is damaged.
    pub(in crate::log) fn cursor(&self, number: u64) -> Result<Option<Cursor>, Damage> {
        match self.segments.iter().rev().find(|segment| segment.start().number < number) {
            Some(segment) => Ok(segment.entry_header(number - 1)?.map(|header| after(&header))),
            None => Ok(self.segments.first().map(|first| first.start()).filter(|start| start.number == number)),
        }
    }

    /// Whether the segments lead to `base`. They need not after a reset that a crash interrupted: a reset records the
    /// new start before it removes the old segments.
    pub(in crate::log) fn reaches(&self, base: Cursor) -> Result<bool, Damage> {
        let Some(first) = self.segments.first() else { return Ok(true) };
        if base.number == 0 {
            return Ok(first.start().chain == base.chain && first.start().number == 0);
        }
        let end = self.end(base);
        let passes = first.start().number <= base.number && end.number >= base.number && end.position >= base.position;
        Ok(passes && self.cursor(base.number)?.is_some_and(|there| there.chain == base.chain))
    }

    /// Discards all segments that were found.
    pub(in crate::log) fn forget(&mut self) {
        self.leftovers.splice(..0, self.segments.drain(..).map(|segment| segment.path().to_owned()));
        (self.committed, self.last_is_sealed) = (0, false);
        self.without_index.clear();
    }
}

/// Stands for an unknown place.
const NOWHERE: Cursor = Cursor { position: 0, number: 0, index: 0, term: 0, timestamp: 0, chain: 0 };

fn ended(file: PathBuf, stop: Stop, leftovers: bool, last: bool) -> ScanEnd {
    let new = |case| ScanEnd::new(case, file.clone());
    match (stop, last) {
        (Stop::Sealed, _) => new(EndCase::SealedEnd),
        (Stop::Clean, true) if leftovers => new(EndCase::StaleTail).with("rest of the file", "bytes", "zeros"),
        (Stop::Clean, true) => new(EndCase::CleanEnd),
        (Stop::Clean, false) => new(EndCase::LostPage).with("entry", "zeros, and later segments", "an entry"),
        (Stop::Broken(Broken { kind, mismatch }), _) => ScanEnd { mismatch, ..new(EndCase::Broken(kind)) },
    }
}

/// A segment that continues the one before.
struct Opened {
    segment: Segment,
    stop: Stop,
    leftovers: bool,
    committed: u64,
    /// What a start does about the segment's index file.
    index: FileDecision,
}

fn open_segment(
    disk: &Arc<dyn Disk>,
    directory: &Directory,
    position: u64,
    verify: bool,
    last: bool,
    before: Option<&Arc<Segment>>,
) -> Result<Result<Opened, ScanEnd>, OpenError> {
    let (path, size) = (directory.segment(position), directory.identity().segment_size);
    let ended = |case| ScanEnd::new(case, path.clone());
    let file = disk.open(&path).map_err(io_error("open", &path))?;
    if file.size() != size {
        let case = if last && file.size() < size { EndCase::ShortEnd } else { EndCase::WrongSize };
        return Ok(Err(ended(case).with("file size", file.size(), size)));
    }
    let mut bytes = [0; SEGMENT_HEADER];
    match file.read_at(&mut bytes, 0) {
        Err(error) if is_bad_sector(&error) => {
            let unreadable = ended(EndCase::Broken(Break::Unreadable));
            return Ok(Err(unreadable.with("read of the disk", error, "a segment header")));
        }
        read => read.map_err(io_error("read", &path))?,
    }
    let header = match SegmentHeader::decode(&bytes) {
        Ok(header) => header,
        Err(SegmentError::Absent) if last => {
            let start = Cursor { position, ..before.map_or(NOWHERE, |before| before.end()) };
            let rest = Scanner::new(file.as_ref(), &SegmentHeader { size, start }, true)
                .only_zeros_from(SEGMENT_HEADER as u64)
                .map_err(io_error("read", &path))?;
            return Ok(Err(match rest {
                true => ended(EndCase::UnwrittenEnd),
                false => ended(EndCase::LostHeader).with("segment header", "zeros, and bytes behind", "a header"),
            }));
        }
        Err(SegmentError::Absent) => {
            return Ok(Err(ended(EndCase::LostHeader).with("segment header", "zeros, and later segments", "a header")));
        }
        Err(SegmentError::Version { found }) => {
            return Err(OpenError::Version { file: path, found, supported: FORMAT_VERSION });
        }
        Err(error) => return Ok(Err(ended(EndCase::RottenSegment).with("segment header", error, "a header"))),
    };
    let expected = match before {
        Some(before) => Cursor { position, ..before.end() },
        None => Cursor { position, ..header.start },
    };
    if header.size != size || header.start != expected {
        let other = ended(EndCase::OtherSegment);
        let found = format!("{:?}, {} bytes", header.start, header.size);
        return Ok(Err(other.with("segment header", found, format!("{expected:?}, {size} bytes"))));
    }
    let (scan, index) = scan(disk.as_ref(), directory, file.as_ref(), &header, verify)?;
    let SegmentScan { entries, stop, committed, leftovers } = scan;
    let mapped = MappedFile::new(file).map_err(io_error("map", &path))?;
    let segment = Segment::new(disk.clone(), path, header, mapped, entries);
    Ok(Ok(Opened { segment, stop, leftovers, committed, index }))
}

fn scan(
    disk: &dyn Disk,
    directory: &Directory,
    file: &dyn DiskFile,
    header: &SegmentHeader,
    verify: bool,
) -> Result<(SegmentScan, FileDecision), OpenError> {
    let position = header.start.position;
    let (segment, path) = (directory.segment(position), directory.index(position));
    let bytes = read_if_there(disk, &path).map_err(io_error("read", &path))?;
    let (case, by_index) = look_up(file, header, bytes.as_deref()).map_err(io_error("read", &segment))?;
    let decision = decide_index(case);
    if decision == FileDecision::Refuse {
        let found = bytes.as_deref().and_then(index::other_version).unwrap_or_default();
        return Err(OpenError::Version { file: path, found, supported: FORMAT_VERSION });
    }
    match by_index {
        Some(scan) if !verify => Ok((scan, decision)),
        _ => {
            let scan = recovery::scan(file, header, verify).map_err(io_error("read", &segment))?;
            // Only a sealed segment has an index.
            let decision = if scan.stop == Stop::Sealed { decision } else { FileDecision::Use };
            Ok((scan, decision))
        }
    }
}

/// The row of the recovery table for an index file, and its content if it fits the segment.
fn look_up(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    bytes: Option<&[u8]>,
) -> io::Result<(IndexCase, Option<SegmentScan>)> {
    let Some(bytes) = bytes else { return Ok((IndexCase::Absent, None)) };
    if index::other_version(bytes).is_some() {
        return Ok((IndexCase::Later, None));
    }
    let scan = recovery::by_index(file, header, bytes)?;
    let case = if scan.is_some() { IndexCase::Fits } else { IndexCase::Unusable };
    Ok((case, scan))
}

fn read_if_there(disk: &dyn Disk, file: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_bad_sector(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
