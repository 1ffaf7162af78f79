//! One history and its judgement, reduced to what is shown.

use std::collections::HashSet;

use dledger_history::{Event, Report, Verdict, Violation, What};

use super::calls::{Span, calls};
use super::faults::{Fault, faults};
use super::lanes::lanes;
use super::load::load;
use super::nodes::nodes;
use super::summary::Summary;
use super::timeline::{Mark, Timeline};

/// Calls drawn one by one, besides those of violations.
const BUDGET_PASSED: usize = 5_000;
const BUDGET_OTHERS: usize = 12_000;
/// Violations explained, and calls of each.
const VIOLATIONS: usize = 12;
const MARKS: usize = 8;
/// Nanoseconds: a clock that tells less at the first event began with the history.
const CLOCK_OF_ITS_OWN: u64 = 10_000_000_000;
/// Notes and reasons shown.
const TEXTS: usize = 20;

/// One history and its judgement, reduced to what is shown.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(super) name: String,
    pub(super) seed: Option<u64>,
    pub(super) replay: Option<String>,
    pub(super) verdict: Verdict,
    pub(super) summary: Summary,
    /// All violations of all laws, and all reasons why it is invalid.
    pub(super) violations: u64,
    pub(super) shown: Option<Shown>,
}

/// What its section shows.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// The first moment: all others are told from there.
    pub from: u64,
    pub violations: Vec<Violation>,
    pub calls: Vec<MarkedCall>,
    pub invalid: Vec<String>,
    /// Reasons, all of them.
    pub invalid_all: u64,
    pub notes: Vec<(u64, String)>,
    pub faults: Vec<Fault>,
    pub timeline: Timeline,
}

/// A call of a violation, in words.
#[derive(Debug, Clone)]
pub(super) struct MarkedCall {
    /// Position of the violation.
    pub violation: usize,
    /// `A`, or `2A` where there are several violations.
    pub label: String,
    pub op: u64,
    pub client: u64,
    pub asked: String,
    pub outcome: super::calls::Outcome,
    pub answered: String,
    pub start: u64,
    pub end: u64,
}

impl Scenario {
    /// What `events` say and what the judge found in them. Name, seed and command come from the first line.
    pub fn new(events: &[Event], report: &Report) -> Self {
        let begin = events.iter().find_map(|event| match &event.what {
            What::Begin(begin) => Some(begin),
            _ => None,
        });
        let name = begin.map(|begin| begin.run.trim()).filter(|name| !name.is_empty());
        // Not the first and the last: a foreign history may be out of order.
        let first = events.iter().map(|event| event.at).min().unwrap_or(0);
        // A clock that begins with the history is shown as it is: the judge's sentences name its moments.
        let from = if first < CLOCK_OF_ITS_OWN { 0 } else { first };
        let to = events.iter().map(|event| event.at).max().unwrap_or(0);
        let spans = calls(events);
        let faults = faults(events);
        let nodes = nodes(events, &faults);
        let load = load(&spans, from, to);
        let violations: Vec<Violation> = report.violations.iter().take(VIOLATIONS).cloned().collect();
        let marked = marked(&violations, &spans);
        let ops: HashSet<u64> = marked.iter().map(|call| call.op).collect();
        let budget = if report.verdict == Verdict::Pass { BUDGET_PASSED } else { BUDGET_OTHERS };
        let lanes = lanes(&spans, &ops, from, to, budget);
        let marks: Vec<Mark> = marked.iter().map(|call| Mark { label: call.label.clone(), op: call.op }).collect();
        let summary = Summary::of(to - first, &spans, &faults, &nodes, &load);
        let timeline = Timeline::of(from, to, &spans, &lanes, &faults, &nodes, &load, &violations, &marks);
        let notes = events.iter().filter_map(|event| match &event.what {
            What::Note { text } => Some((event.at, text.clone())),
            _ => None,
        });
        let shown = Shown {
            from,
            invalid: report.invalid.iter().take(TEXTS).cloned().collect(),
            invalid_all: report.counts.invalid.max(report.invalid.len() as u64),
            notes: notes.take(TEXTS).collect(),
            violations,
            calls: marked,
            faults,
            timeline,
        };
        let counted = report.counts.violations.values().sum::<u64>();
        Self {
            name: name.unwrap_or("unnamed history").to_owned(),
            seed: begin.and_then(|begin| begin.seed),
            replay: begin.and_then(|begin| begin.replay.clone()),
            verdict: report.verdict,
            summary,
            violations: counted.max(report.violations.len() as u64),
            shown: Some(shown),
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same with the command that runs it again.
    #[must_use]
    pub fn with_replay(mut self, replay: impl Into<String>) -> Self {
        self.replay = Some(replay.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the judge said.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

fn marked(violations: &[Violation], spans: &[Span<'_>]) -> Vec<MarkedCall> {
    let mut all = Vec::new();
    for (at, violation) in violations.iter().enumerate() {
        let of = |op: &u64| spans.iter().find(|span| span.op == *op);
        for (span, letter) in violation.ops.iter().take(MARKS).filter_map(of).zip('A'..) {
            let number = if violations.len() > 1 { (at + 1).to_string() } else { String::new() };
            all.push(MarkedCall {
                violation: at,
                label: format!("{number}{letter}"),
                op: span.op,
                client: span.client,
                asked: span.asked(),
                outcome: span.outcome,
                answered: span.answered(),
                start: span.start,
                end: span.end,
            });
        }
    }
    all
}
