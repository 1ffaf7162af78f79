//! Judges a history, event by event.

use std::collections::HashMap;

use crate::calls::{CallId, Calls, End, Made, fits};
use crate::faults::Faults;
use crate::findings::{Findings, moment};
use crate::log::{Bound, Content, Log};
use crate::nodes::Nodes;
use crate::retention::Retention;
use crate::{Acked, Answer, Begin, Call, Counts, Event, FORMAT, FaultEvent, Hash, Item, Law, Replica, Report, What};
use crate::{order, time};

/// The judgement of a whole history.
pub fn check(events: impl IntoIterator<Item = Event>) -> Report {
    let mut judge = Judge::new();
    events.into_iter().for_each(|event| judge.push(event));
    judge.finish()
}

/// Judges a history, event by event. It remembers each call and each record once, however often it was read.
#[derive(Debug, Default)]
pub struct Judge {
    findings: Findings,
    counts: Counts,
    calls: Calls,
    log: Log,
    nodes: Nodes,
    faults: Faults,
    retention: Retention,
    /// Of each tail under way, the index of its next record.
    tails: HashMap<CallId, u64>,
    /// The moments of the first line and the last.
    moments: Option<(u64, u64)>,
}

impl Judge {
    /// Of an empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next line.
    pub fn push(&mut self, event: Event) {
        let Event { at, what } = event;
        self.counts.events += 1;
        let begins = self.moments.is_none();
        let (first, last) = *self.moments.get_or_insert((at, at));
        if at < last {
            self.invalid(|| format!("a line of {} stands behind one of {}: sort them", moment(at), moment(last)));
        }
        self.moments = Some((first, at.max(last)));
        if begins && !matches!(what, What::Begin(_)) {
            self.invalid(|| "the first line is no `begin`".to_owned());
        }
        match what {
            What::Begin(begin) => self.begin(&begin, begins),
            What::Invoke { client, op, call } => self.invoke(at, client, op, call),
            What::Ok { op, answer } => self.ok(at, op, answer),
            What::Fail { op, .. } => self.end(at, op, End::Failed),
            What::Unknown { op, .. } => self.end(at, op, End::Unknown),
            What::Seen { op, records } => self.tailed(at, op, &records),
            What::Status(status) => {
                self.counts.statuses += 1;
                self.retention.node(at, status.first, &status.node);
                self.nodes.push(at, &status, &mut self.findings);
            }
            What::Fault(fault) => self.fault(fault),
            What::Replica(replica) => self.replica(at, &replica),
            What::Note { .. } => {}
        }
    }

    /// The judgement.
    pub fn finish(mut self) -> Report {
        let (log, calls, findings) = (&self.log, &mut self.calls, &mut self.findings);
        if self.counts.events == 0 {
            findings.invalid(|| "the history is empty".to_owned());
        }
        log.finish(findings);
        let order = order::assemble(log, calls, findings);
        order::claims_hold(log, calls, findings);
        order::rises(&order, findings);
        order::batches(&order, log, calls, findings);
        time::sessions(&order, calls, findings);
        time::real_time(&order, log, calls, findings);
        self.retention.finish(calls, findings);
        let counts = &mut self.counts;
        counts.chains = self.nodes.chains_compared;
        if let Some(end) = log.end() {
            self.nodes.finish(end, log.ends(), findings);
        }
        counts.faults = self.faults.finish(findings);
        counts.replicas = log.replicas() as u64;
        counts.records_compared = log.records_compared;
        counts.records = log.held.len() as u64;
        counts.duration = self.moments.map_or(0, |(first, last)| last - first);
        for made in calls.all() {
            count(made, counts);
        }
        self.findings.report(self.counts)
    }

    fn begin(&mut self, begin: &Begin, first: bool) {
        if !first {
            self.invalid(|| "a second `begin`: a history has one, in its first line".to_owned());
        }
        if begin.format != FORMAT {
            let format = begin.format;
            self.invalid(|| format!("the history is in format {format}, and this judge knows format {FORMAT} alone"));
        }
        self.retention.by_itself |= begin.retention;
    }

    fn invoke(&mut self, at: u64, client: u64, op: u64, call: Call) {
        let appends = matches!(call, Call::Append { .. });
        let removes = if let Call::RemoveBelow { index, .. } = call { Some(index) } else { None };
        let tails = if let Call::Tail { from, .. } = call { Some(from) } else { None };
        if appends && self.log.replicas() > 0 {
            self.invalid(|| format!("call {op} appends after a replica was read: read them after everything"));
        }
        let Some(id) = self.calls.invoke(at, client, op, call, &mut self.findings) else { return };
        if let Some(index) = removes {
            self.retention.asked(id, index);
        }
        if let Some(from) = tails {
            self.tails.insert(id, from);
        }
    }

    fn ok(&mut self, at: u64, op: u64, answer: Answer) {
        let Some(id) = self.calls.open(op, &mut self.findings) else { return };
        let made = self.calls.get(id);
        if let Err(why) = fits(&made.call, &answer) {
            // What it says is not used: it may be of another call.
            self.invalid(|| format!("call {op} {why}"));
            self.calls.end(id, at, End::Unknown);
            return;
        }
        let (called, promised) = (made.at, made.promises());
        let asked = match made.call {
            Call::Get { index, .. } => index,
            Call::Read { from, .. } => from,
            _ => 0,
        };
        let hashes = self.calls.end(id, at, End::Answered);
        match answer {
            Answer::Acked { acks } => self.acked(at, id, &acks, &hashes),
            Answer::Found { records } if records.is_empty() => {}
            // Fewer than were asked for bound nothing: limits of bytes, damage and removals end an answer early too.
            Answer::Found { records } => {
                self.dense(at, id, asked, &records);
                self.seen(at, id, &records);
            }
            Answer::Absent { index } if promised => self.log.absent(index, Bound { at: called, call: id }),
            Answer::Removed { first } => self.retention.told(at, first, id),
            Answer::Absent { .. } | Answer::Done => {}
        }
    }

    fn acked(&mut self, at: u64, id: CallId, acks: &[Acked], hashes: &[Hash]) {
        let first = acks.first().map_or(0, |ack| ack.index);
        let apart = acks.iter().zip(first..).find(|(ack, expected)| ack.index != *expected);
        if let Some((ack, expected)) = apart {
            let calls = &self.calls;
            self.findings.broken(Law::Batch, |about| {
                about.index(ack.index).op(calls.get(id).op).at(at).says(format!(
                    "The records of {} do not lie side by side: one was acknowledged at index {} where {expected} was \
                     to come.",
                    calls.words(id),
                    ack.index
                ))
            });
        }
        for (ack, hash) in acks.iter().zip(hashes) {
            let content = Content { position: ack.position, term: ack.term, hash: *hash };
            self.log.acked(ack.index, content, Bound { at, call: id });
        }
    }

    fn tailed(&mut self, at: u64, op: u64, records: &[Item]) {
        let Some(id) = self.calls.open(op, &mut self.findings) else { return };
        let Some(next) = self.tails.get(&id).copied() else {
            return self.invalid(|| format!("call {op} has seen records and is no tail"));
        };
        let next = self.dense(at, id, next, records);
        self.tails.insert(id, next);
        self.seen(at, id, records);
    }

    /// Records come one after the other, from `next` on. Returns the index of the one after them.
    fn dense(&mut self, at: u64, id: CallId, mut next: u64, records: &[Item]) -> u64 {
        for item in records {
            if item.index != next {
                let calls = &self.calls;
                self.findings.broken(Law::Dense, |about| {
                    about.index(item.index).op(calls.get(id).op).at(at).says(format!(
                        "At {}, {} was given index {} where {next} was to come.",
                        moment(at),
                        calls.words(id),
                        item.index
                    ))
                });
            }
            next = item.index.saturating_add(1);
        }
        next
    }

    fn seen(&mut self, at: u64, id: CallId, records: &[Item]) {
        self.counts.records_read += records.len() as u64;
        for item in records {
            self.log.seen(item, Bound { at, call: id });
        }
    }

    fn end(&mut self, at: u64, op: u64, end: End) {
        if let Some(id) = self.calls.open(op, &mut self.findings) {
            self.calls.end(id, at, end);
        }
    }

    fn fault(&mut self, fault: FaultEvent) {
        if fault.kind.starts_with("wipe") {
            // In every phase: what a node said just before may be written down just after.
            fault.nodes.iter().for_each(|node| self.nodes.wiped(node));
        }
        self.faults.push(fault, &mut self.findings);
    }

    fn replica(&mut self, at: u64, replica: &Replica) {
        self.nodes.replica_read();
        if let Some(chain) = replica.chain {
            self.nodes.chain(at, &replica.node, chain, &mut self.findings);
        }
        self.retention.node(at, replica.first, &replica.node);
        self.log.replica(at, replica, &mut self.findings);
    }

    fn invalid(&mut self, reason: impl FnOnce() -> String) {
        self.findings.invalid(reason);
    }
}

fn count(made: &Made, counts: &mut Counts) {
    match (&made.call, made.end) {
        (Call::Append { .. }, end) => {
            counts.appends += 1;
            match end {
                End::Answered => {
                    counts.appends_acked += 1;
                    counts.records_acked += u64::from(made.records);
                }
                End::Failed => counts.appends_failed += 1,
                End::Open | End::Unknown => counts.appends_unknown += 1,
            }
        }
        (Call::Get { .. } | Call::Read { .. }, End::Answered) => {
            counts.reads += 1;
            counts.reads_promised += u64::from(made.promises());
        }
        (Call::Get { .. } | Call::Read { .. }, _) => counts.reads_unanswered += 1,
        _ => counts.other_calls += 1,
    }
}
