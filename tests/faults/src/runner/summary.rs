//! What came of a run, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::means::Means;
use super::{Profile, Simulated};
use crate::scenario::{Outcome, Verdict};
use crate::workload::Figures;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What belonged to it.
    pub profile: Profile,
    /// What determined chance.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Each scenario that ran.
    pub outcomes: Vec<Outcome>,
    /// The simulated clusters.
    pub simulated: Simulated,
}

impl Summary {
    pub(super) fn new(profile: Profile, seed: u64) -> Self {
        Self { profile, seed, seconds: 0.0, outcomes: Vec::new(), simulated: Simulated::default() }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    pub(super) fn write(&self, out: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        // Somebody may read it while it is written.
        let new = out.join("summary.json.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, out.join("summary.json"))
    }

    /// How many ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
    }

    /// 1 if a law was broken, 2 if something proves nothing, else 0.
    pub fn exit_code(&self) -> u8 {
        if self.count(Verdict::Fail) > 0 || !self.simulated.failures.is_empty() {
            1
        } else if self.count(Verdict::Invalid) > 0 || !self.simulated.invalid.is_empty() {
            2
        } else {
            0
        }
    }
}

/// All runs of one scenario.
#[derive(Default)]
struct Row {
    verdicts: BTreeMap<&'static str, u64>,
    figures: Figures,
    faults: u64,
    gap: u64,
    agree: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for outcome in &self.outcomes {
            rows.entry(&outcome.scenario).or_default().add(outcome);
            rows.entry("~ all").or_default().add(outcome);
        }
        writeln!(
            f,
            "{:<22} {:>5} {:>4} {:>7} {:>7} {:>9} {:>9} {:>8} {:>9} {:>6} {:>8} {:>8}",
            "SCENARIO",
            "PASS",
            "FAIL",
            "INVALID",
            "NOT RUN",
            "OPS",
            "ACKED",
            "UNKNOWN",
            "READS",
            "FAULTS",
            "GAP",
            "AGREE"
        )?;
        for (name, row) in rows {
            let count = |verdict| row.verdicts.get(verdict).copied().unwrap_or(0);
            let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
            let Figures { ops, acked, unknown, reads, .. } = row.figures;
            writeln!(
                f,
                "{:<22} {:>5} {:>4} {:>7} {:>7} {ops:>9} {acked:>9} {unknown:>8} {reads:>9} {:>6} {:>8} {:>8}",
                name.trim_start_matches("~ "),
                count("pass"),
                count("FAIL"),
                count("INVALID"),
                count("not run"),
                row.faults,
                seconds(row.gap),
                seconds(row.agree)
            )?;
        }
        if !self.outcomes.is_empty() {
            writeln!(f, "{}", Means(&self.outcomes))?;
        }
        let Simulated { failures, invalid, .. } = &self.simulated;
        let (failed, invalid) = (failures.len(), invalid.len());
        write!(f, "{} simulated seeds, {failed} failed, {invalid} invalid", self.simulated.total())?;
        write!(f, "; {:.0} s; seed {}", self.seconds, self.seed)
    }
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        let verdict = match outcome.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Invalid => "INVALID",
            Verdict::NotRun => "not run",
        };
        *self.verdicts.entry(verdict).or_default() += 1;
        self.figures.ops += outcome.figures.ops;
        self.figures.acked += outcome.figures.acked;
        self.figures.unknown += outcome.figures.unknown;
        self.figures.reads += outcome.figures.reads;
        self.faults += outcome.faults.values().sum::<u64>();
        self.gap = self.gap.max(outcome.longest_gap_ms);
        self.agree = self.agree.max(outcome.agree_ms.unwrap_or(0));
    }
}
