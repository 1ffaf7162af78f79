//! Reads the files beside the segments, and reports what is wrong with them.

use std::io;

use super::survey::SurveyedSegment;
use super::{AtStart, Finding, OfflineError, Severity, StoppedLedger, UnusableFile};
use crate::disk::is_bad_sector;
use crate::format::hard_state::{HARD_STATE_SIZE, HardVote, Noted, SLOT, SLOT_DISTANCE, Slot};
use crate::format::index;
use crate::log::names::{self, FileKind};
use crate::log::offline_access;
use crate::log::recovery::{HardStateCase, IndexCase, decide_index, decide_state};
use crate::segment::recovery::by_index;

/// The four slots of the hard state.
pub(super) struct HardState {
    pub(super) votes: [Slot<HardVote>; 2],
    pub(super) notes: [Slot<Noted>; 2],
}

impl HardState {
    /// The newest readable progress slot: its number in the file, and its note.
    pub(super) fn newest(&self) -> Option<(usize, Noted)> {
        let valid = |(nth, slot): (usize, &Slot<Noted>)| match slot {
            Slot::Valid(sequence, noted) => Some((*sequence, nth, *noted)),
            _ => None,
        };
        let newest = self.notes.iter().enumerate().filter_map(valid).max_by_key(|(sequence, ..)| *sequence);
        newest.map(|(_, nth, noted)| (nth + 2, noted))
    }
}

impl StoppedLedger {
    /// Findings in all files beside the segments, except the index files; and the hard state, if its file has the right
    /// size.
    pub(super) fn side_files(&self) -> Result<(Vec<Finding>, Option<HardState>), OfflineError> {
        let mut findings = Vec::new();
        for (unusable, row) in [(self.directory.as_ref().err(), "identity"), (self.start.as_ref().err(), "start")] {
            // Without an identity the start file was not read.
            if let Some(UnusableFile { file, mismatch }) = unusable.filter(|u| u.file.ends_with(row)) {
                let finding = Finding::of(Severity::Damage, file.clone(), mismatch.clone());
                findings.push(finding.decided(row, AtStart::Refuse));
            }
        }
        let hard_state = self.hard_state(&mut findings)?;
        self.strangers(&mut findings);
        Ok((findings, hard_state))
    }

    /// Whether the directory is new, so that no vote can have been lost.
    fn is_fresh(&self) -> bool {
        self.positions().is_empty() && self.start.as_ref().is_ok_and(|start| start.purged.is_none())
    }

    fn hard_state(&self, findings: &mut Vec<Finding>) -> Result<Option<HardState>, OfflineError> {
        let path = self.path.join(names::HARD_STATE);
        let new = |severity, what: String| Finding::new(severity, path.clone(), what);
        let whole = |found: String| {
            let decision = decide_state(HardStateCase::Absent, self.is_fresh());
            let severity = if self.is_fresh() { Severity::Note } else { Severity::Damage };
            new(severity, "file".into()).sides(found, format!("{HARD_STATE_SIZE} bytes")).decided("absent", decision)
        };
        let file = match self.disk.open(&path) {
            Ok(file) if file.size() == HARD_STATE_SIZE => file,
            Ok(file) => {
                findings.push(whole(format!("{} bytes", file.size())));
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                findings.push(whole("no file".into()));
                return Ok(None);
            }
            Err(error) if is_bad_sector(&error) => {
                findings.push(new(Severity::Damage, "read of the disk".into()).sides(error, "votes and notes"));
                return Ok(None);
            }
            Err(error) => return StoppedLedger::io("open", &path, Err(error)),
        };
        let (votes, notes) = StoppedLedger::io("read", &path, offline_access::slots(file.as_ref()))?;
        let state = HardState { votes, notes };
        let at = |nth: usize| nth as u64 * SLOT_DISTANCE;
        for (nth, vote) in state.votes.iter().enumerate() {
            if let Some((found, case, row)) = wrong(vote, false, (HardStateCase::VoteLost, "vote lost")) {
                let finding = new(Severity::Damage, format!("vote slot {nth}")).at(at(nth));
                findings.push(finding.sides(found, "a vote").decided(row, decide_state(case, false)));
            }
        }
        if let [Slot::Valid(even, _), Slot::Valid(odd, _)] = &state.votes
            && even.abs_diff(*odd) != 1
        {
            let finding = new(Severity::Damage, "vote slots".into()).at(0);
            let finding = finding.sides(format!("numbers {even} and {odd}"), "consecutive numbers");
            findings.push(finding.decided("vote lost", decide_state(HardStateCase::VoteLost, false)));
        }
        let lost = match state.newest() {
            Some(_) => (HardStateCase::NoteHalfLost, "note half lost"),
            None => (HardStateCase::NoteLost, "note lost"),
        };
        for (nth, note) in state.notes.iter().enumerate() {
            if let Some((found, case, row)) = wrong(note, true, lost) {
                let finding = new(Severity::Damage, format!("progress slot {}", nth + 2)).at(at(nth + 2));
                findings.push(finding.sides(found, "a commit point").decided(row, decide_state(case, false)));
            }
        }
        for nth in 0..4 {
            let from = at(nth) + SLOT as u64;
            let mut gap = [0; SLOT_DISTANCE as usize - SLOT];
            let (byte, found) = match file.read_at(&mut gap, from) {
                Err(error) if is_bad_sector(&error) => (Some(0), error.to_string()),
                read => {
                    StoppedLedger::io("read", &path, read)?;
                    (gap.iter().position(|byte| *byte != 0), "a byte that is not zero".into())
                }
            };
            if let Some(byte) = byte {
                let finding = new(Severity::Note, "between the slots".into()).at(from + byte as u64);
                findings.push(finding.sides(found, "zeros"));
            }
        }
        Ok(Some(state))
    }

    /// Reports the files that a log in order would not have.
    fn strangers(&self, findings: &mut Vec<Finding>) {
        let begins = self.base().map_or(0, |base| base.position / self.segment_size * self.segment_size);
        let segments = self.positions();
        for name in &self.names {
            let (what, at_start) = match names::kind(name) {
                Some(FileKind::Temporary) => ("left by an interrupted replacement", AtStart::Remove),
                Some(FileKind::Segment(at) | FileKind::Index(at)) if !at.is_multiple_of(self.segment_size) => {
                    ("no segment can begin at its position", AtStart::Keep)
                }
                Some(FileKind::Segment(at) | FileKind::Index(at)) if at < begins => {
                    ("before the start of the log", AtStart::Remove)
                }
                Some(FileKind::Index(at)) if !segments.contains(&at) => ("an index without its segment", AtStart::Keep),
                None => ("not part of the ledger", AtStart::Keep),
                // `put_back` has given the renamed files their names back.
                Some(FileKind::Segment(_) | FileKind::Index(_) | FileKind::Renaming | FileKind::Fixed) => continue,
            };
            findings.push(Finding::new(Severity::Note, self.path.join(name), what).start_does(at_start));
        }
    }

    /// Compares the index file of a segment with the entries that the survey found in the segment.
    pub(super) fn index_file(&self, ends: &SurveyedSegment<'_>) -> Result<Option<Finding>, OfflineError> {
        let path = self.index_path(ends.position);
        let new = |severity| Finding::new(severity, path.clone(), "index of a segment");
        let unusable = |found: &str| {
            let finding = new(Severity::Note).sides(found, "where its entries are");
            Some(finding.decided("index", decide_index(IndexCase::Unusable)))
        };
        let bytes = match self.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let sealed = ends.sealed && ends.intact;
                let finding = new(Severity::Note).sides("no file", "where its entries are");
                return Ok(sealed.then(|| finding.decided("index", decide_index(IndexCase::Absent))));
            }
            Err(error) if is_bad_sector(&error) => return Ok(unusable(&error.to_string())),
            Err(error) => return StoppedLedger::io("read", &path, Err(error)),
        };
        let Some(found) = index::decode(&bytes, ends.position) else {
            return Ok(unusable("a damaged file, or one of another segment"));
        };
        let Some((file, header)) = ends.file else { return Ok(None) };
        if ends.sealed && found == (ends.end.chain, ends.units.clone()) {
            return Ok(None);
        }
        let would_be_used = StoppedLedger::io("read", &path, by_index(file, &header, &bytes))?.is_some();
        if would_be_used {
            let finding = new(Severity::Damage).sides("other entries than the segment has", "those of the segment");
            return Ok(Some(finding.decided("index", decide_index(IndexCase::Fits))));
        }
        Ok(unusable("other entries than the segment has"))
    }
}

/// What is wrong with a slot, and its case and row in the recovery table; `None` if nothing is wrong.
fn wrong<T>(
    slot: &Slot<T>,
    may_be_empty: bool,
    lost: (HardStateCase, &'static str),
) -> Option<(String, HardStateCase, &'static str)> {
    let (case, row) = lost;
    match slot {
        Slot::Valid(..) => None,
        Slot::Empty if may_be_empty => None,
        Slot::Empty => Some(("an empty slot".into(), case, row)),
        Slot::Damaged { found, computed } => {
            Some((format!("checksum {found:#010x}, computed {computed:#010x}"), case, row))
        }
        Slot::Unreadable => Some(("what the disk cannot read".into(), case, row)),
        Slot::Version { found } => {
            Some((format!("format version {found}"), HardStateCase::Later, "a slot of a later format"))
        }
    }
}
