//! [`StoppedLedger::verify`]: checks every byte of a ledger's directory.

use serde::Serialize;

use super::start_prediction::StartPrediction;
use super::survey::Surveyed;
use super::{AtStart, Finding, OfflineError, Severity, StoppedLedger};
use crate::format::batch::Batch;
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::hard_state::{LogPoint, Slot};

/// What a verification reports while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyEvent {
    /// A place in a file that is not as it was written.
    Finding(Finding),
    /// How far the verification has come.
    Progress {
        /// Bytes of the segments checked so far.
        done: u64,
        /// Bytes of all segments.
        total: u64,
    },
}

/// What a verification found, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifySummary {
    /// Segment files.
    pub segments: u64,
    /// Entries that are as they were written.
    pub entries: u64,
    /// Records in those entries.
    pub records: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Lowest index stored.
    pub first: u64,
    /// Index after the last good record.
    pub end: u64,
    /// Index after the last record known to be committed.
    pub committed: u64,
    /// Index after the last record known to have been synced.
    pub durable: u64,
    /// Findings that are damage.
    pub damages: u64,
    /// Other findings.
    pub notes: u64,
    /// What a start of the node would do.
    pub at_start: AtStart,
    /// Why the start would not simply go on, if it would not.
    pub why: Option<String>,
}

/// Bytes between two [`VerifyEvent::Progress`]: 1 MiB, so that the display moves without slowing the verification.
const TELL: u64 = 1 << 20;

impl StoppedLedger {
    /// Reads everything and reports every place that is not as it was written. Writes nothing.
    ///
    /// # Errors
    /// If the system fails, or a file is of a later format version; or what `visit` returns.
    pub fn verify<E: From<OfflineError>>(
        &self,
        visit: &mut dyn FnMut(VerifyEvent) -> Result<(), E>,
    ) -> Result<VerifySummary, E> {
        let prediction = StartPrediction::new(self)?;
        let (findings, hard_state) = self.side_files()?;
        let newest = hard_state.as_ref().and_then(|state| state.newest()).map(|(_, noted)| noted).unwrap_or_default();
        let positions = self.positions();
        let begins = positions.first().copied().unwrap_or_default();
        let total = positions.len() as u64 * self.segment_size;
        let base = self.base();
        let (at_start, why) = prediction.at_start();
        let first = base.map_or(0, |base| base.index);
        let summary = VerifySummary {
            segments: 0,
            entries: 0,
            records: 0,
            bytes: 0,
            first,
            end: first,
            committed: newest.committed.index.max(first),
            durable: newest.durable.index.max(first),
            damages: 0,
            notes: 0,
            at_start,
            why,
        };
        let mut places = Vec::new();
        for (nth, slot) in hard_state.iter().flat_map(|state| state.notes.iter().enumerate()) {
            if let Slot::Valid(_, noted) = slot {
                places.push(ExpectedPoint { slot: nth + 2, what: "committed", point: noted.committed, met: false });
                // The durable point of an older slot may lie behind a later truncation.
                if noted.durable == newest.durable {
                    places.push(ExpectedPoint { slot: nth + 2, what: "durable", point: noted.durable, met: false });
                }
            }
        }
        let base_number = base.map_or(0, |base| base.number);
        places.retain(|place| place.point.number > base_number);
        let mut check = Verification { ledger: self, prediction, summary, places, begins, total, told: 0, visit };
        for finding in findings {
            check.report(finding)?;
        }
        self.survey(0..u64::MAX, &mut |seen| check.see(seen))?;
        check.finish()
    }
}

/// A point of the log that a progress slot of the hard state names, and that an entry must confirm.
struct ExpectedPoint {
    slot: usize,
    what: &'static str,
    point: LogPoint,
    met: bool,
}

struct Verification<'a, E> {
    ledger: &'a StoppedLedger,
    prediction: StartPrediction,
    summary: VerifySummary,
    places: Vec<ExpectedPoint>,
    begins: u64,
    total: u64,
    told: u64,
    visit: &'a mut dyn FnMut(VerifyEvent) -> Result<(), E>,
}

impl<E: From<OfflineError>> Verification<'_, E> {
    fn see(&mut self, seen: Surveyed<'_>) -> Result<(), E> {
        match seen {
            Surveyed::Segment { position, .. } => {
                self.summary.segments += 1;
                self.tell(position)
            }
            Surveyed::Entry { header, bytes, fits } => {
                if fits {
                    self.entry(&header, bytes)?;
                }
                self.tell(header.end())
            }
            Surveyed::Blank { .. } => Ok(()),
            Surveyed::Problem(problem) => self.report(self.prediction.finding(problem)),
            Surveyed::Ends(ends) => match self.ledger.index_file(&ends)? {
                Some(finding) => self.report(finding),
                None => Ok(()),
            },
        }
    }

    fn entry(&mut self, header: &EntryHeader, bytes: &[u8]) -> Result<(), E> {
        let end = header.index + u64::from(header.records);
        self.summary.entries += 1;
        self.summary.records += u64::from(header.records);
        self.summary.end = self.summary.end.max(end);
        self.summary.committed = self.summary.committed.max(header.committed);
        if header.kind == EntryKind::Batch {
            let body = bytes.get(ENTRY_HEADER..ENTRY_HEADER + header.body as usize).unwrap_or_default();
            if let Err(error) = Batch::parse(body, header.records as usize) {
                let segment = header.position / self.ledger.segment_size * self.ledger.segment_size;
                let finding = Finding::new(Severity::Damage, self.ledger.segment_path(segment), "batch");
                let finding = finding.at(header.position).sides(error, "records that fill the batch");
                self.report(Finding { index: Some(header.index), ..finding })?;
            }
        }
        let mut wrong = Vec::new();
        for place in self.places.iter_mut().filter(|place| place.point.number == header.number + 1) {
            place.met = true;
            if (place.point.chain, place.point.index) != (header.chain, end) {
                wrong.push((place.slot, place.what, place.point));
            }
        }
        for (slot, what, point) in wrong {
            let finding = self.note(slot, what);
            let found = format!("chain value {:#010x} behind index {}", header.chain, end);
            let expected = format!("chain value {:#010x} behind index {}", point.chain, point.index);
            self.report(finding.sides(found, expected).decided("other history", AtStart::Refuse))?;
        }
        Ok(())
    }

    fn note(&self, slot: usize, what: &str) -> Finding {
        let path = self.ledger.path.join(crate::log::names::HARD_STATE);
        let at = slot as u64 * crate::format::hard_state::SLOT_DISTANCE;
        Finding::new(Severity::Damage, path, format!("{what} point of progress slot {slot}")).at(at)
    }

    /// Reports what a start would report and no finding has covered, and the noted points that no entry confirms.
    fn finish(mut self) -> Result<VerifySummary, E> {
        if let Some(finding) = self.prediction.unsaid() {
            self.report(finding)?;
        }
        // Damage may hide the entry, and was reported already.
        let sound = self.summary.damages == 0;
        for place in std::mem::take(&mut self.places).into_iter().filter(|place| sound && !place.met) {
            let finding = self.note(place.slot, place.what);
            let found = format!("no entry {}", place.point.number - 1);
            let finding = finding.sides(found, format!("the entry before number {}", place.point.number));
            self.report(finding.start_does(self.summary.at_start))?;
        }
        (self.visit)(VerifyEvent::Progress { done: self.total, total: self.total })?;
        Ok(VerifySummary { bytes: self.total, ..self.summary })
    }

    fn report(&mut self, finding: Finding) -> Result<(), E> {
        self.prediction.heard(&finding);
        match finding.severity {
            Severity::Damage => self.summary.damages += 1,
            Severity::Note => self.summary.notes += 1,
        }
        (self.visit)(VerifyEvent::Finding(finding))
    }

    /// Reports progress, if the verification has come far enough since the last report. `position`: where it is now.
    fn tell(&mut self, position: u64) -> Result<(), E> {
        let done = position.saturating_sub(self.begins).min(self.total);
        if done < self.told + TELL {
            return Ok(());
        }
        self.told = done;
        (self.visit)(VerifyEvent::Progress { done, total: self.total })
    }
}
