//! Reading what nobody reads: damage in sealed segments is found while other replicas are still good.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::disk::{DiskFile, is_bad_sector};
use crate::error::{Damage, Mismatch};
use crate::format::segment::{BLANK_HEADER, Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::log::Shared;
use crate::log::reader::LogReader;
use crate::segment::Segment;
use crate::segment::scanner::{Scanner, Step, Stop};
use crate::types::ScrubStatus;

/// About how many bytes are read in a step.
const STEP: u64 = 1 << 20;

/// What is known of the health of a log's sealed segments.
#[derive(Default)]
pub(in crate::log) struct Health {
    state: Mutex<State>,
    /// Told of damage that was not known.
    found: Notify,
    /// Told of every repair.
    mended: Notify,
    /// Told of entries that a peer refuses.
    doubted: Notify,
}

#[derive(Default)]
struct State {
    /// What was found last, wherever it was.
    newest: Option<Damage>,
    /// Somebody repairs what is found.
    mends: bool,
    /// By the position of the segment.
    damaged: BTreeMap<u64, Damage>,
    found: u64,
    repaired: u64,
    passes: u64,
    last_pass: Option<u64>,
    /// Numbers of the entries that a peer refused last.
    doubted: Option<Range<u64>>,
}

impl Health {
    pub(in crate::log) fn doubt(&self, numbers: Range<u64>) {
        self.state().doubted = Some(numbers);
        self.doubted.notify_one();
    }

    pub(in crate::log) async fn doubted(&self) -> Range<u64> {
        loop {
            self.doubted.notified().await;
            if let Some(numbers) = self.state().doubted.take() {
                return numbers;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Shared {
    /// The segment that begins at `position`, if it is sealed and nothing in it changes any more: what is behind it is
    /// committed, and it was synced.
    pub(in crate::log) fn settled_segment(&self, position: u64) -> Option<(Arc<Segment>, Cursor)> {
        let committed = self.progress.commit_point().position.min(self.durable_position());
        let segments = self.segments();
        let at = segments.iter().position(|segment| segment.position() == position)?;
        let (segment, next) = (segments.get(at)?, segments.get(at + 1)?);
        (committed > next.position()).then(|| (segment.clone(), next.start()))
    }

    /// Remembers damage; for repair, if it is in a segment that can be repaired while the log is open.
    pub(in crate::log) fn note_damage(&self, damage: &Damage, segment: &Arc<Segment>) {
        let position = segment.position();
        // Held while the segment is looked for: once it is gone, whoever has removed it takes back what was noted.
        let mut state = self.health.state();
        state.newest = Some(damage.clone());
        match self.settled_segment(position) {
            // Not one that was repaired meanwhile.
            Some((present, _)) if Arc::ptr_eq(&present, segment) => {}
            _ => return,
        }
        if state.damaged.insert(position, damage.clone()).is_none() {
            state.found += 1;
            tracing::error!(group = %self.group(), %damage, "a sealed segment is damaged");
            self.health.found.notify_one();
        }
    }

    /// The segment at `position` is good again.
    pub(in crate::log) fn note_repaired(&self, position: u64) {
        let mut state = self.health.state();
        // Not if it has gone meanwhile.
        state.repaired += u64::from(state.damaged.remove(&position).is_some());
        drop(state);
        self.health.mended.notify_waiters();
    }

    /// The segments before `position` are gone, and their damage with them. Not to be called with the segments locked.
    pub(in crate::log) fn forget_damage_before(&self, position: u64) {
        self.health.state().damaged.retain(|damaged, _| *damaged >= position);
    }
}

impl LogReader {
    /// What is known of the sealed segments.
    pub(crate) fn scrub_status(&self) -> ScrubStatus {
        let state = self.shared.health.state();
        ScrubStatus {
            passes: state.passes,
            last_pass: state.last_pass,
            found: state.found,
            repaired: state.repaired,
            damaged: state.damaged.values().map(|damage| damage.position).collect(),
        }
    }

    /// What is damaged now, with the position of the segment.
    pub(crate) fn damaged(&self) -> Vec<(u64, Damage)> {
        self.shared.health.state().damaged.iter().map(|(position, damage)| (*position, damage.clone())).collect()
    }

    /// What was found to be damaged last, in a sealed segment or not.
    pub(crate) fn newest_damage(&self) -> Option<Damage> {
        self.shared.health.state().newest.clone()
    }

    /// From now on somebody repairs what is damaged.
    pub(crate) fn mend(&self) {
        self.shared.health.state().mends = true;
    }

    /// Whether somebody repairs what is damaged.
    pub(crate) fn is_mended(&self) -> bool {
        self.shared.health.state().mends
    }

    /// Until something has been repaired.
    pub(crate) async fn mended(&self) {
        self.shared.health.mended.notified().await;
    }

    /// Until damage is found that was not known.
    pub(crate) async fn damage_found(&self) {
        self.shared.health.found.notified().await;
    }

    /// A pass over all sealed segments.
    pub(crate) fn scrub(&self) -> ScrubPass {
        ScrubPass { shared: self.shared.clone(), next: 0, current: None }
    }
}

/// A pass. It reads past the page cache where the disk can, for that hides what has become of the disk.
pub(crate) struct ScrubPass {
    shared: Arc<Shared>,
    /// Position of the next segment, at least.
    next: u64,
    current: Option<Current>,
}

/// The segment that is being read.
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// What the next segment begins with.
    end: Cursor,
    at: Cursor,
    /// Up to which byte of the file the blank behind the last entry was seen to be zeros: it may be most of the
    /// segment.
    zeros: u64,
}

impl ScrubPass {
    /// Reads on. Returns how many bytes were read; `None` at the end of the pass. `now`: milliseconds since 1970.
    ///
    /// # Errors
    /// If the system fails, for another reason than the medium. The same step may be tried again.
    pub(crate) fn step(&mut self, now: u64) -> io::Result<Option<u64>> {
        if self.current.is_none() {
            self.current = self.open()?;
        }
        let Some(current) = &mut self.current else {
            let mut state = self.shared.health.state();
            (state.passes, state.last_pass) = (state.passes + 1, Some(now));
            return Ok(None);
        };
        let from = current.reached();
        let read = match current.read() {
            Ok(Read::On) => return Ok(Some(current.reached() - from)),
            Ok(Read::End) => current.segment.end_position() - from,
            Ok(Read::Damaged(mismatch)) => {
                let (file, Cursor { position, index, .. }) = (current.segment.path().to_owned(), current.at);
                let damage = Damage { file, position, index, mismatch };
                self.shared.note_damage(&damage, &current.segment);
                STEP
            }
            Err(error) => return Err(error),
        };
        self.current = None;
        Ok(Some(read))
    }

    fn open(&mut self) -> io::Result<Option<Current>> {
        let positions: Vec<_> = self.shared.segments().iter().map(|segment| segment.position()).collect();
        for position in positions {
            if position < self.next {
                continue;
            }
            let Some((segment, end)) = self.shared.settled_segment(position) else { continue };
            let at = segment.start();
            match self.shared.disk.open_direct(segment.path()) {
                Ok(file) => {
                    self.next = position + 1;
                    return Ok(Some(Current { segment, file, end, at, zeros: 0 }));
                }
                // Purged in between.
                Err(_) if self.shared.settled_segment(position).is_none() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let file = segment.path().to_owned();
                    let mismatch = Mismatch::new("segment", "no file", "a segment");
                    self.next = position + 1;
                    let (position, index) = (at.position, at.index);
                    self.shared.note_damage(&Damage { file, position, index, mismatch }, &segment);
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
    /// Position up to which it has been read.
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
