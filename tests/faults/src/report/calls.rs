//! The calls of a history: each with its beginning, its end, and what came of it.

use std::collections::HashMap;

use dledger_history::{Answer, Call, Event, What};

use super::people;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Ok,
    Fail,
    Unknown,
}

/// What sort of call: how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Append,
    Read,
    Tail,
    Admin,
}

/// A call from its beginning to its end.
#[derive(Debug, Clone)]
pub(super) struct Span<'a> {
    pub op: u64,
    pub client: u64,
    pub call: &'a Call,
    pub start: u64,
    /// The end of the history, where the history has none.
    pub end: u64,
    /// Nobody wrote down how it ended.
    pub open: bool,
    pub outcome: Outcome,
    pub answer: Option<&'a Answer>,
    pub error: Option<&'a str>,
    /// Records a tail delivered.
    pub seen: u64,
}

impl Span<'_> {
    pub fn sort(&self) -> Sort {
        match self.call {
            Call::Append { .. } => Sort::Append,
            Call::Get { .. } | Call::Read { .. } => Sort::Read,
            Call::Tail { .. } => Sort::Tail,
            Call::Members { .. } | Call::Transfer { .. } | Call::RemoveBelow { .. } => Sort::Admin,
        }
    }

    pub fn is_append(&self) -> bool {
        self.sort() == Sort::Append
    }

    pub fn is_acked(&self) -> bool {
        self.is_append() && self.outcome == Outcome::Ok
    }

    /// Records an append was told are in the log.
    pub fn acked_records(&self) -> u64 {
        match self.answer {
            Some(Answer::Acked { acks }) => acks.len() as u64,
            _ => 0,
        }
    }

    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// `append 2 records`.
    pub fn asked(&self) -> String {
        let on = |node: &Option<String>| node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
        match self.call {
            Call::Append { records, session } => {
                let session = session.map_or(String::new(), |session| format!(" in session {session}"));
                format!("append {}{session}", people::many(records.len() as u64, "record"))
            }
            Call::Get { index, consistency, node } => format!("get {index}, {consistency}{}", on(node)),
            Call::Read { from, count, consistency, node } => {
                format!("read {count} from {from}, {consistency}{}", on(node))
            }
            Call::Tail { from, node } => format!("tail from {from}{}", on(node)),
            Call::Members { change } => format!("members: {change}"),
            Call::Transfer { to } => format!("transfer to {to}"),
            Call::RemoveBelow { index, node } => format!("remove below {index} on {node}"),
        }
    }

    /// `index 4711, term 3`.
    pub fn answered(&self) -> String {
        if self.open {
            return match self.seen {
                0 => "no end in the history".to_owned(),
                seen => format!("{} seen, no end in the history", people::many(seen, "record")),
            };
        }
        if let Some(error) = self.error {
            return people::shortened(error, 160);
        }
        match self.answer {
            Some(Answer::Acked { acks }) => match (acks.first(), acks.last()) {
                (Some(one), Some(last)) if one.index == last.index => format!("index {}, term {}", one.index, one.term),
                (Some(one), Some(last)) => format!("indexes {} to {}, term {}", one.index, last.index, last.term),
                _ => "nothing".to_owned(),
            },
            Some(Answer::Found { records }) => match (records.first(), records.last()) {
                (Some(one), Some(last)) if one.index == last.index => {
                    format!("found index {}, {}…", one.index, &one.hash.to_string()[..8])
                }
                (Some(one), Some(last)) => format!("found indexes {} to {}", one.index, last.index),
                _ if self.seen > 0 => format!("{} seen", people::many(self.seen, "record")),
                _ => "found nothing".to_owned(),
            },
            Some(Answer::Absent { index }) => format!("nothing at {index} yet"),
            Some(Answer::Removed { first }) => format!("removed below {first}"),
            Some(Answer::Done) => "done".to_owned(),
            None => String::new(),
        }
    }
}

/// All calls, in the order they began.
pub(super) fn calls(events: &[Event]) -> Vec<Span<'_>> {
    let last = events.iter().map(|event| event.at).max().unwrap_or(0);
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut by_op: HashMap<u64, usize> = HashMap::new();
    for event in events {
        match &event.what {
            What::Invoke { client, op, call } => {
                by_op.insert(*op, spans.len());
                spans.push(Span {
                    op: *op,
                    client: *client,
                    call,
                    start: event.at,
                    end: last.max(event.at),
                    open: true,
                    outcome: Outcome::Unknown,
                    answer: None,
                    error: None,
                    seen: 0,
                });
            }
            What::Ok { op, answer } => {
                end(&mut spans, &by_op, *op, event.at, Outcome::Ok, |span| span.answer = Some(answer));
            }
            What::Fail { op, error } => {
                end(&mut spans, &by_op, *op, event.at, Outcome::Fail, |span| span.error = Some(error));
            }
            What::Unknown { op, error } => {
                end(&mut spans, &by_op, *op, event.at, Outcome::Unknown, |span| span.error = Some(error));
            }
            What::Seen { op, records } => {
                if let Some(span) = by_op.get(op).and_then(|&at| spans.get_mut(at)) {
                    span.seen += records.len() as u64;
                }
            }
            _ => {}
        }
    }
    spans
}

fn end<'a>(
    spans: &mut [Span<'a>],
    by_op: &HashMap<u64, usize>,
    op: u64,
    at: u64,
    outcome: Outcome,
    with: impl FnOnce(&mut Span<'a>),
) {
    if let Some(span) = by_op.get(&op).and_then(|&at| spans.get_mut(at)) {
        span.end = at.max(span.start);
        span.open = false;
        span.outcome = outcome;
        with(span);
    }
}
