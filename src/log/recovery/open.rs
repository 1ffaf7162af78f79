//! Opening a directory: examines the files, asks the [table](crate::log::recovery), and does what the table says.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::hard_state::{LogPoint, Noted};
use crate::format::segment::{Cursor, SEGMENT_HEADER};
use crate::log::capacity::reserve;
use crate::log::directory::{Directory, Identity, io_error};
use crate::log::files::log_files::{LogFiles, remove_if_there};
use crate::log::hard_state::{HardStateFile, Inspected};
use crate::log::lost_entries::LostEntries;
use crate::log::names;
use crate::log::progress::Progress;
use crate::log::recovery::{Decision, EndCase, Known, decide};
use crate::log::scan::{Listing, Scan, ScanEnd};
use crate::log::start_file::StartPoint;
use crate::log::unsynced_names;
use crate::log::{Log, LogOptions, Parts};
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;

/// What [`Log::open`] found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recovered {
    /// The tail that was cut, if there was one.
    pub(crate) cut: Option<Cut>,
}

/// A tail that [`Log::open`] removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The row of the recovery table.
    pub(crate) case: EndCase,
    /// The file in which the tail began.
    pub(crate) file: PathBuf,
    /// Position where the log ends now.
    pub(crate) position: u64,
    /// Index where the log ends now.
    pub(crate) index: u64,
    /// What stood at that position.
    pub(crate) found: String,
    /// The entries that could still be read in the tail.
    pub(crate) lost: LostEntries,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, file, position, index, found, lost } = self;
        write!(f, "{} in {} at position {position} (index {index}): {found}", case.name(), file.display())?;
        let LostEntries { entries, records, .. } = lost;
        match lost.indexes() {
            Some(Range { start, end }) => {
                write!(f, "; this removed {entries} entries with {records} records, of indexes {start} to {}", end - 1)
            }
            None if *entries > 0 => write!(f, "; this removed {entries} entries without records"),
            None => f.write_str("; the removed bytes held no readable entry"),
        }
    }
}

impl Log {
    /// Opens the log in `path`, making it if it is not there.
    ///
    /// # Errors
    /// The directory is locked, made for something else, of another version, or damaged: then nothing of the log is
    /// changed. Or the system fails: if it fails after the decision, the next start does the rest.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        wanted: Identity,
        options: LogOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let directory = Directory::open(disk.as_ref(), path, wanted)?;
        let Examined { start, base, stale, hard_state, mut walk, known } = examine(&disk, &directory)?;
        let decision = decide(walk.ended.case, known);
        let noted = hard_state.noted();
        let hard_state_path = directory.file(names::HARD_STATE);
        match decision {
            Decision::Keep | Decision::Cut => walk.take_back_roll(),
            Decision::Restart => {
                let dir = directory.path().display();
                tracing::warn!(%dir, "removes the entries that an interrupted reset left");
                walk.forget();
            }
            Decision::Refuse => return Err(damage(&walk, base, noted, known).into()),
        }
        let hard_state = hard_state.open(disk.as_ref(), &hard_state_path)?;
        let commit = if noted.committed.number > base.number { noted.committed } else { base.point() };
        let end = walk.end(base);
        let lost = match decision {
            Decision::Cut => walk.remains(disk.as_ref(), end)?,
            _ => LostEntries::default(),
        };
        let files = LogFiles::new(disk, directory, options);
        let progress = Progress::new(base.index, commit, base.index, base.index);
        let segments = std::mem::take(&mut walk.segments);
        let parts = Arc::new(Parts::new(files, segments, progress, hard_state, end.point(), start));
        // A complete last segment becomes active again, and new entries overwrite its blank: if such an entry does not
        // reach the disk, no start may find the old blank. Also, zeros whose sync failed in an earlier process may be
        // in the page cache only.
        let clear = decision == Decision::Cut || walk.last_is_sealed || noted.clearing;
        let gone = Discarded { stale, segments: std::mem::take(&mut walk.leftovers) };
        let log = finish(parts, base, noted.durable, &gone, clear)?;
        for segment in walk.without_index {
            log.parts.files.write_index(segment);
        }
        let cut = (decision == Decision::Cut).then(|| {
            let ScanEnd { case, file, mismatch: Mismatch { found, .. } } = walk.ended;
            Cut { case, file, position: end.position, index: end.index, found, lost }
        });
        if let Some(cut) = &cut {
            tracing::warn!(group = %log.parts.files.group(), %cut, "cut a tail that was never synced");
        }
        Ok((log, Recovered { cut }))
    }
}

/// The content of a directory, before anything is decided.
pub(in crate::log) struct Examined {
    pub(in crate::log) start: StartPoint,
    /// What the first entry continues.
    pub(in crate::log) base: Cursor,
    /// Leftover files, which a start removes.
    stale: Vec<PathBuf>,
    pub(in crate::log) hard_state: Inspected,
    pub(in crate::log) walk: Scan,
    pub(in crate::log) known: Known,
}

/// Reads everything in `directory` that a start depends on, and changes nothing.
pub(in crate::log) fn examine(files: &Arc<dyn Disk>, directory: &Directory) -> Result<Examined, OpenError> {
    let disk = files.as_ref();
    let start = StartPoint::read(disk, directory)?;
    let base = start.purged.map_or(directory.identity().genesis(), |purged| purged.next);
    let Listing { positions, stale } = Listing::read(disk, directory, base)?;
    let fresh = positions.is_empty() && start.purged.is_none();
    let hard_state = HardStateFile::inspect(disk, &directory.file(names::HARD_STATE), fresh)?;
    let noted = hard_state.noted();
    let trusted = noted.durable.position.max(base.position);
    let settled = noted.durable.position.min(noted.committed.position);
    let mut walk = Scan::run(files, directory, &positions, base, trusted, settled)?;
    let mut known = known(&walk, base, walk.end(base), noted);
    if decide(walk.ended.case, Known::Nothing) != Decision::Refuse && !walk.reaches(base)? {
        // Without a start file the log was never reset: the segments belong to another ledger.
        let case = if start.purged.is_some() { EndCase::StartNotReached } else { EndCase::OtherSegment };
        walk.ended = ScanEnd::new(case, walk.ended.file.clone());
        // A restart would remove every segment, so what is known is judged from `base` on.
        known = self::known(&walk, base, base, noted);
    } else if let Some(other) = other_history(&walk, base, noted)? {
        walk.ended = other;
    }
    Ok(Examined { start, base, stale, hard_state, walk, known })
}

/// Why a start refuses the directory.
pub(in crate::log) fn damage(walk: &Scan, base: Cursor, noted: Noted, known: Known) -> Damage {
    let (ended, end) = (walk.ended.clone(), walk.end(base));
    let because = match known {
        Known::Committed => format!("records below index {} are committed", noted.committed.index.max(walk.committed)),
        Known::Durable => format!("entries below number {} were synced here", noted.durable.number),
        Known::Nothing => "no interrupted write explains it".into(),
    };
    let ScanEnd { file, mismatch, .. } = ended;
    let expected = if mismatch.expected.is_empty() { because } else { format!("{} ({because})", mismatch.expected) };
    Damage { file, position: end.position, index: end.index, mismatch: Mismatch { expected, ..mismatch } }
}

/// What is known about the entries behind `end`.
fn known(walk: &Scan, base: Cursor, end: Cursor, noted: Noted) -> Known {
    let lacks = |point: LogPoint| point.number > base.number.max(end.number);
    match () {
        () if lacks(noted.committed) || walk.committed > end.index => Known::Committed,
        () if lacks(noted.durable) => Known::Durable,
        () => Known::Nothing,
    }
}

/// The first noted point at which the log has another chain value than the noted one, if there is one.
fn other_history(walk: &Scan, base: Cursor, noted: Noted) -> Result<Option<ScanEnd>, Damage> {
    let end = walk.end(base);
    let size = walk.segments.first().map_or(1, |first| first.end_position() - first.position());
    let noted = [noted.committed, noted.durable].into_iter().filter(|point| point.number > base.number);
    for point in [base.point()].into_iter().chain(noted) {
        let start = point.number == base.number;
        if point.number > end.number {
            continue;
        }
        let found = walk.cursor(point.number)?.map(|there| LogPoint {
            // The noted position may lie behind a roll; and a log may begin in the middle of a segment.
            position: if start || rolls(there.position, point.position, size) {
                point.position
            } else {
                there.position
            },
            ..there.point()
        });
        if found != Some(point) && (found.is_some() || !start) {
            let place = |LogPoint { index, position, chain, .. }: LogPoint| {
                format!("index {index}, position {position}, chain value {chain:#010x}")
            };
            let what = if start { "start of the log" } else { "noted point" };
            let mismatch = Mismatch::new(what, found.map_or("no entry".into(), place), place(point));
            return Ok(Some(ScanEnd { case: EndCase::OtherHistory, file: walk.ended.file.clone(), mismatch }));
        }
    }
    Ok(None)
}

/// Whether the entry behind `end` can be at `next`: directly behind it, or as the first of the next segment.
fn rolls(end: u64, next: u64, size: u64) -> bool {
    next == end || next == (end / size + 1) * size + SEGMENT_HEADER as u64
}

/// Writes again the bytes of `segment` that no note calls durable: after a failed sync in an earlier process, they may
/// be in the page cache only. `end`: the end of the log.
fn rewrite_unknown(segment: &Segment, durable: LogPoint, end: Cursor) -> io::Result<()> {
    let fresh = segment.start().number >= durable.number;
    let from = if fresh { segment.position() } else { durable.position };
    segment.rewrite(from..segment.end_position().min(end.position))
}

/// Files that a start removes.
struct Discarded {
    /// Leftovers.
    stale: Vec<PathBuf>,
    /// Segments behind the end.
    segments: Vec<PathBuf>,
}

impl Discarded {
    fn remove(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        // The last first: after a crash in between, the log merely ends earlier.
        for file in self.segments.iter().rev() {
            unsynced_names::remove_segment(disk, file).map_err(io_error("remove", file))?;
        }
        for file in &self.stale {
            remove_if_there(disk, file).map_err(io_error("remove", file))?;
        }
        Ok(())
    }
}

/// Removes the `gone` files, with `clear` zeroes the bytes behind the end, and makes the rest of the log durable,
/// because Raft takes every entry that it finds after a start for durable.
fn finish(parts: Arc<Parts>, base: Cursor, durable: LogPoint, gone: &Discarded, clear: bool) -> Result<Log, OpenError> {
    let Parts { files, segments, flusher, progress, start, .. } = &*parts;
    let has_start = start.point() != StartPoint::default();
    unsynced_names::renew_names(files, has_start, &segments.read(), durable)?;
    gone.remove(files.disk().as_ref())?;
    let dir = files.directory().path();
    let last = segments.read().last().cloned();
    let active = last.clone().map(ActiveSegment::resume).ok_or(base);
    let mut log = Log::new(parts.clone(), active);
    match &last {
        Some(last) => {
            let allocated = parts.sparse.look_at(last, reserve(files.segment_size()));
            allocated.map_err(io_error("allocate the blocks of", last.path()))?;
        }
        None => log.first_segment(base, dir)?,
    }
    let end = log.end();
    let hard_state = files.directory().file(names::HARD_STATE);
    if clear {
        flusher.hard_state().lower(end.point()).map_err(io_error("write", &hard_state))?;
        if let Ok(active) = log.active() {
            let cleared = active.truncate(end.number, end, active.segment().end_position());
            cleared.map_err(io_error("write zeros to", active.segment().path()))?;
        }
    }
    // A segment that ends before `durable` was synced before the note was made: it needs no sync. But the note may lie
    // behind a roll that was taken back, where zeros now replace the blank: so it counts only up to the end.
    let durable = durable.at_most(end.point());
    for segment in segments.read().iter().filter(|segment| segment.end_position() > durable.position) {
        rewrite_unknown(segment, durable, end).map_err(io_error("rewrite", segment.path()))?;
        segment.sync().map_err(io_error("sync", segment.path()))?;
    }
    files.ballast().make();
    files.directory().sync().map_err(io_error("sync directory", dir))?;
    progress.set_end(end.index);
    progress.set_durable(end.index);
    let commit = progress.commit_point();
    flusher.hard_state().note(commit, end.point()).map_err(io_error("write", &hard_state))?;
    for segment in segments.read().iter() {
        segment.freeze(commit.position);
    }
    if end.number < base.number || end.position < base.position {
        // A reset, or a purge whose tail was lost, was interrupted: the start is recorded, the segments are old.
        log.begin_at(base).map_err(io_error("begin the log anew in", dir))?;
    }
    flusher.release_settled();
    Ok(log)
}

impl Log {
    /// Begins the first segment. A log that has begun anew at `base` can do without until there is room, so that its
    /// node can vote.
    fn first_segment(&mut self, base: Cursor, dir: &Path) -> Result<(), OpenError> {
        let begun = match base.number {
            0 => self.secure_spare().and_then(|()| self.begin(base)),
            _ => self.begin_if_room(base),
        };
        begun.map_err(io_error("begin a segment in", dir))
    }
}
