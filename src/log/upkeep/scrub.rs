//! Reads all sealed segments, also those that no reader wants, to find damage while other replicas are still good.

use std::io;
use std::sync::Arc;

use super::health::Health;
use crate::disk::{DiskFile, is_bad_sector};
use crate::error::{Damage, Mismatch};
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::segment::Segment;
use crate::segment::scanner::{Scanner, Step, Stop};

/// Bytes that one step reads, about: the scrubber applies its rate limit after each step.
const STEP: u64 = 1 << 20;

/// A pass over the sealed segments. It reads past the page cache where the disk can, because the cache hides damage on
/// the disk.
pub(crate) struct ScrubPass {
    health: Arc<Health>,
    /// The next segment to read begins here or behind.
    next: u64,
    current: Option<Current>,
}

/// The segment that is being read.
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// What the next segment begins with.
    end: Cursor,
    /// What the next entry to read must continue.
    at: Cursor,
    /// Offset up to which the blank was seen to hold zeros: the blank may be most of the segment, so it is read in
    /// steps too.
    zeros: u64,
}

impl ScrubPass {
    pub(in crate::log) fn new(health: Arc<Health>) -> Self {
        Self { health, next: 0, current: None }
    }

    /// Reads the next step and returns how many bytes that was; `None` at the end of the pass. `now`: milliseconds
    /// since 1970.
    ///
    /// # Errors
    /// If the system fails for a reason other than a bad sector. The caller may try the same step again.
    pub(crate) fn step(&mut self, now: u64) -> io::Result<Option<u64>> {
        if self.current.is_none() {
            self.current = self.open()?;
        }
        let Some(current) = &mut self.current else {
            self.health.passed(now);
            return Ok(None);
        };
        let from = current.reached();
        let read = match current.read() {
            Ok(Read::On) => return Ok(Some(current.reached() - from)),
            Ok(Read::End) => current.segment.end_position() - from,
            Ok(Read::Damaged(mismatch)) => {
                let (file, Cursor { position, index, .. }) = (current.segment.path().to_owned(), current.at);
                let damage = Damage { file, position, index, mismatch };
                self.health.note_damage(&damage, &current.segment);
                STEP
            }
            Err(error) => return Err(error),
        };
        self.current = None;
        Ok(Some(read))
    }

    fn open(&mut self) -> io::Result<Option<Current>> {
        let positions: Vec<_> = self.health.segments().read().iter().map(|segment| segment.position()).collect();
        for position in positions {
            if position < self.next {
                continue;
            }
            let Some((segment, end)) = self.health.settled_segment(position) else { continue };
            let at = segment.start();
            match self.health.files().disk().open_direct(segment.path()) {
                Ok(file) => {
                    self.next = position + 1;
                    return Ok(Some(Current { segment, file, end, at, zeros: 0 }));
                }
                // A purge removed the segment meanwhile.
                Err(_) if self.health.settled_segment(position).is_none() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let file = segment.path().to_owned();
                    let mismatch = Mismatch::new("segment", "no file", "a segment");
                    self.next = position + 1;
                    let (position, index) = (at.position, at.index);
                    self.health.note_damage(&Damage { file, position, index, mismatch }, &segment);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

enum Read {
    On,
    End,
    Damaged(Mismatch),
}

fn damaged(what: &'static str, found: impl ToString, expected: impl ToString) -> Read {
    Read::Damaged(Mismatch::new(what, found, expected))
}

impl Current {
    /// Position up to which the segment has been read.
    fn reached(&self) -> u64 {
        self.at.position.max(self.segment.position() + self.zeros)
    }

    fn read(&mut self) -> io::Result<Read> {
        match self.look() {
            Err(error) if is_bad_sector(&error) => Ok(damaged("read of the disk", error, "what was written")),
            read => read,
        }
    }

    fn look(&mut self) -> io::Result<Read> {
        let (start, end) = (self.segment.start(), self.segment.end_position());
        let header = SegmentHeader { size: end - start.position, start };
        if self.file.size() != header.size {
            return Ok(damaged("file size", self.file.size(), header.size));
        }
        let from = self.at.position;
        let mut scanner = if from == start.position {
            let mut bytes = [0; SEGMENT_HEADER];
            self.file.read_at(&mut bytes, 0)?;
            if bytes != header.encode() {
                return Ok(damaged("segment header", "other bytes", format!("{start:?}")));
            }
            Scanner::new(self.file.as_ref(), &header, true)
        } else {
            Scanner::at(self.file.as_ref(), &header, self.at, false)
        };
        loop {
            self.at = scanner.end();
            if self.at.position - from >= STEP {
                return Ok(Read::On);
            }
            match scanner.next()? {
                Step::Entry(_) | Step::Gap(_) => {}
                Step::Stop(Stop::Sealed) if (self.at.number, self.at.chain) != (self.end.number, self.end.chain) => {
                    let expected = format!("entry {}", self.end.number - 1);
                    return Ok(damaged("last entry", format!("entry {}", self.at.number), expected));
                }
                Step::Stop(Stop::Sealed) => {
                    let rest = self.zeros.max(self.at.position - start.position + BLANK_HEADER as u64);
                    let until = header.size.min(rest + STEP);
                    if scanner.first_nonzero(rest..until)?.is_some() {
                        return Ok(damaged("rest of the blank", "bytes", "zeros"));
                    }
                    self.zeros = until;
                    return Ok(if until == header.size { Read::End } else { Read::On });
                }
                Step::Stop(Stop::Clean) => return Ok(damaged("entry", "zeros", "an entry, or a blank")),
                Step::Stop(Stop::Broken(broken)) => return Ok(Read::Damaged(broken.mismatch)),
            }
        }
    }
}
