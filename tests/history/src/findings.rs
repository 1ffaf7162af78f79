//! The findings of the judge.

use std::collections::BTreeMap;

use crate::{Counts, Law, Report, Verdict, Violation};

/// The findings of the judge: all are counted, and the first [`Report::KEPT`] of each law are kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    broken: BTreeMap<Law, u64>,
    violations: Vec<Violation>,
    invalid: Vec<String>,
    invalids: u64,
}

impl Findings {
    /// A law was broken. `violation` is asked only while it is kept.
    pub(super) fn broken(&mut self, law: Law, violation: impl FnOnce(About) -> About) {
        let count = self.broken.entry(law).or_default();
        *count += 1;
        if *count <= Report::KEPT as u64 {
            let About { index, ops, nodes, at, explanation } = violation(About::default());
            self.violations.push(Violation { law, index, ops, nodes, at, explanation });
        }
    }

    /// The history does not prove what it claims.
    pub(super) fn invalid(&mut self, reason: impl FnOnce() -> String) {
        self.invalids += 1;
        if self.invalids <= Report::KEPT as u64 {
            self.invalid.push(reason());
        }
    }

    pub(super) fn report(self, mut counts: Counts) -> Report {
        let verdict = match (self.broken.is_empty(), self.invalids) {
            (false, _) => Verdict::Fail,
            (true, 0) => Verdict::Pass,
            (true, _) => Verdict::Invalid,
        };
        counts.violations = self.broken;
        counts.invalid = self.invalids;
        Report { verdict, counts, violations: self.violations, invalid: self.invalid }
    }
}

/// What a violation is about.
#[derive(Debug, Default)]
pub(super) struct About {
    index: Option<u64>,
    ops: Vec<u64>,
    nodes: Vec<String>,
    at: Option<u64>,
    explanation: String,
}

impl About {
    pub(super) fn index(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    pub(super) fn op(mut self, op: u64) -> Self {
        if !self.ops.contains(&op) {
            self.ops.push(op);
        }
        self
    }

    pub(super) fn node(mut self, node: &str) -> Self {
        if !self.nodes.iter().any(|known| known == node) {
            self.nodes.push(node.to_owned());
        }
        self
    }

    pub(super) fn at(mut self, at: u64) -> Self {
        self.at = Some(at);
        self
    }

    pub(super) fn says(mut self, explanation: String) -> Self {
        self.explanation = explanation;
        self
    }
}

/// A moment in words.
pub(super) fn moment(at: u64) -> String {
    let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
    format!("{seconds}.{nanos:09} s")
}
