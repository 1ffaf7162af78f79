//! [`StoppedLedger::truncate`]: removes the records from an index on, also in front of damage.

use std::path::PathBuf;

use serde::Serialize;

use super::survey::{NOWHERE, Problem, Surveyed};
use super::{OfflineError, StoppedLedger};
use crate::error::OpenError;
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::hard_state::{LogPoint, Noted};
use crate::format::segment::Cursor;
use crate::log::directory::Directory;
use crate::log::offline_access::{self, StartVerdict};
use crate::log::recovery::Decision;
use crate::log::unsynced_names::remove_segment;
use crate::segment::after;

/// A cut, made or planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truncation {
    /// Index after the last record that is left.
    pub to: u64,
    /// Position after the last entry that is left.
    pub position: u64,
    /// Number after the last entry that is left.
    pub number: u64,
    /// Good entries that the cut removes.
    pub entries: u64,
    /// Records in the removed entries.
    pub records: u64,
    /// Whether the cut also removes bytes that cannot be read as entries.
    pub damaged: bool,
    /// Index after the last record known to be committed: more than `to` if the cut removes committed records.
    pub committed: u64,
    /// Index after the last record noted as synced here: more than `to` if the cut removes records that this node has
    /// acknowledged to the leader, which so may have acknowledged them to a client.
    pub durable: u64,
    /// Index after the last readable record that may have been acknowledged: more than `to` if the cut removes such
    /// records. Besides the committed and the synced records these are all that a start would keep: with
    /// `Durability::Interval` an ack needs no sync, and after a loss of power the note may be older than the last sync.
    pub acknowledged: u64,
    /// Segment files that the cut removes as a whole, the last one first.
    pub segments: Vec<PathBuf>,
    /// Position of the segment whose rest becomes zeros; `None` if no segment is left.
    #[serde(skip)]
    keep: Option<u64>,
    #[serde(skip)]
    cut: LogPoint,
    #[serde(skip)]
    discarded: Option<Discarded>,
}

/// The strongest reason against a cut: what is known of the entries that it removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Discarded {
    /// A start would keep the entries, or would refuse because no interrupted write explains the damage: the entries
    /// may have been acknowledged.
    Acknowledged,
    /// The entries are noted as synced here, so they may have been acknowledged.
    Synced,
    /// The entries are known to be committed.
    Committed,
}

impl StoppedLedger {
    /// What [`StoppedLedger::truncate`] would do. Writes nothing.
    ///
    /// # Errors
    /// As [`StoppedLedger::truncate`].
    pub fn plan_truncation(&self, to: u64, discard_committed: bool) -> Result<Truncation, OfflineError> {
        let (directory, noted) = self.noted()?;
        let mut plan = CutSearch::new(self, to, noted)?;
        self.survey(0..u64::MAX, &mut |seen| plan.see(seen))?;
        let (mut truncation, first) = (plan.finish()?, plan.base.index);
        if to < first {
            return Err(OfflineError::OutOfRange { to, first, end: truncation.to });
        }
        let at_start = match offline_access::start_verdict(&self.disk, directory) {
            Err(OpenError::Damaged(_)) => StartOutcome::Refuses,
            verdict => StartOutcome::of(&verdict?),
        };
        truncation.discarded = discarded(&truncation, noted, at_start);
        let readable = match at_start {
            StartOutcome::Ends { index, .. } => index,
            StartOutcome::Refuses => plan.readable,
            StartOutcome::BeginsAnew => 0,
        };
        truncation.acknowledged = truncation.acknowledged.max(readable);
        let Truncation { number, committed, durable, acknowledged, .. } = truncation;
        match truncation.discarded.filter(|_| !discard_committed) {
            Some(Discarded::Committed) => Err(OfflineError::Committed { to, number, committed }),
            Some(Discarded::Synced) => Err(OfflineError::Synced { to, number, durable }),
            Some(Discarded::Acknowledged) => Err(OfflineError::Acknowledged { to, number, acknowledged }),
            None => Ok(truncation),
        }
    }

    /// Removes the records from index `to` on, and the entries that hold them, durably. A node can open the rest. Never
    /// splits a batch.
    ///
    /// Without `discard_committed` it removes only what a start would cut anyway, and refuses to remove entries that
    /// may have been acknowledged: those known to be committed, those noted as synced here, and those that a start
    /// would keep or refuse for. A replica that loses such entries breaks the cluster's promise, so `discard_committed`
    /// is for the case that no other replica has them.
    ///
    /// # Errors
    /// If `to` is not the first record of an entry, or may have been acknowledged, or is behind damage; if the
    /// identity, the start or the hard state are damaged; or if the system fails.
    pub fn truncate(&self, to: u64, discard_committed: bool) -> Result<Truncation, OfflineError> {
        let plan = self.plan_truncation(to, discard_committed)?;
        let (directory, noted) = self.noted()?;
        // The rest of the log must be on the disk: nothing of a copied directory may have been synced yet.
        offline_access::sync_all(self.disk.as_ref(), &self.path)?;
        // The notes are lowered before anything is removed, so that no start takes the missing entries for damage.
        let (committed, durable) = (noted.committed.at_most(plan.cut), noted.durable.at_most(plan.cut));
        let lowered = Noted { committed, durable, clearing: true };
        if lowered != noted {
            offline_access::take_back(self.disk.as_ref(), directory, lowered)?;
        }
        // The last first: after a crash in between, the log merely ends earlier.
        for segment in &plan.segments {
            Self::io("remove", segment, remove_segment(self.disk.as_ref(), segment))?;
        }
        for position in self.positions().into_iter().filter(|at| plan.keep.is_none_or(|keep| *at >= keep)) {
            let index = self.index_path(position);
            match self.disk.remove(&index) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Self::io("remove", &index, Err(error))?,
                _ => {}
            }
        }
        Self::io("sync directory", &self.path, self.disk.sync_dir(&self.path))?;
        if let Some(keep) = plan.keep {
            self.zero(keep, plan.position)?;
        }
        match offline_access::start_verdict(&self.disk, directory)? {
            verdict if verdict.decision == Decision::Keep => Ok(plan),
            verdict => Err(OfflineError::StillRefused { why: verdict.damage.to_string() }),
        }
    }

    /// The noted points, if identity, start and hard state can be used.
    fn noted(&self) -> Result<(&Directory, Noted), OfflineError> {
        let directory = self.directory.as_ref()?;
        self.start.as_ref()?;
        let noted = offline_access::noted(self.disk.as_ref(), directory).map_err(|error| match error {
            OpenError::Damaged(d) => OfflineError::Damaged { file: d.file, mismatch: d.mismatch },
            error => error.into(),
        })?;
        Ok((directory, noted))
    }

    /// Zeroes the segment at `keep` from `position` on, durably.
    fn zero(&self, keep: u64, position: u64) -> Result<(), OfflineError> {
        const CHUNK: u64 = 1 << 20;
        let path = self.segment_path(keep);
        let file = Self::io("open", &path, self.disk.open(&path))?;
        let mut offset = position - keep;
        let zeros = vec![0; CHUNK.min(self.segment_size) as usize];
        while offset < self.segment_size {
            let length = CHUNK.min(self.segment_size - offset);
            Self::io("write", &path, file.write_at(&zeros[..length as usize], offset))?;
            offset += length;
        }
        Self::io("sync", &path, file.sync())
    }
}

/// Searches for the position of the cut, while the survey goes over the log.
struct CutSearch<'a> {
    ledger: &'a StoppedLedger,
    to: u64,
    base: Cursor,
    /// What the next entry must continue, up to the first damage, and the segment of the entry before it.
    at: Cursor,
    segment: Option<u64>,
    /// The first problem, if it comes before the cut.
    problem: Option<Problem>,
    cut: Option<(Cursor, Option<u64>)>,
    /// Index after the last record of any good entry, also behind damage.
    readable: u64,
    found: Truncation,
}

impl<'a> CutSearch<'a> {
    fn new(ledger: &'a StoppedLedger, to: u64, noted: Noted) -> Result<Self, OfflineError> {
        let base = ledger.base().unwrap_or(NOWHERE);
        let found = Truncation {
            to,
            position: 0,
            number: 0,
            entries: 0,
            records: 0,
            damaged: false,
            committed: noted.committed.index,
            durable: noted.durable.index,
            acknowledged: noted.committed.index.max(noted.durable.index),
            segments: Vec::new(),
            keep: None,
            cut: LogPoint::default(),
            discarded: None,
        };
        Ok(Self { ledger, to, base, at: base, segment: None, problem: None, cut: None, readable: 0, found })
    }

    fn see(&mut self, seen: Surveyed<'_>) -> Result<(), OfflineError> {
        match seen {
            Surveyed::Segment { position, header } => {
                // The place behind the last entry of a segment stays in that segment until another entry is found.
                if self.segment.is_none()
                    && let (Some(header), None, None) = (header, &self.cut, &self.problem)
                {
                    let begins = position + crate::format::segment::SEGMENT_HEADER as u64;
                    (self.at, self.segment) = (Cursor { position: begins, ..header.start }, Some(position));
                }
                Ok(())
            }
            Surveyed::Blank { length, seals: false, .. } if self.cut.is_none() && self.problem.is_none() => {
                self.at.position += length;
                Ok(())
            }
            Surveyed::Problem(problem) => {
                self.problem(problem);
                Ok(())
            }
            Surveyed::Entry { header, fits, .. } => self.entry(&header, fits),
            Surveyed::Blank { .. } | Surveyed::Ends(_) => Ok(()),
        }
    }

    fn problem(&mut self, problem: Problem) {
        // No start reads the rest of a blank, and the cut zeroes the rest of its segment.
        if problem.case.is_none() {
            return;
        }
        self.found.damaged = true;
        if self.cut.is_some() || self.problem.is_some() {
            return;
        }
        if problem.next.number <= self.base.number && self.to == self.base.index {
            // No entry in front of the damage belongs to the log: the log begins anew at its start.
            self.cut = Some((self.base, None));
        } else if self.at.index == self.to {
            self.cut = Some((self.at, self.segment));
        } else {
            self.problem = Some(problem);
        }
    }

    fn entry(&mut self, header: &EntryHeader, fits: bool) -> Result<(), OfflineError> {
        self.found.committed = self.found.committed.max(header.committed);
        self.found.acknowledged = self.found.acknowledged.max(header.committed);
        let (first, next) = (header.index, header.index + u64::from(header.records));
        if self.cut.is_none() && self.problem.is_none() {
            let counts = header.number >= self.base.number;
            if counts && header.kind == EntryKind::Batch && first < self.to && self.to < next {
                return Err(OfflineError::InsideBatch { to: self.to, first, last: next - 1 });
            }
            if counts && header.kind == EntryKind::Batch && first == self.to {
                let place =
                    if self.segment == Some(self.segment_of(header)) { header.position } else { self.at.position };
                self.cut = Some((Cursor { position: place, ..self.at }, self.segment));
            }
        }
        if fits {
            self.readable = self.readable.max(next);
        }
        if self.cut.is_some() {
            self.found.entries += u64::from(fits);
            self.found.records += if fits { u64::from(header.records) } else { 0 };
        } else if self.problem.is_none() {
            (self.at, self.segment) = (after(header), Some(self.segment_of(header)));
        }
        Ok(())
    }

    fn segment_of(&self, header: &EntryHeader) -> u64 {
        header.position / self.ledger.segment_size * self.ledger.segment_size
    }

    fn finish(&mut self) -> Result<Truncation, OfflineError> {
        let (first, end, to) = (self.base.index, self.at.index, self.to);
        if to < first {
            return Err(OfflineError::OutOfRange { to, first, end });
        }
        let (cut, keep) = match (self.cut.take(), self.problem.take()) {
            (Some(cut), _) => cut,
            (None, Some(problem)) => {
                let (file, position, what) = (problem.file, problem.position, problem.mismatch.what.into_owned());
                return Err(OfflineError::DamageBefore { to, index: end, file, position, what });
            }
            (None, None) if to == end => (self.at, self.segment),
            (None, None) => return Err(OfflineError::OutOfRange { to, first, end }),
        };
        let goes = |at: &u64| keep.is_none_or(|keep| *at > keep);
        let segments = self.ledger.positions().into_iter().rev().filter(goes);
        Ok(Truncation {
            position: cut.position,
            number: cut.number,
            segments: segments.map(|at| self.ledger.segment_path(at)).collect(),
            keep,
            cut: cut.point(),
            ..self.found.clone()
        })
    }
}

impl Truncation {
    /// Whether the cut removes entries that are known to be committed.
    pub fn discards_committed(&self) -> bool {
        self.discarded == Some(Discarded::Committed)
    }

    /// Whether the cut removes anything that may have been acknowledged, committed or not.
    pub fn discards_acknowledged(&self) -> bool {
        self.discarded.is_some()
    }
}

/// What a start would do with the log as it is.
#[derive(Clone, Copy)]
enum StartOutcome {
    /// The start would end the log there, and report what it cuts.
    Ends { number: u64, index: u64 },
    /// The start would remove the whole log, because a reset was interrupted.
    BeginsAnew,
    /// The start would refuse, because the missing entries may have been acknowledged.
    Refuses,
}

impl StartOutcome {
    fn of(verdict: &StartVerdict) -> Self {
        match verdict.decision {
            Decision::Keep | Decision::Cut => Self::Ends { number: verdict.end.number, index: verdict.end.index },
            Decision::Restart => Self::BeginsAnew,
            Decision::Refuse => Self::Refuses,
        }
    }
}

/// The strongest reason against `cut`, if there is one. Compares numbers too, because a change of members is
/// acknowledged but has no index.
fn discarded(cut: &Truncation, noted: Noted, at_start: StartOutcome) -> Option<Discarded> {
    let kept = match at_start {
        StartOutcome::Ends { number, .. } => cut.number < number,
        StartOutcome::BeginsAnew => false,
        StartOutcome::Refuses => true,
    };
    match () {
        () if cut.to < cut.committed || cut.number < noted.committed.number => Some(Discarded::Committed),
        () if cut.to < cut.durable || cut.number < noted.durable.number => Some(Discarded::Synced),
        () if kept => Some(Discarded::Acknowledged),
        () => None,
    }
}
