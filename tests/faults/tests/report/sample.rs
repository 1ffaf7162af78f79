//! Histories as a run with faults leaves them, made up.

use dledger::Consistency;
use dledger_history::{
    Acked, Answer, Begin, Call, Counts, Event, FORMAT, FaultEvent, FaultPhase, Hash, Item, Law, NodeStatusEvent,
    Report, Verdict, Violation, What,
};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1000 * MS;

/// A history to be made up.
pub struct Sample {
    pub name: &'static str,
    pub seed: u64,
    pub seconds: u64,
    pub clients: u64,
    /// Nanoseconds between the calls of a client.
    pub pace: u64,
    pub nodes: Vec<&'static str>,
    pub faults: Vec<Planned>,
}

/// A fault, and for how long it costs the cluster its leader.
pub struct Planned {
    pub kind: &'static str,
    pub nodes: Vec<&'static str>,
    pub from: u64,
    pub to: u64,
    pub outage: u64,
    pub observed: bool,
}

/// Always the same numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

struct Planning {
    client: u64,
    start: u64,
    end: u64,
    append: bool,
    outcome: u8,
}

impl Sample {
    /// Forty seconds with a kill, a pause and two partitions, one of them unproven.
    pub fn busy(name: &'static str, seed: u64, clients: u64, pace: u64) -> Self {
        let fault = |kind, nodes: &[&'static str], from, to, outage, observed| Planned {
            kind,
            nodes: nodes.to_vec(),
            from,
            to,
            outage,
            observed,
        };
        let faults = vec![
            fault("kill", &["n1"], 5 * S, 8 * S, 310 * MS, true),
            fault("partition", &["n2", "n3"], 12 * S, 18 * S, 2130 * MS, true),
            fault("loss", &["n1"], 14 * S, 19 * S + 500 * MS, 0, true),
            fault("pause", &["n3"], 23 * S, 26 * S, 1240 * MS, true),
            fault("slow-disk", &["n2"], 29 * S, 33 * S, 0, false),
        ];
        Self { name, seed, seconds: 40, clients, pace, nodes: vec!["n1", "n2", "n3"], faults }
    }

    pub fn events(&self) -> Vec<Event> {
        let mut dice = Dice(self.seed);
        let mut all = vec![(0, What::Begin(self.begin()))];
        let mut calls = self.calls(&mut dice);
        calls.sort_by_key(|call| (call.end, call.client));
        let mut acks: Vec<(u64, u64)> = Vec::new();
        let mut index = 0;
        for (op, call) in (0..).zip(&calls) {
            let hash = Hash::of(&u64::to_be_bytes(op));
            let term = self.term(call.end);
            let (ask, answer) = if call.append {
                let acked = Acked { index, position: index * 1100, term };
                (Call::Append { records: vec![hash], session: None }, Answer::Acked { acks: vec![acked] })
            } else {
                let seen = index.saturating_sub(1);
                let item = Item { index: seen, position: seen * 1100, term, hash };
                let get = Call::Get { index: seen, consistency: Consistency::Linearizable, node: None };
                (get, Answer::Found { records: vec![item] })
            };
            all.push((call.start, What::Invoke { client: call.client, op, call: ask }));
            let end = match call.outcome {
                0 => What::Ok { op, answer },
                1 => What::Fail { op, error: "no master is known: n2 asked n3 and heard nothing for 400 ms".into() },
                _ => What::Unknown { op, error: "deadline of 1 s passed before an answer".into() },
            };
            if call.append && call.outcome != 1 {
                index += 1;
                acks.push((call.end, index));
            }
            all.push((call.end, end));
        }
        self.say_statuses(&acks, &mut all);
        for (number, fault) in (1..).zip(&self.faults) {
            let mut say = |at, phase, evidence: &str| {
                let nodes = fault.nodes.iter().map(|&node| node.to_owned()).collect();
                let kind = fault.kind.to_owned();
                all.push((
                    at,
                    What::Fault(FaultEvent { fault: number, kind, nodes, phase, evidence: evidence.into() }),
                ));
            };
            say(fault.from, FaultPhase::Installed, "leader when it was installed: n1, term 1");
            if fault.observed {
                say(fault.from + (fault.to - fault.from) / 3, FaultPhase::Observed, "1 204 packets dropped");
            }
            say(fault.to, FaultPhase::Removed, "");
        }
        all.push((self.seconds * S, What::Note { text: "3 replicas read, 0 records differ".into() }));
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(at, what)| Event { at, what }).collect()
    }

    fn begin(&self) -> Begin {
        Begin {
            format: FORMAT,
            run: self.name.to_owned(),
            seed: Some(self.seed),
            replay: Some(format!("cargo run -p dledger-faults -- run --scenario {} --seed {}", self.name, self.seed)),
            nodes: self.nodes.iter().map(|&node| node.to_owned()).collect(),
            retention: false,
        }
    }

    fn outage(&self, at: u64) -> Option<&Planned> {
        self.faults.iter().find(|fault| at >= fault.from && at < fault.from + fault.outage)
    }

    fn calls(&self, dice: &mut Dice) -> Vec<Planning> {
        let mut calls = Vec::new();
        for client in 0..self.clients {
            let mut at = 200 * MS + dice.below(self.pace);
            while at < (self.seconds - 2) * S {
                let append = client % 4 != 3;
                let slow = self.faults.iter().any(|f| f.outage == 0 && at >= f.from && at < f.to);
                let mut took = (300_000 + dice.below(900_000)) * if slow { 12 } else { 1 };
                if dice.below(400) == 0 {
                    took += 20 * MS;
                }
                let mut outcome = 0;
                if self.outage(at).is_some() {
                    (outcome, took) = (1, 60 * MS + dice.below(20 * MS));
                } else if self.outage(at + took).is_some() {
                    (outcome, took) = (2, S);
                }
                calls.push(Planning { client, start: at, end: at + took, append, outcome });
                at += took + self.pace / 2 + dice.below(self.pace);
            }
        }
        calls
    }

    fn term(&self, at: u64) -> u64 {
        1 + self.faults.iter().filter(|fault| fault.outage > 0 && at >= fault.from + fault.outage / 2).count() as u64
    }

    fn say_statuses(&self, acks: &[(u64, u64)], all: &mut Vec<(u64, What)>) {
        let committed = |at: u64| acks.partition_point(|(when, _)| *when <= at) as u64;
        for (i, &node) in self.nodes.iter().enumerate() {
            for at in (0..self.seconds * S).step_by(100 * MS as usize) {
                let at = at + i as u64 * 7 * MS;
                let hit = |f: &&Planned| at >= f.from && at < f.to && f.nodes.contains(&node);
                let hit = self.faults.iter().find(hit);
                if hit.is_some_and(|fault| fault.kind == "kill" || fault.kind == "pause") {
                    continue;
                }
                let term = self.term(at);
                let cut = hit.filter(|fault| fault.kind == "partition");
                let leads = (term as usize - 1) % self.nodes.len() == i;
                let role = match (self.outage(at).is_some() || cut.is_some(), leads) {
                    (true, _) => "electing",
                    (false, true) => "master",
                    (false, false) => "slave",
                };
                let n = committed(cut.map_or(at, |fault| at.min(fault.from))).saturating_sub(i as u64);
                let lives = self.faults.iter().filter(|f| f.kind == "kill" && f.nodes.contains(&node) && f.to <= at);
                all.push((at, status(node, 1 + lives.count() as u64, role, term, n)));
            }
        }
    }
}

pub fn status(node: &str, start: u64, role: &str, term: u64, committed: u64) -> What {
    let role = role.to_owned();
    let (first, durable, end) = (0, committed, committed);
    What::Status(NodeStatusEvent {
        node: node.to_owned(),
        start,
        role,
        term,
        first,
        durable,
        committed,
        end,
        chain: None,
    })
}

pub fn report(verdict: Verdict) -> Report {
    Report { verdict, counts: Counts::default(), violations: Vec::new(), invalid: Vec::new() }
}

/// Makes a read miss an append that was acknowledged before, and judges so.
pub fn stale_read(events: &mut [Event], after: u64) -> Report {
    let ended = |events: &[Event], append: bool, from: u64| {
        events.iter().filter(|event| event.at >= from).find_map(|event| match &event.what {
            What::Ok { op, answer: Answer::Acked { acks } } if append => Some((*op, acks.first()?.index, event.at)),
            What::Ok { op, answer: Answer::Found { .. } } if !append => Some((*op, 0, event.at)),
            _ => None,
        })
    };
    let (append, index, acked) = ended(events, true, after).unwrap();
    let (get, _, at) = ended(events, false, acked + 15 * MS).unwrap();
    for event in events {
        match &mut event.what {
            What::Invoke { op, call: Call::Get { index: asked, .. }, .. } if *op == get => *asked = index,
            What::Ok { op, answer } if *op == get => *answer = Answer::Absent { index },
            _ => {}
        }
    }
    let explanation = format!(
        "The append #{append} was acknowledged at index {index}, and the linearizable get #{get}, which began after \
         that, found nothing at index {index}: a record that had been acknowledged was not to be seen."
    );
    let nodes = vec!["n1".to_owned()];
    let ops = vec![append, get];
    let violation = Violation { law: Law::RealTime, index: Some(index), ops, nodes, at: Some(at), explanation };
    Report { violations: vec![violation], ..report(Verdict::Fail) }
}
