//! What came of a scenario.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dledger_history::Report;
use serde::Serialize;

use crate::workload::Figures;

/// What a run is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All laws held, and all faults were there.
    Pass,
    /// A law was broken.
    Fail,
    /// It proves nothing: a fault was not seen to do anything, or the test failed.
    Invalid,
    /// This machine cannot do it, or somebody stopped it.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::NotRun => "not run",
        })
    }
}

/// What came of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// What determined chance.
    pub seed: u64,
    /// What it is worth.
    pub verdict: Verdict,
    /// Why, unless it passed.
    pub reasons: Vec<String>,
    /// What the clients did.
    pub figures: Figures,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Longest time without an ack once faults were there, milliseconds.
    pub longest_gap_ms: u64,
    /// From the end of all faults until all replicas held the same, milliseconds.
    pub agree_ms: Option<u64>,
    /// From the beginning to the verdict, seconds.
    pub seconds: f64,
    /// What the machine could do: with less, faults are others, or weaker.
    pub means: Vec<&'static str>,
    /// What it could not, and why.
    pub missing: BTreeMap<&'static str, String>,
    /// The command that runs it again.
    pub replay: String,
    /// What happened, if it was kept.
    pub history: Option<PathBuf>,
    /// What the judge said of the history, with what else was found.
    #[serde(skip)]
    pub report: Option<Report>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { ops, acked, unknown, .. } = self.figures;
        let faults: u64 = self.faults.values().sum();
        let gap = self.longest_gap_ms as f64 / 1000.0;
        write!(f, "{:<22} {:<7} {ops:>7} ops {acked:>7} acked {unknown:>5} unknown", self.scenario, self.verdict)?;
        write!(f, " {faults:>3} faults, longest gap {gap:.1} s")?;
        if let Some(agree) = self.agree_ms {
            write!(f, ", agreed in {:.1} s", agree as f64 / 1000.0)?;
        }
        write!(f, ", {:.1} s, seed {}", self.seconds, self.seed)
    }
}
