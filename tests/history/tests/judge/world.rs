//! A ledger that does everything right, and all that happens to it, at random.

use dledger::Consistency::{self, Local};
use dledger_history::{
    Acked, Answer, Begin, Call, ChainAt, Event, FORMAT, FaultEvent, FaultPhase, Hash, Item, NodeStatusEvent, Replica,
    What,
};
use dledger_sim::Rng;

/// A ledger that does everything right, and all that happens to it.
pub struct World {
    random: Rng,
    now: u64,
    ops: u64,
    log: Vec<Item>,
    term: u64,
    position: u64,
    /// The lowest index that is stored.
    first: u64,
    events: Vec<Event>,
}

impl World {
    pub fn history(seed: u64) -> Vec<Event> {
        let (random, events) = (Rng::new(seed), Vec::new());
        let mut world = Self { random, now: 100, ops: 0, log: Vec::new(), term: 1, position: 0, first: 0, events };
        for _ in 0..60 {
            world.now += world.random.below(5);
            match world.random.below(20) {
                0..6 => world.append(),
                6 => world.session(),
                7..13 => world.read(),
                13 => world.tail(),
                14..17 => world.status(),
                17 => world.election(),
                18 => world.remove(),
                _ => world.fault(),
            }
        }
        world.now += 1000;
        for node in 0..3 {
            // The first one holds everything, others may be behind.
            let end = world.end() - if node > 0 { world.random.below(3).min(world.end() - world.first) } else { 0 };
            let records = world.log[world.first as usize..end as usize].to_vec();
            let (first, node) = (world.first, format!("n{node}"));
            let chain = Some(world.chain(end));
            world.put(world.now, What::Replica(Replica { node, first, end, chain, records }));
        }
        let mut events = world.events;
        events.sort_by_key(|event| event.at);
        let begin = Begin {
            format: FORMAT,
            run: "random".to_owned(),
            seed: Some(seed),
            replay: None,
            nodes: Vec::new(),
            retention: false,
        };
        events.insert(0, Event { at: 0, what: What::Begin(begin) });
        events
    }

    fn put(&mut self, at: u64, what: What) {
        self.events.push(Event { at, what });
    }

    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    fn chain(&self, end: u64) -> ChainAt {
        let position = self.log.get(end as usize).map_or(self.position, |item| item.position);
        ChainAt { position, value: position as u32 ^ 0x5555 }
    }

    /// A call around this moment, and when it was called and answered.
    fn call(&mut self, client: u64, call: Call) -> (u64, u64) {
        let called = self.now - self.random.below(20);
        self.call_at(called, client, call)
    }

    fn call_at(&mut self, called: u64, client: u64, call: Call) -> (u64, u64) {
        let op = self.ops;
        self.ops += 1;
        self.put(called, What::Invoke { client, op, call });
        (op, self.now + self.random.below(20))
    }

    /// Records that nobody has appended yet.
    fn records(&mut self) -> Vec<Hash> {
        let count = if self.random.one_in(3) { 2 + self.random.below(3) } else { 1 };
        (0..count).map(|n| Hash::of(format!("{} {n}", self.ops).as_bytes())).collect()
    }

    fn store(&mut self, records: &[Hash]) -> Vec<Acked> {
        let mut acks = Vec::new();
        for hash in records {
            let (index, position, term) = (self.end(), self.position, self.term);
            self.log.push(Item { index, position, term, hash: *hash });
            acks.push(Acked { index, position, term });
            self.position += 1 + self.random.below(100);
        }
        acks
    }

    fn append(&mut self) {
        let records = self.records();
        let (op, answered) = self.call(self.ops, Call::Append { records: records.clone(), session: None });
        let error = "so it goes".to_owned();
        let what = match self.random.below(10) {
            0 => What::Fail { op, error },
            1 => What::Unknown { op, error },
            known => {
                let acks = self.store(&records);
                match known {
                    2 => What::Unknown { op, error },
                    3 => return,
                    _ => What::Ok { op, answer: Answer::Acked { acks } },
                }
            }
        };
        self.put(answered, what);
    }

    /// Appends that are called one after the other, stored in that order, and answered in any.
    fn session(&mut self) {
        let session = Some(self.ops);
        let called = self.now - 20;
        for n in 0..2 + self.random.below(4) {
            let records = self.records();
            let (op, answered) = self.call_at(called + n, 7, Call::Append { records: records.clone(), session });
            let acks = self.store(&records);
            self.put(answered, What::Ok { op, answer: Answer::Acked { acks } });
        }
    }

    fn read(&mut self) {
        let consistency = Consistency::ALL[self.random.below(3) as usize];
        // What a local read knows of the log may be late.
        let knows = if consistency == Local { self.random.below(self.end() + 1) } else { self.end() };
        let (from, count) = (self.random.below(self.end() + 2), self.random.below(5));
        let call = match count {
            0 => Call::Get { index: from, consistency, node: None },
            count => Call::Read { from, count, consistency, node: Some("n1".to_owned()) },
        };
        let records: Vec<_> = (from..knows).take(count.max(1) as usize).map(|index| self.log[index as usize]).collect();
        let answer = if from < self.first {
            Answer::Removed { first: self.first }
        } else if records.is_empty() {
            Answer::Absent { index: from }
        } else {
            Answer::Found { records }
        };
        let (op, answered) = self.call(self.ops, call);
        self.put(answered, What::Ok { op, answer });
    }

    fn tail(&mut self) {
        let from = self.first + self.random.below(self.end() - self.first + 1);
        let (op, mut at) = self.call(self.ops, Call::Tail { from, node: None });
        let seen: Vec<_> = self.log[from as usize..].to_vec();
        for records in seen.chunks(1 + self.random.below(3) as usize) {
            self.put(at, What::Seen { op, records: records.to_vec() });
            at += self.random.below(3);
        }
        self.put(at, What::Ok { op, answer: Answer::Found { records: Vec::new() } });
    }

    fn status(&mut self) {
        let (node, term, first, committed) = ("n0".to_owned(), self.term, self.first, self.end());
        let end = committed + self.random.below(3);
        let durable = self.random.below(end + 1);
        let chain = Some(self.chain(committed));
        let role = "master".to_owned();
        let status = NodeStatusEvent { node, start: 1, role, term, first, durable, committed, end, chain };
        self.put(self.now, What::Status(status));
    }

    /// The next term; the same node is master of it.
    fn election(&mut self) {
        self.term += 1;
    }

    fn remove(&mut self) {
        self.first += self.random.below(self.end() - self.first + 1);
        // Called before what is read now begins.
        let index = self.first;
        let (op, answered) = self.call_at(self.now - 30, self.ops, Call::RemoveBelow { index, node: "n0".to_owned() });
        self.put(answered, What::Ok { op, answer: Answer::Done });
    }

    fn fault(&mut self) {
        let (fault, nodes) = (self.ops, vec!["n1".to_owned()]);
        self.ops += 1;
        for (at, phase) in (self.now..).zip([FaultPhase::Installed, FaultPhase::Observed, FaultPhase::Removed]) {
            let (kind, evidence) = ("pause".to_owned(), "stopped".to_owned());
            self.put(at, What::Fault(FaultEvent { fault, kind, nodes: nodes.clone(), phase, evidence }));
        }
    }
}
