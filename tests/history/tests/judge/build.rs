//! Histories written by hand.

use dledger::Consistency;
use dledger_history::{
    Acked, Answer, Begin, Call, ChainAt, Event, FORMAT, FaultEvent, FaultPhase, Hash, Item, NodeStatusEvent, Replica,
    What,
};

/// A history; each line a second later than the one before.
pub struct Build {
    pub events: Vec<Event>,
    ops: u64,
}

pub fn hash(body: &str) -> Hash {
    Hash::of(body.as_bytes())
}

/// The record `body` where a log in order has it, in term 1.
pub fn item(index: u64, body: &str) -> Item {
    Item { index, position: position(index), term: 1, hash: hash(body) }
}

pub fn position(index: u64) -> u64 {
    1000 + 100 * index
}

pub fn items(from: u64, bodies: &[&str]) -> Vec<Item> {
    (from..).zip(bodies).map(|(index, body)| item(index, body)).collect()
}

/// What a node says that leads from index `first` to `end`, with all committed.
pub fn status(node: &str, role: &str, term: u64, first: u64, end: u64) -> NodeStatusEvent {
    let role = role.to_owned();
    NodeStatusEvent {
        node: node.to_owned(),
        start: 1,
        role,
        term,
        first,
        durable: end,
        committed: end,
        end,
        chain: None,
    }
}

impl Build {
    pub fn new() -> Self {
        let mut build = Self { events: Vec::new(), ops: 0 };
        build.push(What::Begin(Begin {
            format: FORMAT,
            run: "by hand".to_owned(),
            seed: None,
            replay: None,
            nodes: vec!["n0".to_owned(), "n1".to_owned(), "n2".to_owned()],
            retention: false,
        }));
        build
    }

    pub fn push(&mut self, what: What) {
        let at = self.events.len() as u64 * 1_000_000_000;
        self.events.push(Event { at, what });
    }

    pub fn call(&mut self, client: u64, call: Call) -> u64 {
        let op = self.ops;
        self.ops += 1;
        self.push(What::Invoke { client, op, call });
        op
    }

    pub fn ok(&mut self, op: u64, answer: Answer) {
        self.push(What::Ok { op, answer });
    }

    pub fn append(&mut self, client: u64, bodies: &[&str], session: Option<u64>) -> u64 {
        let records = bodies.iter().map(|body| hash(body)).collect();
        self.call(client, Call::Append { records, session })
    }

    pub fn acked(&mut self, op: u64, from: u64, count: u64) {
        let ack = |index| Acked { index, position: position(index), term: 1 };
        self.ok(op, Answer::Acked { acks: (from..from + count).map(ack).collect() });
    }

    /// An append with its answer.
    pub fn appended(&mut self, client: u64, from: u64, bodies: &[&str]) -> u64 {
        let op = self.append(client, bodies, None);
        self.acked(op, from, bodies.len() as u64);
        op
    }

    pub fn unknown(&mut self, op: u64) {
        self.push(What::Unknown { op, error: "timeout".to_owned() });
    }

    pub fn fail(&mut self, op: u64) {
        self.push(What::Fail { op, error: "busy".to_owned() });
    }

    pub fn get(&mut self, client: u64, index: u64, consistency: Consistency) -> u64 {
        self.call(client, Call::Get { index, consistency, node: None })
    }

    pub fn got(&mut self, client: u64, index: u64, body: &str, consistency: Consistency) -> u64 {
        let op = self.get(client, index, consistency);
        self.ok(op, Answer::Found { records: vec![item(index, body)] });
        op
    }

    pub fn nothing(&mut self, client: u64, index: u64, consistency: Consistency) -> u64 {
        let op = self.get(client, index, consistency);
        self.ok(op, Answer::Absent { index });
        op
    }

    pub fn fault(&mut self, fault: u64, kind: &str, node: &str, phase: FaultPhase) {
        let evidence = if phase == FaultPhase::Observed { "the process was gone" } else { "" };
        let (kind, nodes) = (kind.to_owned(), vec![node.to_owned()]);
        self.push(What::Fault(FaultEvent { fault, kind, nodes, phase, evidence: evidence.to_owned() }));
    }

    pub fn faulted(&mut self, fault: u64, kind: &str, node: &str) {
        for phase in [FaultPhase::Installed, FaultPhase::Observed, FaultPhase::Removed] {
            self.fault(fault, kind, node, phase);
        }
    }

    /// All that a replica holds.
    pub fn replica(&mut self, node: &str, first: u64, bodies: &[&str]) {
        let end = first + bodies.len() as u64;
        let chain = Some(ChainAt { position: position(end), value: end as u32 });
        let records = items(first, bodies);
        self.push(What::Replica(Replica { node: node.to_owned(), first, end, chain, records }));
    }

    pub fn replicas(&mut self, bodies: &[&str]) {
        for node in ["n0", "n1", "n2"] {
            self.replica(node, 0, bodies);
        }
    }
}
