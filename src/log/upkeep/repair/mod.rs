//! Repairs damaged segments with the entries of another replica.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Repair`]: walks the whole log and says which entries it needs |
//! | [`install`] | the end: new files replace the damaged ones |
//! | [`online`] | [`SegmentRepair`](online::SegmentRepair): one sealed segment of an open log |
//! | [`rebuild`] | one segment: its good entries, and its new file |
//!
//! [`Repair`] walks the log that the directory should hold, from its base to its end, with a cursor: position, number,
//! index, term, chain value. It keeps every local entry that continues the cursor. In place of any other it needs the
//! peer's committed entry of that number, which must continue the cursor exactly. Positions are equal on all replicas,
//! so behind each entry from a peer it tries the local bytes again. It ends where the local log ends, but not before
//! the points noted as committed and as durable, and with the noted chain values: they prove that the history is the
//! same. It writes the new segment files beside the old ones, reads each again as a whole, and replaces the old ones
//! once all of the log is proven. Until then it changes nothing of the log.
//!
//! The node asks the peers; nothing here knows how.

mod install;
pub(crate) mod online;
mod rebuild;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Mismatch, RepairError};
use crate::format::frame::Frame;
use crate::format::hard_state::{LogPoint, Noted};
use crate::format::roll;
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::log::directory::{Directory, Identity, io_error};
use crate::log::hard_state::HardStateFile;
use crate::log::names;
use crate::log::recovery::{Decision, Known, decide};
use crate::log::scan::Listing;
use crate::log::start_file::StartPoint;
use crate::segment::scanner::{Scanner, Step, breaks};
use crate::types::NodeId;
use rebuild::{Finished, Offer, Rebuild, Stopped, Walked};

/// The repair of a closed, locked directory.
pub(crate) struct Repair {
    disk: Arc<dyn Disk>,
    directory: Directory,
    /// What the first entry continues.
    base: Cursor,
    hard_state: HardStateFile,
    /// What the hard state said when the repair began.
    noted: Noted,
    /// Highest term in which this node can have acknowledged anything.
    term: u64,
    /// Positions of the segment files in the directory, ascending.
    positions: Vec<u64>,
    /// Numbers of the local entries that may be superseded: each is kept only if the peer has the same.
    forced: Range<u64>,
    /// A peer has said that nothing from this number on is committed that this node could have acknowledged.
    settled: Option<u64>,
    /// Entries of a peer, with consecutive numbers.
    supplied: VecDeque<(NodeId, Frame)>,
    work: Work,
}

/// How far a [`Repair`] has come; thrown away when the walk begins anew.
struct Work {
    /// Where the next segment begins.
    next: Cursor,
    /// The segment that the walk is in.
    segment: Option<Rebuild>,
    finished: Vec<Finished>,
    /// Segments behind the end of the log, to be removed.
    removed: Vec<PathBuf>,
    /// The durable point that was noted here belongs to another history than the peer's. A truncation takes the note
    /// back before the log writes anything new, so every local byte behind the point is of that other history.
    superseded: bool,
    /// The end of the log, once it is proven.
    done: Option<Cursor>,
}

/// What a [`Repairing`] needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepairStep {
    /// A peer's entries from this number on.
    Need(u64),
    /// Nothing: all that it repairs is proven to the end.
    Done,
}

/// What a peer answers.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    /// Consecutive committed entries from the requested number on; the peer chooses how many.
    pub(crate) frames: Vec<Frame>,
    /// The peer knows the entries below this number to be committed.
    pub(crate) committed: u64,
    /// Term of the last committed entry.
    pub(crate) committed_term: u64,
}

/// A repair, of a closed log or of one segment, that a caller drives with the answers of peers.
pub(crate) trait Repairing {
    /// What the directory was made for.
    fn identity(&self) -> &Identity;
    /// Goes on as far as the local bytes and the supplied entries lead.
    ///
    /// # Errors
    /// The supplied entries do not fit: the caller may ask another peer. Or the system fails.
    fn advance(&mut self) -> Result<RepairStep, RepairError>;
    /// Takes the answer of `from` to [`RepairStep::Need`].
    ///
    /// # Errors
    /// The answer is of no use: the caller may ask another peer.
    fn supply(&mut self, from: &NodeId, answer: Supply) -> Result<(), RepairError>;
}

impl Repair {
    /// Opens the directory `path`, which must have the identity `wanted`, if one is given.
    ///
    /// # Errors
    /// The directory cannot be opened, or a file that no peer can supply is damaged: the identity, the start, a vote.
    pub(crate) fn begin(disk: Arc<dyn Disk>, path: PathBuf, wanted: Option<Identity>) -> Result<Self, RepairError> {
        let directory = match wanted {
            Some(wanted) => Directory::open(disk.as_ref(), path, wanted)?,
            None => Directory::existing(disk.as_ref(), path)?,
        };
        let start = StartPoint::read(disk.as_ref(), &directory)?;
        let base = start.purged.map_or(directory.identity().genesis(), |purged| purged.next);
        let positions = Listing::read(disk.as_ref(), &directory, base)?.positions;
        let hard_state = HardStateFile::open(disk.as_ref(), &directory.file(names::HARD_STATE), false)?;
        let (noted, term) = (hard_state.noted(), hard_state.vote().map_or(0, |vote| vote.term));
        let (forced, settled, supplied, work) = (0..0, None, VecDeque::new(), Work::new(base));
        Ok(Self { disk, directory, base, hard_state, noted, term, positions, forced, settled, supplied, work })
    }
}

impl Repairing for Repair {
    fn identity(&self) -> &Identity {
        self.directory.identity()
    }

    fn advance(&mut self) -> Result<RepairStep, RepairError> {
        loop {
            if let Some(step) = self.go_on()? {
                return Ok(step);
            }
        }
    }

    fn supply(&mut self, from: &NodeId, answer: Supply) -> Result<(), RepairError> {
        self.supplied.clear();
        let next = self.cursor();
        if answer.frames.is_empty() {
            return self.settle(next, &answer);
        }
        self.supplied.extend(fitting(answer, next.number)?.into_iter().map(|frame| (from.clone(), frame)));
        Ok(())
    }
}

impl Repair {
    /// Up to where this log is known to be committed; more of it may be.
    fn committed(&self) -> LogPoint {
        if self.noted.committed.number > self.base.number { self.noted.committed } else { self.base.point() }
    }

    fn cursor(&self) -> Cursor {
        self.work.segment.as_ref().map_or(self.work.next, Rebuild::cursor)
    }

    fn go_on(&mut self) -> Result<Option<RepairStep>, RepairError> {
        if self.work.done.is_some() {
            return Ok(Some(RepairStep::Done));
        }
        if self.work.segment.is_none() {
            self.work.segment = Some(self.open_segment()?);
        }
        if self.leads_astray()? {
            return Ok(None);
        }
        let (forced, supplied, upto) = (self.forced.clone(), &self.supplied, self.next_noted());
        let Some(segment) = &mut self.work.segment else { return Ok(None) };
        let (mut next, end) = (segment.cursor().number, segment.end_position());
        let walked = segment.walk(upto, &mut |offer| {
            let theirs = || at(supplied, next).map(|(_, frame)| frame.header);
            let wanted = !forced.contains(&next)
                || match offer {
                    Offer::Entry(ours) => theirs().is_some_and(|theirs| theirs.chain == ours.chain),
                    Offer::Blank => theirs().is_some_and(|theirs| theirs.position >= end),
                };
            next += u64::from(wanted);
            wanted
        })?;
        match walked {
            Walked::Paused => Ok(None),
            Walked::Sealed => self.next_segment().map(|()| None),
            Walked::Stopped(stopped) => match self.take()? {
                true => Ok(None),
                false if self.ends(&stopped)? => Ok(Some(RepairStep::Done)),
                false => Ok(Some(RepairStep::Need(self.cursor().number))),
            },
        }
    }

    /// The next number for which the hard state notes a chain value; the walk pauses there to compare.
    fn next_noted(&self) -> u64 {
        let number = self.cursor().number;
        let noted = [self.noted.committed.number, self.noted.durable.number];
        noted.into_iter().filter(|noted| *noted > number).min().unwrap_or(u64::MAX)
    }

    /// Compares the cursor's chain value with the noted one, where there is one. If they differ, begins the walk anew
    /// (`true`) and has every entry that may be superseded compared with the peer's.
    fn leads_astray(&mut self) -> Result<bool, RepairError> {
        let next = self.cursor();
        let Noted { committed, durable, .. } = self.noted;
        let is_at = |point: LogPoint| point.number == next.number && point.number > self.base.number;
        let all = self.base.number..committed.number.max(durable.number);
        if is_at(committed) && committed.chain != next.chain {
            if self.has_forced(&all) {
                let expected = format!("{:#010x}, noted when it was committed", committed.chain);
                return differs("chain value of a committed entry", format!("{:#010x}", next.chain), expected);
            }
            self.again(all);
            return Ok(true);
        }
        if is_at(durable) && durable.chain != next.chain {
            if self.is_superseded(durable) {
                self.work.superseded = true;
                return Ok(false);
            }
            let open = self.committed().number..durable.number;
            self.again(if open.is_empty() { all } else { open });
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the walk has compared with a peer every local entry before `durable` that is not known to be committed.
    fn is_superseded(&self, durable: LogPoint) -> bool {
        let from = self.committed().number;
        self.has_forced(&(if from < durable.number { from } else { self.base.number }..durable.number))
    }

    fn has_forced(&self, numbers: &Range<u64>) -> bool {
        !self.forced.is_empty() && self.forced.start <= numbers.start && self.forced.end >= numbers.end
    }

    /// Begins the walk anew, and has the entries `numbers` compared with the peer's too.
    fn again(&mut self, numbers: Range<u64>) {
        let before = if self.forced.is_empty() { numbers.clone() } else { self.forced.clone() };
        self.forced = before.start.min(numbers.start)..before.end.max(numbers.end);
        (self.settled, self.work) = (None, Work::new(self.base));
        self.supplied.clear();
    }

    fn open_segment(&self) -> Result<Rebuild, RepairError> {
        let (next, size) = (self.work.next, self.identity().segment_size);
        let position = next.position / size * size;
        let (start, first) = match next == self.base {
            true => self.first_segment(position)?,
            false => (next, position + SEGMENT_HEADER as u64),
        };
        let path = self.directory.segment(position);
        let file = match self.disk.open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("open", &path)(error).into()),
        };
        Rebuild::open(self.disk.clone(), path, file, size, start, first)
    }

    /// What the header of the first segment must say, and the position of its first entry. Entries before the base are
    /// purged: if they are all good they stay in the file, else a blank takes their place.
    fn first_segment(&self, position: u64) -> Result<(Cursor, u64), RepairError> {
        let path = self.directory.segment(position);
        let behind = (Cursor { position, ..self.base }, self.base.position.max(position + SEGMENT_HEADER as u64));
        let Ok(file) = self.disk.open(&path) else { return Ok(behind) };
        let mut bytes = [0; SEGMENT_HEADER];
        if self.base.number == 0 || file.read_at(&mut bytes, 0).is_err() {
            return Ok(behind);
        }
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) if header.start.position == position && header.size == self.identity().segment_size => header,
            _ => return Ok(behind),
        };
        let mut scanner = Scanner::new(file.as_ref(), &header, true);
        let mut first = position + SEGMENT_HEADER as u64;
        while scanner.end().number < self.base.number {
            match scanner.next().map_err(io_error("read", &path))? {
                Step::Entry(_) => {}
                Step::Gap(length) => first += length,
                Step::Stop(_) => return Ok(behind),
            }
        }
        let before = header.start.number < self.base.number;
        Ok(if before && scanner.end() == self.base { (header.start, first) } else { behind })
    }

    /// Finishes the sealed segment; the walk goes on in the next one.
    fn next_segment(&mut self) -> Result<(), RepairError> {
        let Some(segment) = self.work.segment.take() else { return Ok(()) };
        self.work.next = Cursor { position: segment.end_position(), ..segment.cursor() };
        self.work.finished.extend(segment.complete(true)?);
        Ok(())
    }

    /// Takes the peer's entry at the cursor, where the local bytes do not continue the log. `false`: none was supplied.
    fn take(&mut self) -> Result<bool, RepairError> {
        let next = self.cursor();
        let (Some((from, frame)), Some(segment)) = (at(&self.supplied, next.number), &mut self.work.segment) else {
            return Ok(false);
        };
        let header = &frame.header;
        let size = self.directory.identity().segment_size;
        let place = roll::place(next.position, header.length(), header.kind, size);
        let fits = place == next.position;
        if let Some(mismatch) = breaks(header, &Cursor { position: place, ..next }) {
            return self.fork(next.number, mismatch);
        }
        let largest = roll::largest(size);
        if header.length() as u64 > largest {
            let expected = format!("at most {largest} bytes");
            return differs("length of the entry", format!("{} bytes", header.length()), expected);
        }
        if fits {
            segment.put(frame, from)?;
        } else {
            segment.seal(false)?;
            self.next_segment()?;
        }
        Ok(true)
    }

    /// The peer's committed entry `number` does not continue the local log: local entries before it may be superseded,
    /// so the walk begins anew and compares them.
    ///
    /// # Errors
    /// If `number` is below the commit point, or was compared already: then no superseded entry explains this.
    fn fork(&mut self, number: u64, mismatch: Mismatch) -> Result<bool, RepairError> {
        let committed = self.committed().number;
        if number < committed || self.forced.contains(&number) {
            self.supplied.clear();
            return Err(RepairError::Differs(mismatch));
        }
        self.again(committed..self.noted.durable.number.max(number + 1));
        Ok(true)
    }

    /// The peer has no committed entry from `next` on: the log may end there if nothing behind it can be committed.
    ///
    /// # Errors
    /// If the answer contradicts itself, or does not settle that.
    fn settle(&mut self, next: Cursor, answer: &Supply) -> Result<(), RepairError> {
        if answer.committed > next.number {
            let expected = format!("entry {}: {} are committed", next.number, answer.committed);
            return differs("the answer", "no entry", expected);
        }
        // The leader of a later term has all that was committed in earlier terms, before its own first entry.
        if next.number >= self.committed().number && answer.committed_term > self.term.max(next.term) {
            self.settled = Some(next.number);
            return Ok(());
        }
        let Cursor { position, index, .. } = next;
        Err(RepairError::NotSettled { position, index, committed: answer.committed })
    }

    /// Ends the log here, where nothing continues it, if it may end here; else returns `false`.
    fn ends(&mut self, stopped: &Stopped) -> Result<bool, RepairError> {
        let (next, base, size) = (self.cursor(), self.base, self.identity().segment_size);
        let Some(segment) = &mut self.work.segment else { return Ok(false) };
        let position = segment.position();
        let is_first = position == base.position / size * size;
        let later: Vec<u64> = self.positions.iter().copied().filter(|later| *later > position).collect();
        let lacks = |point: LogPoint| point.number > base.number.max(next.number);
        let known = match () {
            () if lacks(self.noted.committed) => Known::Committed,
            () if lacks(self.noted.durable) => Known::Durable,
            () => Known::Nothing,
        };
        let case = segment.find(stopped, !later.is_empty(), is_first);
        if self.settled == Some(next.number) || (self.work.superseded && known == Known::Nothing) {
            self.work.removed = later.iter().map(|later| self.directory.segment(*later)).collect();
            if !segment.is_empty() || is_first {
                segment.cut()?;
            } else if segment.has_file() {
                self.work.removed.insert(0, segment.path().to_owned());
            }
        } else if known != Known::Nothing
            || self.forced.contains(&next.number)
            || decide(case, known) == Decision::Refuse
        {
            return Ok(false);
        }
        if let Some(segment) = self.work.segment.take() {
            self.work.finished.extend(segment.complete(false)?);
        }
        self.work.done = Some(next);
        Ok(true)
    }
}

impl Work {
    fn new(base: Cursor) -> Self {
        Self { next: base, segment: None, finished: Vec::new(), removed: Vec::new(), superseded: false, done: None }
    }
}

/// The entry `number` of the supplied ones.
fn at(supplied: &VecDeque<(NodeId, Frame)>, number: u64) -> Option<&(NodeId, Frame)> {
    let first = supplied.front()?.1.header.number;
    supplied.get(usize::try_from(number.checked_sub(first)?).ok()?)
}

/// The entries of `answer`.
///
/// # Errors
/// If they are not consecutive committed entries from `number` on.
fn fitting(answer: Supply, number: u64) -> Result<Vec<Frame>, RepairError> {
    for (frame, number) in answer.frames.iter().zip(number..) {
        if frame.header.number != number || number >= answer.committed {
            let expected = format!("{number}, committed (the peer has committed {})", answer.committed);
            return differs("number of the entry", frame.header.number, expected);
        }
    }
    Ok(answer.frames)
}

fn differs<T>(what: &'static str, found: impl ToString, expected: impl ToString) -> Result<T, RepairError> {
    Err(RepairError::Differs(Mismatch::new(what, found, expected)))
}
