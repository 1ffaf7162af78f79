//! What the judge found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Law;

/// What the judge found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The judgement in one word.
    pub verdict: Verdict,
    /// How much was looked at.
    pub counts: Counts,
    /// What broke a law. At most [`Report::KEPT`] of each law; [`Counts::violations`] counts all.
    pub violations: Vec<Violation>,
    /// Why the history proves less than it claims, or nothing. At most [`Report::KEPT`] reasons;
    /// [`Counts::invalid`] counts all.
    pub invalid: Vec<String>,
}

impl Report {
    /// Violations of each law, and reasons of invalidity, that a report lists; it counts the others.
    pub const KEPT: usize = 100;
}

/// What a history is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No law was broken, and what the history claims to have done was done.
    Pass,
    /// A law was broken.
    Fail,
    /// No law was seen broken, and the history does not prove what it claims: a fault that nobody observed, no replica
    /// in the end, lines that contradict one another.
    Invalid,
}

/// How much was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Lines.
    pub events: u64,
    /// From the first moment to the last, in nanoseconds.
    pub duration: u64,
    /// Calls of appends.
    pub appends: u64,
    /// Those acknowledged.
    pub appends_acked: u64,
    /// Those that had no effect.
    pub appends_failed: u64,
    /// Those of which nobody can say.
    pub appends_unknown: u64,
    /// Records acknowledged.
    pub records_acked: u64,
    /// Calls of get and read, with an answer that holds.
    pub reads: u64,
    /// Calls of get and read without one.
    pub reads_unanswered: u64,
    /// Those answered that promise to see what was acknowledged before: lease and linearizable.
    pub reads_promised: u64,
    /// Records that were read or tailed.
    pub records_read: u64,
    /// All other calls.
    pub other_calls: u64,
    /// Statuses of nodes.
    pub statuses: u64,
    /// Chain values compared.
    pub chains: u64,
    /// Faults installed, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Replicas that were read in the end.
    pub replicas: u64,
    /// Records of all replicas together, each compared with the others'.
    pub records_compared: u64,
    /// Records of the log in the end.
    pub records: u64,
    /// Violations of each law.
    pub violations: BTreeMap<Law, u64>,
    /// Reasons why the history is invalid.
    pub invalid: u64,
}

/// A law that was broken, where, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which law.
    pub law: Law,
    /// The record it is about.
    pub index: Option<u64>,
    /// The calls that contradict each other or the log.
    pub ops: Vec<u64>,
    /// The nodes that do.
    pub nodes: Vec<String>,
    /// When it showed, if at a moment.
    pub at: Option<u64>,
    /// In a sentence or two.
    pub explanation: String,
}
