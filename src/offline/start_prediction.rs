//! What a start of the node would do about the findings.

use std::collections::HashSet;
use std::path::PathBuf;

use super::survey::Problem;
use super::{AtStart, Finding, OfflineError, Severity, StoppedLedger, UnusableFile};
use crate::error::{Mismatch, OpenError};
use crate::log::offline_access::{self, StartVerdict};
use crate::log::recovery::{Decision, EndCase};

/// Knows what a start would do, and remembers which findings have reported that.
pub(super) struct StartPrediction {
    verdict: Result<StartVerdict, StartRefusal>,
    /// Rows of the recovery table that a finding has named.
    rows: HashSet<&'static str>,
    /// Files with a finding for which a start would refuse.
    refused: HashSet<PathBuf>,
}

/// Why a start would refuse before it reads the segments.
struct StartRefusal {
    file: PathBuf,
    finding: Option<Finding>,
    why: String,
}

impl StartPrediction {
    pub(super) fn new(ledger: &StoppedLedger) -> Result<Self, OfflineError> {
        let verdict = match (&ledger.directory, &ledger.start) {
            (Err(unusable), _) | (_, Err(unusable)) => Err(StartRefusal::of(unusable)),
            (Ok(directory), Ok(_)) => {
                offline_access::start_verdict(&ledger.disk, directory).map_err(StartRefusal::from)
            }
        };
        Ok(Self { verdict, rows: HashSet::new(), refused: HashSet::new() })
    }

    /// What a start would do with the whole log; and why, if the start would not simply go on.
    pub(super) fn at_start(&self) -> (AtStart, Option<String>) {
        match &self.verdict {
            Err(refusal) => (AtStart::Refuse, Some(refusal.why.clone())),
            Ok(verdict) => {
                let why = (verdict.decision != Decision::Keep).then(|| {
                    let (row, known) = (verdict.case.name(), format!("{:?}", verdict.known).to_lowercase());
                    format!("{row} at position {}, known: {known}", verdict.end.position)
                });
                (verdict.decision.into(), why)
            }
        }
    }

    /// Remembers that this finding was reported.
    pub(super) fn heard(&mut self, finding: &Finding) {
        self.rows.extend(finding.row);
        if finding.at_start == AtStart::Refuse {
            self.refused.insert(finding.file.clone());
        }
    }

    pub(super) fn finding(&self, problem: Problem) -> Finding {
        let Problem { case, file, position, next, mismatch, goes_on } = problem;
        let at_start = match (&self.verdict, case) {
            (_, None) => AtStart::Keep,
            (Err(_), _) => AtStart::Refuse,
            (Ok(verdict), _) if position >= verdict.end.position => verdict.decision.into(),
            // The problem lies below the noted durable point, where a start does not check the bytes.
            (Ok(_), _) => AtStart::Keep,
        };
        let severity = match at_start {
            AtStart::Cut | AtStart::Restart | AtStart::Remove => Severity::Note,
            _ => Severity::Damage,
        };
        let finding = Finding::of(severity, file, mismatch).at(position).start_does(at_start);
        Finding { index: Some(next.index), row: case.map(EndCase::name), goes_on, ..finding }
    }

    /// The problem that a start would report, if no finding has reported it yet.
    pub(super) fn unsaid(&self) -> Option<Finding> {
        match &self.verdict {
            Err(refusal) if self.refused.contains(&refusal.file) => None,
            Err(refusal) => refusal.finding.clone(),
            Ok(StartVerdict { decision: Decision::Keep, .. }) => None,
            Ok(verdict) if self.rows.contains(verdict.case.name()) => None,
            Ok(verdict) => {
                let d = &verdict.damage;
                let severity = if verdict.decision == Decision::Refuse { Severity::Damage } else { Severity::Note };
                let finding = Finding::of(severity, d.file.clone(), d.mismatch.clone()).at(d.position);
                let finding = finding.decided(verdict.case.name(), verdict.decision);
                Some(Finding { index: Some(d.index), ..finding })
            }
        }
    }
}

impl StartRefusal {
    /// Has no finding, because `side_files` reports the files beside the segments.
    fn of(unusable: &UnusableFile) -> Self {
        let UnusableFile { file, mismatch: Mismatch { what, found, .. } } = unusable;
        Self { file: file.clone(), finding: None, why: format!("{what}: {found}") }
    }
}

impl From<OpenError> for StartRefusal {
    fn from(error: OpenError) -> Self {
        let why = error.to_string();
        let damage = |file, mismatch| Finding::of(Severity::Damage, file, mismatch).start_does(AtStart::Refuse);
        let finding = match error {
            OpenError::Damaged(d) => Finding { index: Some(d.index), ..damage(d.file, d.mismatch).at(d.position) },
            OpenError::Version { file, found, supported } => {
                damage(file, Mismatch::new("format version", found, supported))
            }
            OpenError::Io { op, path, source } => damage(path, Mismatch::new(op, source, "no error")),
            other => damage(PathBuf::new(), Mismatch::new(other.to_string(), "", "")),
        };
        Self { file: finding.file.clone(), finding: Some(finding), why }
    }
}
