//! Opening a directory: what is there, what may be cut, what must not.
//!
//! One rule decides: the log ends before the first thing that does not continue it. If that would cut a record that is
//! known to be committed (by the commit points in good entries and in the hard state), the directory is damaged and
//! stays as it is; else the rest is a torn or stale tail, which is removed and reported.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::directory::{Directory, Identity, io_error};
use super::flush::FlushQueue;
use super::hard_state::HardStateFile;
use super::names::{self, FileKind};
use super::progress::Progress;
use super::start::StartPoint;
use super::tail::Tail;
use super::writer::{begin_segment, remove_if_there};
use super::{Log, LogOptions, Shared, SpareState};
use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, OpenError};
use crate::format::hard_state::CommitPoint;
use crate::format::segment::{Cursor, MAX_PLACE, SEGMENT_HEADER, SegmentError, SegmentHeader};
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;
use crate::segment::recovery::{self, Stop};

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recovered {
    /// Why the tail was cut, if it was.
    pub(crate) cut: Option<String>,
}

/// The segments that continue each other, and why there are no more.
struct Walk {
    segments: Vec<Arc<Segment>>,
    /// Highest commit point named by a good entry.
    committed: u64,
    /// Set unless the last segment simply ends: what is there, in which file.
    broken: Option<(PathBuf, String)>,
    /// Files behind the break.
    leftovers: Vec<PathBuf>,
    /// Files that do not belong to the log any more.
    stale: Vec<PathBuf>,
}

impl Log {
    /// Opens the log in `path`, making it if it is not there.
    ///
    /// # Errors
    /// The directory is locked, made for something else, of another version, or damaged; or the system fails. Nothing
    /// of the log is changed then.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        wanted: Identity,
        options: LogOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let directory = Directory::open(disk.as_ref(), path, wanted)?;
        let start = StartPoint::read(disk.as_ref(), &directory)?;
        let genesis = Cursor {
            position: SEGMENT_HEADER as u64,
            number: 0,
            index: 0,
            term: 0,
            timestamp: 0,
            chain: directory.identity().chain_seed(),
        };
        let base = start.purged.map_or(genesis, |purged| purged.next);
        let Listing { positions, stale } = list(disk.as_ref(), &directory, base, options.segment_size)?;
        let fresh = positions.is_empty() && start.purged.is_none();
        let hard_state = HardStateFile::open(disk.as_ref(), &directory.file(names::HARD_STATE), fresh)?;
        let noted = hard_state.commit_point();
        let mut walk = Walk::new(stale);
        walk.run(disk.as_ref(), &directory, &positions, options.segment_size, noted.position.max(base.position))?;
        if noted.number <= base.number && !walk.reaches(base)? {
            walk.forget(&directory);
        }
        let commit = check(&walk, base, noted, &directory)?;
        let start_number = start.purged.map_or(0, |purged| purged.number + 1);
        let shared = Arc::new(Shared {
            flush: FlushQueue::new(walk.segments.last().map_or(base, |last| last.end())),
            progress: Progress::new(base.index, commit, base.index, base.index),
            segments: RwLock::new(std::mem::take(&mut walk.segments)),
            tail: Mutex::new(Tail::default()),
            start: Mutex::new(start),
            hard_state: Mutex::new(hard_state),
            spare: Mutex::new(SpareState::Missing),
            failure: OnceLock::new(),
            first_number: start_number.into(),
            disk,
            directory,
            options,
        });
        let cut = walk.broken.take().map(|(file, why)| format!("{}: {why}", file.display()));
        walk.stale.append(&mut walk.leftovers);
        let log = finish(shared, base, noted, &walk.stale, cut.is_some())?;
        if let Some(cut) = &cut {
            tracing::warn!(end = log.end().index, position = log.end().position, %cut, "cut a torn tail");
        }
        Ok((log, Recovered { cut }))
    }

    /// What the directory was made for, with its incarnation.
    pub(crate) fn identity(&self) -> &Identity {
        self.shared.directory.identity()
    }
}

/// What is in the directory.
struct Listing {
    /// Positions of the segments, ascending.
    positions: Vec<u64>,
    /// What an interrupted write left, and what lies before the log's start.
    stale: Vec<PathBuf>,
}

fn list(disk: &dyn Disk, directory: &Directory, base: Cursor, size: u64) -> Result<Listing, OpenError> {
    let path = directory.path();
    let mut listing = Listing { positions: Vec::new(), stale: Vec::new() };
    let begins = base.position / size * size;
    for name in disk.list(path).map_err(io_error("list", path))? {
        let file = path.join(&name);
        match names::kind(&name) {
            Some(FileKind::Segment(at) | FileKind::Index(at)) if at % size != 0 || at > MAX_PLACE => {
                tracing::warn!(file = %file.display(), "no segment can be there: left alone");
            }
            Some(FileKind::Segment(at) | FileKind::Index(at)) if at < begins => listing.stale.push(file),
            Some(FileKind::Segment(at)) => listing.positions.push(at),
            Some(FileKind::Temporary) => listing.stale.push(file),
            Some(FileKind::Fixed) if name == names::SPARE => listing.stale.push(file),
            Some(FileKind::Fixed | FileKind::Index(_)) => {}
            None => tracing::warn!(file = %file.display(), "not part of the ledger: left alone"),
        }
    }
    listing.positions.sort_unstable();
    Ok(listing)
}

impl Walk {
    fn new(stale: Vec<PathBuf>) -> Self {
        Self { segments: Vec::new(), committed: 0, broken: None, leftovers: Vec::new(), stale }
    }

    /// Goes from segment to segment as long as they continue each other. Segments that end below `trusted` were synced
    /// before the node noted that it had committed them; in later ones every byte is checked, for a page may be
    /// missing anywhere.
    fn run(
        &mut self,
        disk: &dyn Disk,
        directory: &Directory,
        positions: &[u64],
        size: u64,
        trusted: u64,
    ) -> Result<(), OpenError> {
        for (at, &position) in positions.iter().enumerate() {
            let path = directory.segment(position);
            let last = at + 1 == positions.len();
            let verify = last || position + size > trusted;
            let found = open_segment(disk, directory, position, size, verify, self.segments.last())?;
            let why = match found {
                Ok((segment, stop, committed)) => {
                    self.segments.push(Arc::new(segment));
                    self.committed = self.committed.max(committed);
                    match stop {
                        Stop::Sealed => continue,
                        Stop::Clean if last => None,
                        Stop::Clean => Some("zeros, but there are later segments".to_owned()),
                        Stop::Bad(why) => Some(why),
                    }
                }
                Err(broken) => {
                    self.leftovers.push(path.clone());
                    match broken {
                        // A segment that was made but never written to, at the end of the log, is nothing to report.
                        Broken::Unwritten if last => None,
                        Broken::Unwritten => Some("zeros, but there are later segments".to_owned()),
                        Broken::Because(why) => Some(why),
                    }
                }
            };
            self.broken = why.map(|why| (path, why));
            self.leftovers.extend(positions[at + 1..].iter().map(|later| directory.segment(*later)));
            break;
        }
        Ok(())
    }

    /// Whether the segments lead to what `base` continues. They need not after a reset that a crash interrupted: it
    /// records where the log begins anew before it removes what there was.
    fn reaches(&self, base: Cursor) -> Result<bool, Damage> {
        let Some(first) = self.segments.first() else { return Ok(true) };
        if base.number == 0 || first.start().number == base.number {
            return Ok(base.number == 0 || first.start().chain == base.chain);
        }
        let end = self.segments.last().map_or(base, |last| last.end());
        if end.position < base.position || end.number < base.number {
            return Ok(false);
        }
        let holder = self.segments.iter().rev().find(|segment| segment.start().number < base.number);
        let header = match holder {
            Some(segment) => segment.entry_header(base.number - 1)?,
            None => None,
        };
        Ok(header.is_some_and(|header| header.chain == base.chain))
    }

    /// Nothing of what was found counts.
    fn forget(&mut self, directory: &Directory) {
        tracing::warn!(dir = %directory.path().display(), "entries from before a reset are removed");
        self.leftovers.splice(..0, self.segments.drain(..).map(|segment| segment.path().to_owned()));
        (self.broken, self.committed) = (None, 0);
    }
}

/// Why a segment file does not continue the log.
enum Broken {
    Unwritten,
    Because(String),
}

type Found = Result<(Segment, Stop, u64), Broken>;

fn open_segment(
    disk: &dyn Disk,
    directory: &Directory,
    position: u64,
    size: u64,
    verify: bool,
    before: Option<&Arc<Segment>>,
) -> Result<Found, OpenError> {
    let path = directory.segment(position);
    let broken = |why: String| Ok(Err(Broken::Because(why)));
    if let Some(before) = before
        && before.end_position() != position
    {
        return broken(format!("the segment of position {} is missing", before.end_position()));
    }
    let file = disk.open(&path).map_err(io_error("open", &path))?;
    if file.size() != size {
        return broken(format!("a file of {} bytes, expected {size}", file.size()));
    }
    let mut bytes = [0; SEGMENT_HEADER];
    file.read_at(&mut bytes, 0).map_err(io_error("read", &path))?;
    let header = match SegmentHeader::decode(&bytes) {
        Ok(header) => header,
        Err(SegmentError::Absent) => return Ok(Err(Broken::Unwritten)),
        Err(SegmentError::Version { found }) => {
            return Err(OpenError::Version { file: path, found, supported: crate::format::FORMAT_VERSION });
        }
        Err(error) => return broken(format!("segment header: {error}")),
    };
    if header.size != size || header.start.position != position {
        return broken(format!("a header of position {} and size {}", header.start.position, header.size));
    }
    if let Some(before) = before {
        let expected = Cursor { position, ..before.end() };
        if header.start != expected {
            return broken(format!("a header that continues {:?}, expected {expected:?}", header.start));
        }
    }
    let scan = scan(disk, directory, &file, &header, verify).map_err(io_error("read", &path))?;
    let segment = Segment::new(path.clone(), header, file, scan.units).map_err(io_error("map", &path))?;
    Ok(Ok((segment, scan.stop, scan.committed)))
}

fn scan(
    disk: &dyn Disk,
    directory: &Directory,
    file: &Arc<dyn DiskFile>,
    header: &SegmentHeader,
    verify: bool,
) -> io::Result<recovery::Scan> {
    if !verify {
        match disk.read(&directory.index(header.start.position)) {
            Ok(index) => {
                if let Some(scan) = recovery::by_index(file, header, &index)? {
                    return Ok(scan);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    recovery::scan(file, header, verify)
}

/// Refuses a log that lacks what is known to be committed. Returns the commit point to begin with.
fn check(walk: &Walk, base: Cursor, noted: CommitPoint, directory: &Directory) -> Result<CommitPoint, OpenError> {
    let end = walk.segments.last().map_or(base, |last| last.end());
    let damage = |file: PathBuf, position, what, found: String, expected: String| {
        Err(OpenError::Damaged(Damage { file, position, index: end.index, what, found, expected }))
    };
    let begins = walk.segments.first().map_or(base, |first| first.start());
    if begins.number > base.number || (base.number == 0 && begins.chain != base.chain) {
        let (found, expected) = (format!("entry {}", begins.number), format!("entry {}", base.number));
        return damage(directory.segment(begins.position), begins.position, "start of the log", found, expected);
    }
    let lacks_noted = noted.number > base.number && end.number < noted.number;
    if lacks_noted || end.index < walk.committed {
        let file = walk.broken.as_ref().map_or_else(|| directory.path().to_owned(), |(file, _)| file.clone());
        let found = walk.broken.as_ref().map_or_else(|| "the end of the log".to_owned(), |(_, why)| why.clone());
        let expected = format!("committed records up to index {}", noted.index.max(walk.committed));
        return damage(file, end.position, "committed part", found, expected);
    }
    let at_base = CommitPoint { number: base.number, index: base.index, position: base.position, chain: base.chain };
    if noted.number <= base.number {
        return Ok(at_base);
    }
    let holder = walk.segments.iter().rev().find(|segment| segment.start().number < noted.number);
    let header = match holder {
        Some(segment) => segment.entry_header(noted.number - 1)?,
        None => None,
    };
    match header {
        Some(header) if header.chain == noted.chain => Ok(noted),
        header => {
            let found = header.map_or("no entry".into(), |h| format!("chain value {:#010x}", h.chain));
            let expected = format!("{:#010x}, noted when it was committed", noted.chain);
            damage(directory.path().to_owned(), noted.position, "last committed entry", found, expected)
        }
    }
}

/// Writes again what no noted commit point says was ever durable: what is read may only be in the page cache, after a
/// sync that failed in an earlier life. Where the log begins is no such point: what a purge or a reset declares
/// committed need not have been synced here. `end` is the log's.
fn rewrite_unknown(segment: &Segment, known: CommitPoint, end: Cursor) -> io::Result<()> {
    let fresh = segment.start().number >= known.number;
    let from = if fresh { segment.position() } else { known.position };
    segment.rewrite(from..segment.end_position().min(end.position))
}

/// Removes what was decided to be cut, and makes what is left durable: Raft counts it as such.
fn finish(
    shared: Arc<Shared>,
    base: Cursor,
    noted: CommitPoint,
    leftovers: &[PathBuf],
    cut: bool,
) -> Result<Log, OpenError> {
    // The last first: after a crash in between, the log merely ends earlier.
    for file in leftovers.iter().rev() {
        remove_if_there(shared.disk.as_ref(), file).map_err(io_error("remove", file))?;
    }
    let dir = shared.directory.path().to_owned();
    let last = shared.segments().last().cloned();
    let active = match &last {
        Some(last) => ActiveSegment::resume(last.clone()),
        None => begin_segment(&shared, base).map_err(io_error("begin a segment in", &dir))?,
    };
    let mut log = Log { shared, active };
    if last.is_none() {
        log.shared.segments_mut().push(log.active.segment().clone());
    }
    let end = log.end();
    if cut {
        log.active.truncate(end.number, end, log.active.segment().end_position());
    }
    for segment in log.shared.segments().iter() {
        rewrite_unknown(segment, noted, end).map_err(io_error("rewrite", segment.path()))?;
        segment.sync().map_err(io_error("sync", segment.path()))?;
    }
    log.shared.disk.sync_dir(&dir).map_err(io_error("sync directory", &dir))?;
    log.shared.progress.set_end(end.index);
    log.shared.progress.set_durable(end.index);
    let commit = log.shared.progress.commit_point();
    for segment in log.shared.segments().iter() {
        segment.freeze(commit.position);
    }
    if end.number < base.number || end.position < base.position {
        // A reset, or a purge whose tail was lost, stopped half-way: the start is recorded, the segments are old.
        log.begin_at(base).map_err(io_error("begin the log anew in", &dir))?;
    }
    Ok(log)
}
