//! [`Finding`]: what a verification finds.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::Mismatch;
use crate::log::recovery::{Decision, FileDecision};

/// A place in a file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad the finding is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// In a segment: the position in the ledger. In another file: the offset, if the finding has one.
    pub position: Option<u64>,
    /// In a segment: the index of the first record that cannot be read, as far as it is known.
    pub index: Option<u64>,
    /// What does not fit; where it helps, also what the file holds and what it should hold.
    #[serde(flatten)]
    pub mismatch: Mismatch,
    /// The row of the recovery table (docs/recovery.md) that decides about the finding, if there is one.
    pub row: Option<&'static str>,
    /// What a start of the node would do about the finding.
    pub at_start: AtStart,
    /// In a segment: the position at which good entries follow.
    pub goes_on: Option<u64>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is lost: a start makes the file anew or removes the bytes, or nothing ever reads them.
    Note,
    /// Bytes of the ledger are not as they were written.
    Damage,
}

/// What a start of the node does about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AtStart {
    /// Goes on with the bytes as they are; the first read of a damaged entry fails.
    Keep,
    /// Removes the bytes, and ends the log before them.
    Cut,
    /// Begins the log anew at its recorded start.
    Restart,
    /// Makes the file anew.
    Remake,
    /// Removes the file.
    Remove,
    /// Refuses the directory, and leaves everything as it is.
    Refuse,
}

impl AtStart {
    /// The action in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Cut => "cut",
            Self::Restart => "restart",
            Self::Remake => "make anew",
            Self::Remove => "remove",
            Self::Refuse => "refuse",
        }
    }
}

impl From<Decision> for AtStart {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Keep => Self::Keep,
            Decision::Cut => Self::Cut,
            Decision::Restart => Self::Restart,
            Decision::Refuse => Self::Refuse,
        }
    }
}

impl From<FileDecision> for AtStart {
    fn from(decision: FileDecision) -> Self {
        match decision {
            FileDecision::Use | FileDecision::Report => Self::Keep,
            FileDecision::Make => Self::Remake,
            FileDecision::Refuse => Self::Refuse,
        }
    }
}

impl Finding {
    pub(super) fn new(severity: Severity, file: PathBuf, what: impl Into<Cow<'static, str>>) -> Self {
        Self::of(severity, file, Mismatch::new(what, "", ""))
    }

    pub(super) fn of(severity: Severity, file: PathBuf, mismatch: Mismatch) -> Self {
        let (position, index, row, goes_on) = (None, None, None, None);
        Self { severity, file, position, index, mismatch, row, at_start: AtStart::Keep, goes_on }
    }

    pub(super) fn at(self, position: u64) -> Self {
        Self { position: Some(position), ..self }
    }

    pub(super) fn sides(self, found: impl ToString, expected: impl ToString) -> Self {
        Self { mismatch: Mismatch::new(self.mismatch.what, found, expected), ..self }
    }

    pub(super) fn decided(self, row: &'static str, at_start: impl Into<AtStart>) -> Self {
        Self { row: Some(row), at_start: at_start.into(), ..self }
    }

    pub(super) fn start_does(self, at_start: AtStart) -> Self {
        Self { at_start, ..self }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Damage => "damage",
        })
    }
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{}: {name}", self.severity)?;
        if let Some(position) = self.position {
            write!(f, " at {position}")?;
        }
        if let Some(index) = self.index {
            write!(f, " (index {index})")?;
        }
        let Mismatch { what, found, expected } = &self.mismatch;
        write!(f, ": {what}")?;
        if !found.is_empty() {
            write!(f, ", found {found}")?;
        }
        if !expected.is_empty() {
            write!(f, ", expected {expected}")?;
        }
        write!(f, "; a start would {}", self.at_start.name())?;
        if let Some(row) = self.row {
            write!(f, " ({row})")?;
        }
        Ok(())
    }
}
