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
use super::writer::begin_segment;
use super::{Log, LogOptions, Shared, SpareState};
use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, OpenError};
use crate::format::hard_state::CommitPoint;
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentError, SegmentHeader};
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
}

impl Log {
    /// Opens the log in `path`, making it if it is not there.
    ///
    /// # Errors
    /// The directory is locked, made for something else, of another version, or damaged; or the system fails. The
    /// directory is not changed then.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        wanted: Identity,
        options: LogOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let directory = Directory::open(disk.as_ref(), path, wanted)?;
        let hard_state = HardStateFile::open(disk.as_ref(), &directory.file(names::HARD_STATE))?;
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
        let positions = tidy(disk.as_ref(), &directory, base, options.segment_size)?;
        let walk = walk(disk.as_ref(), &directory, &positions, options.segment_size, hard_state.commit_point())?;
        let commit = check(&walk, base, hard_state.commit_point(), &directory)?;
        let shared = Arc::new(Shared {
            flush: FlushQueue::new(walk.segments.last().map_or(base, |last| last.end())),
            progress: Progress::new(base.index, commit, base.index, base.index),
            segments: RwLock::new(walk.segments),
            tail: Mutex::new(Tail::default()),
            start: Mutex::new(start),
            hard_state: Mutex::new(hard_state),
            spare: Mutex::new(SpareState::Missing),
            failure: OnceLock::new(),
            disk,
            directory,
            options,
        });
        let cut = walk.broken.map(|(file, why)| format!("{}: {why}", file.display()));
        let log = finish(shared, base, &walk.leftovers, cut.is_some())?;
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

/// Removes what an interrupted write left, and segments before the log's start. Returns the positions of the segments.
fn tidy(disk: &dyn Disk, directory: &Directory, base: Cursor, size: u64) -> Result<Vec<u64>, OpenError> {
    let path = directory.path();
    let mut positions = Vec::new();
    for name in disk.list(path).map_err(io_error("list", path))? {
        let file = path.join(&name);
        let old = |position: u64| position + size <= base.position / size * size;
        let remove = match names::kind(&name) {
            Some(FileKind::Segment(position)) | Some(FileKind::Index(position)) if old(position) => true,
            Some(FileKind::Segment(position)) => {
                positions.push(position);
                false
            }
            Some(FileKind::Temporary) => true,
            Some(FileKind::Fixed) => name == names::SPARE,
            Some(FileKind::Index(_)) => false,
            None => {
                tracing::warn!(file = %file.display(), "not part of the ledger: left alone");
                false
            }
        };
        if remove {
            disk.remove(&file).map_err(io_error("remove", &file))?;
        }
    }
    positions.sort_unstable();
    Ok(positions)
}

fn walk(
    disk: &dyn Disk,
    directory: &Directory,
    positions: &[u64],
    size: u64,
    known: CommitPoint,
) -> Result<Walk, OpenError> {
    let mut walk = Walk { segments: Vec::new(), committed: 0, broken: None, leftovers: Vec::new() };
    for (at, &position) in positions.iter().enumerate() {
        let path = directory.segment(position);
        let last = at + 1 == positions.len();
        // Only what a commit point vouches for was durable once. Behind it, a crash may have kept a later segment and
        // lost pages of this one.
        let verify = last || position + size > known.position;
        let found = open_segment(disk, directory, position, size, verify, walk.segments.last())?;
        let why = match found {
            Ok((segment, stop, committed)) => {
                walk.segments.push(Arc::new(segment));
                walk.committed = walk.committed.max(committed);
                match stop {
                    Stop::Sealed => continue,
                    Stop::Clean if last => None,
                    Stop::Clean => Some("zeros, but there are later segments".to_owned()),
                    Stop::Bad(why) => Some(why),
                }
            }
            // A segment that was made but never written to, at the end of the log, is nothing to report.
            Err(Broken::Unwritten) if last => {
                walk.leftovers.push(path);
                return Ok(walk);
            }
            Err(Broken::Unwritten) => {
                walk.leftovers.push(path.clone());
                Some("zeros, but there are later segments".to_owned())
            }
            Err(Broken::Because(why)) => {
                walk.leftovers.push(path.clone());
                Some(why)
            }
        };
        walk.broken = why.map(|why| (path, why));
        walk.leftovers.extend(positions[at + 1..].iter().map(|later| directory.segment(*later)));
        break;
    }
    Ok(walk)
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
    if end.number < noted.number || end.index < walk.committed {
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

/// Removes what was decided to be cut, and makes what is left durable: Raft counts it as such.
/// Writes again what no commit point says was ever durable: what is read may only be in the page cache, after a sync
/// that failed in an earlier life. `end` is the log's.
fn rewrite_unknown(segment: &Segment, known: CommitPoint, end: Cursor) -> io::Result<()> {
    let fresh = segment.start().number >= known.number;
    let from = if fresh { segment.position() } else { known.position };
    segment.rewrite(from..segment.end_position().min(end.position))
}

fn finish(shared: Arc<Shared>, base: Cursor, leftovers: &[PathBuf], cut: bool) -> Result<Log, OpenError> {
    for file in leftovers.iter().rev() {
        shared.disk.remove(file).map_err(io_error("remove", file))?;
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
        rewrite_unknown(segment, log.shared.progress.commit_point(), end)
            .map_err(io_error("rewrite", segment.path()))?;
        segment.sync().map_err(io_error("sync", segment.path()))?;
    }
    log.shared.disk.sync_dir(&dir).map_err(io_error("sync directory", &dir))?;
    log.shared.progress.set_end(end.index);
    log.shared.progress.set_durable(end.index);
    let commit = log.shared.progress.commit_point();
    for segment in log.shared.segments().iter() {
        segment.freeze(commit.position);
    }
    if end.number < base.number {
        // A reset, or a purge whose tail was lost, stopped half-way: the start is recorded, the segments are old.
        log.begin_at(base).map_err(io_error("begin the log anew in", &dir))?;
    }
    Ok(log)
}
