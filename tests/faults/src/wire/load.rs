//! Clients that append and read, and write down what they were told and how long it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dledger::{Client, ClientError, Consistency, Outcome, Peers, ReadLimit, Record};
use dledger_history::{Acked, Answer, Call, Hash, Item, Recorder};
use dledger_sim::Rng;
use dledger_sim::wire::{self, pass};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::net::{Meter, Silent, Wire};
use super::node::GROUP;

/// How much longer than its timeout a call may take: the client waits half a second for the node's own word on what
/// became of an append, and looks every tenth of a second.
const GRACE: Duration = Duration::from_millis(800);

/// What the clients are to do, and how it goes. Cheap to clone.
#[derive(Clone)]
pub struct Load {
    recorder: Recorder,
    shared: Arc<Shared>,
    /// How long a call may take.
    pub timeout: Duration,
    /// Largest record.
    pub record: usize,
    peers: Peers,
    silent: Silent,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    told: Mutex<Told>,
}

/// What clients were told, and what they should not have been.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Appends acknowledged.
    pub acked: u64,
    /// Their highest term.
    pub term: u64,
    /// Appends with an unknown outcome.
    pub unknown: u64,
    /// Appends refused.
    pub refused: u64,
    /// Reads answered.
    pub reads: u64,
    /// Records tailed.
    pub tailed: u64,
    /// Longest call of all that have a timeout.
    pub longest: Duration,
    /// Calls that took longer than they may.
    pub late: Vec<String>,
}

impl Load {
    /// Clients of the cluster.
    pub fn new(cluster: &Cluster<'_>, timeout: Duration, record: usize) -> Self {
        let (recorder, peers, silent) = (cluster.recorder.clone(), cluster.peers(), cluster.silent.clone());
        Self { recorder, shared: Arc::default(), timeout, record, peers, silent }
    }

    /// No new calls.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// What the clients were told so far.
    pub fn told(&self) -> Told {
        self.shared.told.lock().clone()
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.shared.told.lock());
    }

    fn took(&self, what: &str, began: Instant) {
        let took = began.elapsed();
        self.tell(|told| {
            told.longest = told.longest.max(took);
            if took > self.timeout + GRACE {
                told.late.push(format!("{what} took {took:?}, with a timeout of {:?}", self.timeout));
            }
        });
    }

    /// A client of the cluster on a host of this name.
    pub fn connect(&self, host: &str) -> Client {
        let builder = Client::builder(self.peers.clone(), GROUP.parse().expect("a name")).timeout(self.timeout);
        let (host, meter, silent) = (host.to_owned(), Arc::new(Meter::default()), self.silent.clone());
        wire::client(builder, Arc::new(Wire { host, meter, silent }))
    }

    /// A host full of them, on one connection: `appenders` that append, one that reads, one that tails. Ends when the
    /// load is stopped and all calls have ended. Their numbers begin at `first`.
    pub async fn run(self, host: String, first: u64, appenders: u64, mut rng: Rng) {
        let client = self.connect(&host);
        let mut tasks: Vec<_> = (first..first + appenders)
            .map(|number| tokio::spawn(self.clone().append(client.clone(), number, rng.fork())))
            .collect();
        tasks.push(tokio::spawn(self.clone().read(client.clone(), first + appenders, rng.fork())));
        tasks.push(tokio::spawn(self.clone().tail(client, first + appenders + 1)));
        for task in tasks {
            task.await.expect("no client panics");
        }
    }

    async fn append(self, client: Client, number: u64, mut rng: Rng) {
        let mut count = 0;
        while !self.stopped() {
            let records = if rng.chance(800) { 1 } else { 2 + rng.below(4) };
            let body = |n| body(&mut rng, &format!("{number}-{n} "), self.record);
            let bodies: Vec<Bytes> = (count..count + records).map(body).collect();
            count += records;
            // Told already.
            let _ = self.append_once(&client, number, bodies).await;
            pass(Duration::from_millis(rng.below(100))).await;
        }
    }

    /// One append; whether it was acknowledged, and if not, whether it can be in the log.
    pub async fn append_once(&self, client: &Client, number: u64, bodies: Vec<Bytes>) -> Result<(), Outcome> {
        let hashes = bodies.iter().map(|body| Hash::of(body)).collect();
        let op = self.recorder.invoke(number, Call::Append { records: hashes, session: None });
        let began = Instant::now();
        let outcome = client.append_batch(bodies).await;
        self.took("an append", began);
        match outcome {
            Ok(acks) => {
                let acked = |a: &dledger::Ack| Acked { index: a.index, position: a.position, term: a.term };
                self.recorder.ok(op, Answer::Acked { acks: acks.iter().map(acked).collect() });
                self.tell(|told| {
                    told.acked += 1;
                    told.term = told.term.max(acks[0].term);
                });
                Ok(())
            }
            Err(error) if error.outcome() == Outcome::Refused => {
                self.recorder.fail(op, error);
                self.tell(|told| told.refused += 1);
                Err(Outcome::Refused)
            }
            Err(error) => {
                self.recorder.unknown(op, error);
                self.tell(|told| told.unknown += 1);
                Err(Outcome::Unknown)
            }
        }
    }

    async fn read(self, client: Client, number: u64, mut rng: Rng) {
        let mut end = 0;
        while !self.stopped() {
            let consistency = Consistency::ALL[rng.below(3) as usize];
            // Near the end, sometimes behind it.
            let from = (end + 3_u64).saturating_sub(rng.below(12));
            let began = Instant::now();
            let (op, answer) = if rng.chance(500) {
                let op = self.recorder.invoke(number, Call::Get { index: from, consistency, node: None });
                (op, client.get_with(from, consistency).await.map(|record| vec![record]))
            } else {
                let count = 1 + rng.below(8);
                let op = self.recorder.invoke(number, Call::Read { from, count, consistency, node: None });
                (op, client.read_with(from.., ReadLimit::records(count as usize), consistency).await)
            };
            self.took("a read", began);
            match answer {
                Ok(records) => {
                    end = end.max(from + records.len() as u64);
                    self.tell(|told| told.reads += 1);
                    let found = Answer::Found { records: records.iter().map(item).collect() };
                    self.recorder.ok(op, if records.is_empty() { Answer::Absent { index: from } } else { found });
                }
                Err(ClientError::NotYet { .. }) => {
                    self.tell(|told| told.reads += 1);
                    self.recorder.ok(op, Answer::Absent { index: from });
                }
                Err(error) => self.recorder.fail(op, error),
            }
            pass(Duration::from_millis(rng.below(100))).await;
        }
    }

    async fn tail(self, client: Client, number: u64) {
        let mut next = 0;
        while !self.stopped() {
            let op = self.recorder.invoke(number, Call::Tail { from: next, node: None });
            let mut records = client.tail(next);
            let error = loop {
                // So that the end of the load is noticed.
                match tokio::time::timeout(Duration::from_millis(200), records.next()).await {
                    Ok(Some(Ok(record))) => {
                        next = record.index + 1;
                        self.tell(|told| told.tailed += 1);
                        self.recorder.record(dledger_history::What::Seen { op, records: vec![item(&record)] });
                    }
                    Ok(Some(Err(error))) => break Some(error),
                    Ok(None) => break None,
                    Err(_) if self.stopped() => break None,
                    Err(_) => {}
                }
            };
            match error {
                Some(error) => self.recorder.unknown(op, error),
                None => self.recorder.ok(op, Answer::Found { records: Vec::new() }),
            }
        }
    }
}

/// A record as a history has it.
pub fn item(record: &Record) -> Item {
    Item { index: record.index, position: record.position, term: record.term, hash: Hash::of(&record.body) }
}

/// A body that begins with `head`, of up to `most` bytes; most are short.
pub fn body(rng: &mut Rng, head: &str, most: usize) -> Bytes {
    let size = if rng.chance(900) { rng.below(200) } else { rng.below(most as u64) } as usize;
    let mut body = head.as_bytes().to_vec();
    let filler = rng.draw().to_le_bytes();
    body.extend(filler.iter().cycle().take(size.saturating_sub(head.len())));
    body.into()
}
