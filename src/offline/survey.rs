//! The walk over all segments, also behind damage, that dump, verify, truncate and diff share.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OfflineError, StoppedLedger};
use crate::disk::{DiskFile, is_bad_sector};
use crate::error::{Mismatch, OpenError};
use crate::format::FORMAT_VERSION;
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::index::Unit;
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentError, SegmentHeader};
use crate::log::recovery::EndCase;
use crate::segment::scanner::{Break, Broken, Scanner, Step, Stop};

/// What a survey reports, in the order of the positions. A problem comes before the entry that it is about.
pub(super) enum Surveyed<'a> {
    /// A segment file, and its header if that is good.
    Segment { position: u64, header: Option<SegmentHeader> },
    /// An entry with a good header. With `fits` the whole entry is good, and continues the one before.
    Entry { header: EntryHeader, bytes: &'a [u8], fits: bool },
    /// A blank; with `seals` it ends its segment.
    Blank { position: u64, length: u64, chain: u32, seals: bool },
    /// Bytes that do not continue the log, or are not what they should be.
    Problem(Problem),
    /// The end of a segment.
    Ends(SurveyedSegment<'a>),
}

/// Bytes that do not continue the log, or are not what they should be.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// The row of the recovery table; `None` if no start reads the place.
    pub(super) case: Option<EndCase>,
    pub(super) file: PathBuf,
    pub(super) position: u64,
    /// What the entry at `position` should continue.
    pub(super) next: Cursor,
    pub(super) mismatch: Mismatch,
    /// Position at which good entries follow.
    pub(super) goes_on: Option<u64>,
}

/// A whole segment, once the survey has come to its end.
pub(super) struct SurveyedSegment<'a> {
    pub(super) position: u64,
    pub(super) file: Option<(&'a dyn DiskFile, SegmentHeader)>,
    pub(super) units: Vec<Unit>,
    /// What the next entry must continue.
    pub(super) end: Cursor,
    /// Whether a blank ends the segment.
    pub(super) sealed: bool,
    /// Whether no problem begins in the segment.
    pub(super) intact: bool,
}

type Visit<'v, E> = &'v mut dyn FnMut(Surveyed<'_>) -> Result<(), E>;

impl StoppedLedger {
    /// Surveys the segments that can hold records of `indexes`.
    pub(super) fn survey<E: From<OfflineError>>(&self, indexes: Range<u64>, visit: Visit<'_, E>) -> Result<(), E> {
        let all = self.positions();
        let positions = self.narrow(&all, &indexes)?;
        let whole = positions.len() == all.len();
        // Only a survey of the whole log begins with the segment that must continue the base.
        let base = self.base().filter(|_| whole);
        let mut expected = base.filter(|base| base.number == 0).map(|base| Cursor { position: 0, ..base });
        let mut at = base.map(|base| base.position / self.segment_size * self.segment_size);
        let mut next = base.unwrap_or(NOWHERE);
        for (&position, last) in positions.iter().zip((1..=positions.len()).map(|nth| nth == positions.len())) {
            let last = last && positions.last() == all.last();
            if let Some(missing) = at.filter(|at| *at != position) {
                let problem = Problem {
                    case: Some(EndCase::MissingSegment),
                    file: self.segment_path(missing),
                    position: missing,
                    next,
                    mismatch: Mismatch::new("segment", "no file", format!("the segment of position {missing}")),
                    goes_on: Some(position),
                };
                visit(Surveyed::Problem(problem))?;
                expected = None;
            }
            let ended = self.segment(position, last, next, expected, visit)?;
            expected = ended.intact.then_some(Cursor { position: position + self.segment_size, ..ended.end });
            (at, next) = (Some(position + self.segment_size), ended.end);
        }
        Ok(())
    }

    /// Surveys one segment. `next`: what its first entry should continue, as far as that is known; `expected`: what its
    /// header must say, if that is known.
    pub(super) fn segment<E: From<OfflineError>>(
        &self,
        position: u64,
        last: bool,
        next: Cursor,
        expected: Option<Cursor>,
        visit: Visit<'_, E>,
    ) -> Result<SegmentEnd, E> {
        let path = self.segment_path(position);
        let mut walk = SegmentSurvey { ledger: self, path: &path, position, last, next, intact: true };
        walk.run(expected, visit)
    }

    /// The segments that can hold records of `indexes`, as their headers say.
    fn narrow(&self, all: &[u64], indexes: &Range<u64>) -> Result<Vec<u64>, OfflineError> {
        if *indexes == (0..u64::MAX) {
            return Ok(all.to_vec());
        }
        let (mut from, mut to) = (0, all.len());
        for (nth, &position) in all.iter().enumerate() {
            let path = self.segment_path(position);
            let file = Self::io("open", &path, self.disk.open(&path))?;
            let mut bytes = [0; SEGMENT_HEADER];
            let read = file.read_at(&mut bytes, 0).map(|()| SegmentHeader::decode(&bytes));
            let Ok(Ok(header)) = read else { continue };
            if header.start.index <= indexes.start {
                from = nth;
            }
            if header.start.index >= indexes.end {
                to = nth;
                break;
            }
        }
        Ok(all[from..to.max(from)].to_vec())
    }
}

/// The cursor where nothing is known of what an entry should continue.
pub(super) const NOWHERE: Cursor = Cursor { position: 0, number: 0, index: 0, term: 0, timestamp: 0, chain: 0 };

/// Where the entries of a segment end, and whether the survey met no problem in it.
pub(super) struct SegmentEnd {
    end: Cursor,
    intact: bool,
}

struct SegmentSurvey<'a> {
    ledger: &'a StoppedLedger,
    path: &'a Path,
    position: u64,
    last: bool,
    next: Cursor,
    intact: bool,
}

impl SegmentSurvey<'_> {
    fn run<E: From<OfflineError>>(&mut self, expected: Option<Cursor>, visit: Visit<'_, E>) -> Result<SegmentEnd, E> {
        let size = self.ledger.segment_size;
        let file = match self.ledger.disk.open(self.path) {
            Err(error) if is_bad_sector(&error) => {
                self.unreadable(&error.to_string(), visit)?;
                return Ok(SegmentEnd { end: self.next, intact: false });
            }
            opened => StoppedLedger::io("open", self.path, opened)?,
        };
        if file.size() != size {
            let case = if self.last && file.size() < size { EndCase::ShortEnd } else { EndCase::WrongSize };
            self.problem(case, Mismatch::new("file size", file.size(), size), visit)?;
        }
        let (header, begins) = self.header(&file, expected, visit)?;
        visit(Surveyed::Segment { position: self.position, header })?;
        let Some(start) = begins else { return Ok(SegmentEnd { end: self.next, intact: self.intact }) };
        let mut entries = EntrySurvey {
            scanner: Scanner::new(file.as_ref(), &SegmentHeader { size, start }, true),
            units: Vec::new(),
            start,
            size,
        };
        let sealed = entries.run(self, header.is_some(), visit)?;
        let file = header.filter(|_| self.intact).map(|header| (file.as_ref(), header));
        let (end, intact) = (entries.scanner.end(), self.intact);
        visit(Surveyed::Ends(SurveyedSegment {
            position: self.position,
            file,
            units: entries.units,
            end,
            sealed,
            intact,
        }))?;
        Ok(SegmentEnd { end, intact })
    }

    /// The header if it is good, and where the entries begin; without a good header, where `next` says. `None` if the
    /// segment holds nothing to survey.
    fn header<E: From<OfflineError>>(
        &mut self,
        file: &Arc<dyn DiskFile>,
        expected: Option<Cursor>,
        visit: Visit<'_, E>,
    ) -> Result<(Option<SegmentHeader>, Option<Cursor>), E> {
        let position = self.position;
        let unknown = Cursor { position, ..self.next };
        if file.size() < SEGMENT_HEADER as u64 {
            return Ok((None, None));
        }
        let mut bytes = [0; SEGMENT_HEADER];
        match file.read_at(&mut bytes, 0) {
            Err(error) if is_bad_sector(&error) => {
                self.unreadable(&error.to_string(), visit)?;
                return Ok((None, Some(unknown)));
            }
            read => StoppedLedger::io("read", self.path, read)?,
        }
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            Err(SegmentError::Absent) => {
                let rest = Scanner::new(file.as_ref(), &SegmentHeader { size: file.size(), start: unknown }, true)
                    .only_zeros_from(SEGMENT_HEADER as u64);
                let empty = StoppedLedger::io("read", self.path, rest)?;
                match (self.last, empty) {
                    (true, true) => {}
                    (true, false) => {
                        let header = Mismatch::new("segment header", "zeros, and bytes behind", "a header");
                        self.problem(EndCase::LostHeader, header, visit)?;
                    }
                    (false, _) => {
                        let header = Mismatch::new("segment header", "zeros, and later segments", "a header");
                        self.problem(EndCase::LostHeader, header, visit)?;
                    }
                }
                return Ok((None, (!empty).then_some(unknown)));
            }
            Err(SegmentError::Version { found }) => {
                let version = OpenError::Version { file: self.path.to_owned(), found, supported: FORMAT_VERSION };
                return Err(OfflineError::from(version).into());
            }
            Err(error) => {
                self.problem(EndCase::RottenSegment, Mismatch::new("segment header", error, "a header"), visit)?;
                return Ok((None, Some(unknown)));
            }
        };
        let size = self.ledger.segment_size;
        let wanted = expected.unwrap_or(Cursor { position, ..header.start });
        if header.size != size || header.start != wanted {
            let found = format!("{:?}, {} bytes", header.start, header.size);
            let expected = format!("{wanted:?}, {size} bytes");
            self.problem(EndCase::OtherSegment, Mismatch::new("segment header", found, expected), visit)?;
        }
        if header.start.position != position {
            return Ok((None, Some(unknown)));
        }
        Ok((Some(header), Some(header.start)))
    }

    fn unreadable<E>(&mut self, error: &str, visit: Visit<'_, E>) -> Result<(), E> {
        let case = EndCase::Broken(Break::Unreadable);
        self.problem(case, Mismatch::new("read of the disk", error, "a segment header"), visit)
    }

    /// Reports a problem of the whole file.
    fn problem<E>(&mut self, case: EndCase, mismatch: Mismatch, visit: Visit<'_, E>) -> Result<(), E> {
        self.intact = false;
        let (file, position, next) = (self.path.to_owned(), self.position, self.next);
        visit(Surveyed::Problem(Problem { case: Some(case), file, position, next, mismatch, goes_on: None }))
    }
}

/// The survey of the entries of a segment.
struct EntrySurvey<'f> {
    scanner: Scanner<'f>,
    units: Vec<Unit>,
    start: Cursor,
    size: u64,
}

impl EntrySurvey<'_> {
    /// Surveys the entries. Returns whether a blank ends the segment.
    fn run<E: From<OfflineError>>(
        &mut self,
        segment: &mut SegmentSurvey<'_>,
        has_header: bool,
        visit: Visit<'_, E>,
    ) -> Result<bool, E> {
        let io = |result| StoppedLedger::io("read", segment.path, result);
        if !has_header && !io(self.scanner.resume_from(SEGMENT_HEADER as u64))? {
            return Ok(false);
        }
        loop {
            let at = self.scanner.end();
            let offset = at.position - self.start.position;
            match StoppedLedger::io("read", segment.path, self.scanner.next())? {
                Step::Entry(header) => self.entry(header, true, segment, visit)?,
                Step::Gap(length) => self.blank(length, false, segment, visit)?,
                Step::Stop(Stop::Sealed) => {
                    self.blank(self.size - offset, true, segment, visit)?;
                    return Ok(true);
                }
                Step::Stop(Stop::Clean) => {
                    let rest = self.scanner.first_nonzero(offset..self.size);
                    let behind = match rest {
                        Err(error) if is_bad_sector(&error) => Some(offset),
                        rest => StoppedLedger::io("read", segment.path, rest)?,
                    };
                    let (case, mismatch) = match (behind, segment.last) {
                        (None, true) => return Ok(false),
                        (Some(at), true) => {
                            let found = format!("bytes from position {} on", self.start.position + at);
                            (EndCase::StaleTail, Mismatch::new("rest of the file", found, "zeros"))
                        }
                        (_, false) => {
                            (EndCase::LostPage, Mismatch::new("entry", "zeros, and later segments", "an entry"))
                        }
                    };
                    if !self.go_on(case, mismatch, segment, visit)? {
                        return Ok(false);
                    }
                }
                Step::Stop(Stop::Broken(Broken { kind, mismatch })) => {
                    if !self.go_on(EndCase::Broken(kind), mismatch, segment, visit)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn entry<E: From<OfflineError>>(
        &mut self,
        header: EntryHeader,
        fits: bool,
        segment: &SegmentSurvey<'_>,
        visit: Visit<'_, E>,
    ) -> Result<(), E> {
        let offset = header.position - self.start.position;
        let index = header.index.saturating_sub(self.start.index);
        self.units.push(Unit::new(offset as u32, index as u32, header.kind == EntryKind::Membership));
        let bytes = match self.scanner.bytes(offset, header.length()) {
            Err(error) if is_bad_sector(&error) => &[],
            bytes => StoppedLedger::io("read", segment.path, bytes)?.unwrap_or_default(),
        };
        visit(Surveyed::Entry { header, bytes, fits })
    }

    /// Reports a blank, and a problem if a byte behind the blank's header is not zero: no start reads those bytes, but
    /// all replicas must hold the same ones.
    fn blank<E: From<OfflineError>>(
        &mut self,
        length: u64,
        seals: bool,
        segment: &mut SegmentSurvey<'_>,
        visit: Visit<'_, E>,
    ) -> Result<(), E> {
        let end = self.scanner.end();
        let position = if seals { end.position } else { end.position - length };
        visit(Surveyed::Blank { position, length, chain: end.chain, seals })?;
        let offset = position - self.start.position;
        let (found, at) = match self.scanner.first_nonzero(offset + BLANK_HEADER as u64..offset + length) {
            Ok(None) => return Ok(()),
            Ok(Some(at)) => ("a byte that is not zero".to_owned(), at),
            Err(error) if is_bad_sector(&error) => (error.to_string(), offset),
            failed => (String::new(), StoppedLedger::io("read", segment.path, failed.map(|_| offset))?),
        };
        visit(Surveyed::Problem(Problem {
            case: None,
            file: segment.path.to_owned(),
            position: self.start.position + at,
            next: end,
            mismatch: Mismatch::new("rest of a blank", found, "zeros"),
            goes_on: None,
        }))
    }

    /// Reports the problem that stopped the scan, and goes to the next good entry. Returns `false` if the rest of the
    /// segment has none.
    fn go_on<E: From<OfflineError>>(
        &mut self,
        case: EndCase,
        mismatch: Mismatch,
        segment: &mut SegmentSurvey<'_>,
        visit: Visit<'_, E>,
    ) -> Result<bool, E> {
        segment.intact = false;
        let next = self.scanner.end();
        let offset = next.position - self.start.position;
        let known = self.scanner.stopped_at();
        let from = offset + known.map_or(crate::format::ALIGNMENT, |header| header.length()) as u64;
        let resumed = StoppedLedger::io("read", segment.path, self.scanner.resume_from(from))?;
        let goes_on = resumed.then(|| self.scanner.end().position);
        let file = segment.path.to_owned();
        let position = next.position;
        visit(Surveyed::Problem(Problem { case: Some(case), file, position, next, mismatch, goes_on }))?;
        if let Some(header) = known {
            self.entry(header, false, segment, visit)?;
        }
        Ok(resumed)
    }
}
