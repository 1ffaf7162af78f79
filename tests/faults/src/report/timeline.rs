//! The data of the timeline, for `timeline.js`: moments in microseconds from the first event on.

use std::collections::HashMap;

use dledger_history::Violation;
use serde_json::{Value, json};

use super::calls::{Outcome, Sort, Span};
use super::escape::plain;
use super::faults::{Fault, word};
use super::lanes::{Lane, Lanes};
use super::load::Load;
use super::nodes::NodeTrack;

/// The data, and what the labels beside it say.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    pub data: Value,
    pub lanes: Vec<LaneLabel>,
    pub nodes: Vec<String>,
    pub fault_rows: usize,
    /// Whether any node ever said anything.
    pub has_status: bool,
    pub has_appends: bool,
    pub windows: usize,
    /// Calls that are drawn one by one, and all of them.
    pub drawn: (u64, u64),
}

/// What stands beside a lane.
#[derive(Debug, Clone)]
pub(super) struct LaneLabel {
    pub name: String,
    pub total: [u64; 3],
    pub rows: usize,
    pub has_bins: bool,
}

/// A call to be pointed at.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub label: String,
    pub op: u64,
}

/// Texts of calls, each once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Texts {
    fn number(&mut self, text: String) -> usize {
        if let Some(&number) = self.known.get(&text) {
            return number;
        }
        self.all.push(plain(&text));
        self.known.insert(text, self.all.len() - 1);
        self.all.len() - 1
    }
}

impl Timeline {
    #[allow(clippy::too_many_arguments, reason = "all that there is to see of a history, and nothing else has it all")]
    pub fn of(
        from: u64,
        to: u64,
        spans: &[Span<'_>],
        lanes: &Lanes,
        faults: &[Fault],
        nodes: &[NodeTrack],
        load: &Load,
        violations: &[Violation],
        marks: &[Mark],
    ) -> Self {
        let at = |nanos: u64| since(from, nanos);
        let mut texts = Texts::default();
        let lane_data: Vec<Value> = lanes.lanes.iter().map(|each| lane(each, spans, from, &mut texts)).collect();
        let percentile = |which: fn((u64, u64)) -> u64| -> Vec<Option<u64>> {
            load.latency.iter().map(|one| one.map(|pair| which(pair) / 1000)).collect()
        };
        let violation = |(i, one): (usize, &Violation)| {
            json!({
                "number": i + 1, "law": one.law.slug(), "index": one.index, "at": one.at.map(at),
                "nodes": one.nodes.iter().map(|node| plain(node)).collect::<Vec<_>>(),
            })
        };
        let data = json!({
            "end": at(to).max(1),
            "laneBin": lanes.bin / 1000,
            "lanes": lane_data,
            "texts": texts.all,
            "faults": faults.iter().map(|each| fault(each, from)).collect::<Vec<_>>(),
            "nodes": nodes.iter().map(|each| node(each, from)).collect::<Vec<_>>(),
            "load": {
                "bin": load.bin / 1000, "acked": load.acked, "lost": load.lost,
                "p50": percentile(|(p50, _)| p50), "p99": percentile(|(_, p99)| p99),
            },
            "windows": load.windows.iter().map(|&(start, end)| json!([at(start), at(end)])).collect::<Vec<_>>(),
            "violations": violations.iter().enumerate().map(violation).collect::<Vec<_>>(),
            "marks": marks.iter().map(|mark| json!([mark.label, mark.op])).collect::<Vec<_>>(),
        });
        let label = |lane: &Lane| LaneLabel {
            name: lane.name.clone(),
            total: lane.total,
            rows: lane.rows.max(1),
            has_bins: !lane.bins.is_empty(),
        };
        Self {
            data,
            lanes: lanes.lanes.iter().map(label).collect(),
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            fault_rows: faults.iter().map(|fault| fault.row + 1).max().unwrap_or(0),
            has_status: nodes.iter().any(|node| node.last_word.is_some()),
            has_appends: spans.iter().any(Span::is_append),
            windows: load.windows.len(),
            drawn: (lanes.lanes.iter().map(|lane| lane.calls.len() as u64).sum(), spans.len() as u64),
        }
    }
}

/// Microseconds from the first event to `nanos`.
fn since(from: u64, nanos: u64) -> u64 {
    nanos.saturating_sub(from) / 1000
}

fn lane(lane: &Lane, spans: &[Span<'_>], from: u64, texts: &mut Texts) -> Value {
    let calls: Vec<Value> = lane.calls.iter().map(|&(i, row)| call(&spans[i], row, from, texts)).collect();
    let bins: Vec<Value> = lane.bins.iter().map(|(bin, [ok, fail, un])| json!([bin, ok, fail, un])).collect();
    json!({ "name": lane.name, "rows": lane.rows.max(1), "calls": calls, "bins": bins })
}

fn fault(fault: &Fault, from: u64) -> Value {
    let phases = fault.phases.iter();
    let phases: Vec<Value> =
        phases.map(|one| json!([since(from, one.at), word(one.phase), plain(&one.evidence)])).collect();
    json!({
        "number": fault.number, "kind": plain(&fault.kind), "nodes": plain(&fault.nodes.join(", ")),
        "from": since(from, fault.start), "to": since(from, fault.end), "row": fault.row,
        "proven": fault.is_proven(), "lacks": fault.lacks(), "phases": phases,
    })
}

fn node(node: &NodeTrack, from: u64) -> Value {
    let at = |nanos: u64| since(from, nanos);
    let roles: Vec<Value> = node.roles.iter().map(|(when, role, term)| json!([at(*when), plain(role), term])).collect();
    let committed: Vec<Value> = node.committed.iter().map(|(when, n)| json!([at(*when), n])).collect();
    json!({ "name": plain(&node.name), "roles": roles, "committed": committed, "last": node.last_word.map(at) })
}

/// `[start, length, sort, outcome, row, number, text of the question, text of the answer, no end]`.
fn call(span: &Span<'_>, row: usize, from: u64, texts: &mut Texts) -> Value {
    let sort = match span.sort() {
        Sort::Append => 0,
        Sort::Read => 1,
        Sort::Tail => 2,
        Sort::Admin => 3,
    };
    let outcome = match span.outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Unknown => 2,
    };
    let (asked, answered) = (texts.number(span.asked()), texts.number(span.answered()));
    let start = (span.start - from) / 1000;
    json!([start, span.length() / 1000, sort, outcome, row, span.op, asked, answered, u8::from(span.open)])
}
