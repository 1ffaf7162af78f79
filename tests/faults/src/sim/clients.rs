//! Clients: they append, in sessions too, read with every promise, and tail.

use std::time::Duration;

use bytes::Bytes;
use dledger::types::RECORD_OVERHEAD;
use dledger::{AppendError, BatchAck, Consistency, Ledger, Outcome, ReadError, ReadLimit, Record};
use dledger_history::{Acked, Answer, Call, Hash, What};
use dledger_sim::{self as sim, Rng};
use futures::StreamExt;

use super::world::{World, acked, item, name};

/// No answer takes longer: the node died over it.
const BOUND: Duration = Duration::from_secs(3);
/// Appends of one session that are under way at once, at most.
const PIPELINE: u64 = 5;

/// One that calls, and waits for the answer before it calls again.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) world: World,
    pub(super) rng: Rng,
}

/// An append that was called.
struct Called {
    op: u64,
    node: usize,
    /// Which life of the node.
    start: u64,
    records: Vec<Bytes>,
}

impl Client {
    /// Appends unique records, alone, in batches and in sessions, mostly where the master is.
    pub(super) async fn append(mut self) {
        let (mut sent, mut sessions) = (0, 0);
        while !self.world.is_over() {
            let node = self.node(900);
            let ok = match self.world.cluster.ledger(node) {
                Some(ledger) if self.rng.chance(150) => {
                    sessions += 1;
                    self.session(&ledger, node, self.id << 32 | sessions, &mut sent).await
                }
                Some(ledger) => self.one(&ledger, node, &mut sent).await,
                None => false,
            };
            let most = if ok { 16_000 } else { 40_000 };
            sim::pass(Duration::from_micros(self.rng.below(most))).await;
        }
    }

    async fn one(&mut self, ledger: &Ledger, node: usize, sent: &mut u64) -> bool {
        let called = self.call(node, sent, None);
        let outcome = sim::within(BOUND, ledger.append_batch(called.records.clone())).await;
        let acks = outcome.unwrap_or_else(|| self.died(&called));
        self.answered(called, acks.map(|acks| acks.iter().map(acked).collect()))
    }

    /// Several appends on their way at once; those of one session keep their order.
    async fn session(&mut self, ledger: &Ledger, node: usize, session: u64, sent: &mut u64) -> bool {
        let mut pending = Vec::new();
        for _ in 0..2 + self.rng.below(PIPELINE - 1) {
            let called = self.call(node, sent, Some(session));
            match sim::within(BOUND, ledger.submit(called.records.clone(), None)).await {
                Some(Ok(outcome)) => pending.push((called, outcome)),
                Some(Err(error)) => {
                    self.answered(called, Err(error));
                    break;
                }
                None => {
                    let died = self.died(&called);
                    self.answered(called, died);
                    break;
                }
            }
        }
        let mut all = true;
        for (called, outcome) in pending {
            let outcome = sim::within(BOUND, outcome).await.unwrap_or_else(|| self.died(&called));
            let acks = outcome.map(|ack| spread(&ack, &called.records));
            all &= self.answered(called, acks);
        }
        all
    }

    fn call(&mut self, node: usize, sent: &mut u64, session: Option<u64>) -> Called {
        let count = if self.rng.chance(200) { 2 + self.rng.below(4) } else { 1 };
        let big = self.world.plan.retention || self.world.plan.disks_fail;
        let records = (0..count).map(|_| {
            *sent += 1;
            let size = if self.rng.chance(if big { 500 } else { 80 }) { 3000 } else { 200 };
            let size = self.rng.below(size) as usize;
            Bytes::from(format!("{:.<size$}", format!("client {} record {sent}", self.id)))
        });
        let records: Vec<Bytes> = records.collect();
        let hashes = records.iter().map(|record| Hash::of(record)).collect();
        let start = self.world.cluster.starts(node);
        Called {
            op: self.world.recorder.invoke(self.id, Call::Append { records: hashes, session }),
            node,
            start,
            records,
        }
    }

    /// An append that is not answered for too long: that is so if the node died over it.
    fn died<T>(&self, called: &Called) -> Result<T, AppendError> {
        let cluster = &self.world.cluster;
        let alive = cluster.ledger(called.node).is_some() && cluster.starts(called.node) == called.start;
        assert!(!alive, "node {} has not answered an append within {BOUND:?}", called.node);
        Err(AppendError::Unknown { reason: "the node died over it".into() })
    }

    /// Whether it was acknowledged.
    fn answered(&self, called: Called, outcome: Result<Vec<Acked>, AppendError>) -> bool {
        let (world, op, count) = (&self.world, called.op, called.records.len() as u64);
        match outcome {
            Ok(acks) => {
                world.recorder.ok(op, Answer::Acked { acks });
                world.count("records acknowledged", count);
                world.acked.send_modify(|acked| *acked += count);
                return true;
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                world.recorder.unknown(op, error);
                world.count("records unknown", count);
            }
            Err(error) => {
                world.recorder.fail(op, error);
                world.count("records refused", count);
            }
        }
        false
    }

    /// Gets and reads with all promises on all nodes.
    pub(super) async fn read(mut self) {
        while !self.world.is_over() {
            let i = self.node(300);
            if let Some(ledger) = self.world.cluster.ledger(i) {
                let promised = self.world.promised.clone();
                let turn = promised.try_lock();
                let consistency = match self.rng.below(5) {
                    0 | 1 if turn.is_ok() => Consistency::Lease,
                    2 | 3 if turn.is_ok() => Consistency::Linearizable,
                    _ => Consistency::Local,
                };
                let status = ledger.status();
                // Mostly where the end is: what is there may be missing.
                let span = if self.rng.chance(800) { 12 } else { 400 };
                let from = (status.committed + 3).saturating_sub(self.rng.below(span));
                if self.rng.chance(500) {
                    self.get(&ledger, i, from, consistency).await;
                } else {
                    self.range(&ledger, i, from, consistency).await;
                }
            }
            sim::pass(Duration::from_micros(self.rng.below(20_000))).await;
        }
    }

    async fn get(&self, ledger: &Ledger, i: usize, index: u64, consistency: Consistency) {
        let call = Call::Get { index, consistency, node: Some(name(i)) };
        let op = self.world.recorder.invoke(self.id, call);
        let found = sim::within(BOUND, ledger.get_with(index, consistency)).await;
        self.found(op, index, found.map(|found| found.map(|record| vec![record])));
    }

    async fn range(&self, ledger: &Ledger, i: usize, from: u64, consistency: Consistency) {
        let count = 8;
        let call = Call::Read { from, count, consistency, node: Some(name(i)) };
        let op = self.world.recorder.invoke(self.id, call);
        let read = ledger.read_with(from..from + count, ReadLimit::default(), consistency);
        self.found(op, from, sim::within(BOUND, read).await);
    }

    fn found(&self, op: u64, from: u64, found: Option<Result<Vec<Record>, ReadError>>) {
        let recorder = &self.world.recorder;
        let what = match found {
            Some(Ok(records)) if records.is_empty() => Answer::Absent { index: from },
            Some(Ok(records)) => Answer::Found { records: records.iter().map(item).collect() },
            Some(Err(ReadError::NotYet { .. })) => Answer::Absent { index: from },
            Some(Err(ReadError::Removed { first, .. })) => Answer::Removed { first },
            Some(Err(error)) => {
                self.world.count("reads refused", 1);
                return recorder.fail(op, error);
            }
            None => return recorder.unknown(op, "the node died over it"),
        };
        self.world.count("reads answered", 1);
        recorder.ok(op, what);
    }

    /// Tails a node for a while, then another.
    pub(super) async fn tail(mut self) {
        let mut next = 0;
        while !self.world.is_over() {
            let i = self.node(0);
            if let Some(ledger) = self.world.cluster.ledger(i) {
                let from = if self.rng.chance(700) { next } else { ledger.status().committed };
                next = self.follow(&ledger, i, from).await;
            }
            sim::pass(Duration::from_millis(1 + self.rng.below(30))).await;
        }
    }

    /// Returns where to go on.
    async fn follow(&mut self, ledger: &Ledger, i: usize, from: u64) -> u64 {
        let recorder = self.world.recorder.clone();
        let op = recorder.invoke(self.id, Call::Tail { from, node: Some(name(i)) });
        let until = sim::now() + Duration::from_millis(100 + self.rng.below(900));
        let (mut tail, mut next) = (ledger.tail(from).ready_chunks(32), from);
        loop {
            let left = until.saturating_sub(sim::now());
            match sim::within(left, tail.next()).await {
                Some(Some(some)) => {
                    let (mut records, mut ended) = (Vec::new(), None);
                    for record in some {
                        match record {
                            Ok(record) => records.push(item(&record)),
                            Err(error) => ended = Some(error),
                        }
                    }
                    if let Some(last) = records.last() {
                        next = last.index + 1;
                        self.world.count("records tailed", records.len() as u64);
                        recorder.record(What::Seen { op, records });
                    }
                    match ended {
                        Some(ReadError::Removed { first, .. }) => {
                            recorder.ok(op, Answer::Removed { first });
                            return first;
                        }
                        Some(error) => {
                            recorder.fail(op, error);
                            return next;
                        }
                        None => {}
                    }
                }
                Some(None) | None => {
                    recorder.ok(op, Answer::Found { records: Vec::new() });
                    return next;
                }
            }
        }
    }

    /// The master in that number of 1000 cases, else any node.
    fn node(&mut self, master: u64) -> usize {
        match self.world.cluster.master() {
            Some(i) if self.rng.chance(master) => i,
            _ => self.rng.below(self.world.cluster.size() as u64) as usize,
        }
    }
}

/// One ack per record.
fn spread(ack: &BatchAck, records: &[Bytes]) -> Vec<Acked> {
    let mut position = ack.first_position;
    let acks = records.iter().zip(ack.first_index..).map(|(record, index)| {
        let this = Acked { index, position, term: ack.term };
        position += record.len() as u64 + RECORD_OVERHEAD;
        this
    });
    acks.collect()
}
