//! Clients call while a nemesis does its worst; then all must agree, and the judge must find nothing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dledger::{ReadError, ReadLimit, RepairPolicy, Retention, Role};
use dledger_history::{
    Answer, Begin, Call, ChainAt, Event, FORMAT, Hash, NodeStatusEvent, Recorder, Replica, Verdict, What, check,
};
use dledger_sim::{self as sim, Rng, SimCluster};
use parking_lot::Mutex;

use super::clients::Client;
use super::invariants::Watch;
use super::members::Members;
use super::nemesis::Nemesis;
use super::plan::Plan;
use super::schedule::Schedule;
use super::world::{World, acked, item, name};
use super::{Outcome, failure};

/// How long all may take to agree after the last fault.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients that append, read, and tail.
const APPENDERS: u64 = 3;
const READERS: u64 = 2;
const TAILERS: u64 = 1;
/// Who makes sure in the end that appends succeed.
const LAST_CLIENT: u64 = 999;
/// Records in a line of a replica.
const LINE: usize = 1000;

/// What is to run.
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) seed: u64,
    pub(super) plan: &'a Plan,
    pub(super) schedule: &'a Schedule,
    /// The command that runs it again.
    pub(super) replay: String,
}

/// Runs one simulation and checks every law. The history is written to `history`, broken law or not.
///
/// # Errors
/// Which law is broken.
pub(super) fn run(run: &Run<'_>, history: Option<&Path>) -> Result<Outcome, String> {
    let recorder = Recorder::in_memory(|| sim::now().as_nanos() as u64);
    let ran = failure::caught(|| sim::run(run.seed, simulate(run, recorder.clone())));
    let events = recorder.take();
    if let Some(path) = history {
        write(path, &events)
            .map_err(|error| format!("the history cannot be written to {}: {error}", path.display()))?;
    }
    let mut outcome = ran?;
    let report = check(events);
    match report.verdict {
        Verdict::Pass => {}
        Verdict::Invalid => report.invalid.into_iter().for_each(|why| outcome.is_invalid(why)),
        Verdict::Fail => {
            let laws = report.violations.iter().take(5).map(|v| format!("{}: {}", v.law, v.explanation));
            return Err(laws.collect::<Vec<_>>().join("\n"));
        }
    }
    outcome.count("records compared", report.counts.records_compared);
    Ok(outcome)
}

fn write(path: &Path, events: &[Event]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for event in events {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

fn cluster(seed: u64, plan: &Plan) -> SimCluster {
    let cluster = SimCluster::new(seed, plan.nodes + plan.spares, |config| {
        config.durability = plan.durability;
        // Segments end because of their age too.
        let (max_bytes, max_age) = (Some(6 * config.segment_size), Some(Duration::from_millis(400)));
        let every = Duration::from_millis(300);
        config.retention = plan.retention.then(|| Retention { max_age, max_bytes, every, ..Retention::default() });
        config.repair = RepairPolicy::FromPeers;
        // Shorter than most partitions: some appends are not committed in time.
        config.append_timeout = Duration::from_millis(400);
    });
    for i in 0..plan.nodes + plan.spares {
        cluster.configure(i, |config| {
            if i < plan.nodes {
                let listed = config.peers.iter().take(plan.nodes).cloned().collect();
                config.peers = dledger::Peers::new(listed).expect("peers that differ");
            } else {
                config.peers = dledger::Peers::default();
                config.join = true;
            }
        });
    }
    cluster
}

async fn simulate(run: &Run<'_>, recorder: Recorder) -> Outcome {
    let (seed, plan) = (run.seed, *run.plan);
    let cluster = cluster(seed, &plan);
    recorder.record(What::Begin(Begin {
        format: FORMAT,
        run: run.name.into(),
        seed: Some(seed),
        replay: Some(run.replay.clone()),
        nodes: (0..cluster.size()).map(name).collect(),
        retention: plan.retention,
    }));
    let watch = Arc::new(Mutex::new(Watch::new(&plan, cluster.size())));
    let watching = watch.clone();
    if std::env::var_os("DLEDGER_UNWATCHED").is_none() {
        cluster.observe(move |cluster| {
            if let Err(broken) = watching.lock().step(cluster) {
                panic!("{broken}");
            }
        });
    }
    let world = World::new(cluster.clone(), recorder, plan);
    for i in 0..cluster.size() {
        world.try_start(i);
    }
    cluster.wait("the first master", PATIENCE, || cluster.master().is_some()).await;
    let observer = sim::spawn(world.clone().observe());
    let mut rng = Rng::new(!seed);
    let client = |id| Client { id, world: world.clone(), rng: rng.fork() };
    let all: Vec<_> = (0..APPENDERS + READERS + TAILERS).map(client).collect();
    let clients = all.into_iter().enumerate().map(|(n, client)| {
        sim::spawn(async move {
            match n as u64 {
                0..APPENDERS => client.append().await,
                n if n < APPENDERS + READERS => client.read().await,
                _ => client.tail().await,
            }
        })
    });
    let clients = futures::future::join_all(clients.collect::<Vec<_>>());
    let mut nemesis = Nemesis::new(world.clone(), Members::new(world.clone()));
    nemesis.run(run.schedule).await;

    let healed = sim::now();
    nemesis.heal().await;
    let members = nemesis.members.clone();
    cluster.wait("lost disks to be replaced", PATIENCE, || !members.is_changing()).await;
    nemesis.heal().await;
    sim::pass(Duration::from_millis(500)).await;
    world.end();
    clients.await;
    let nodes = world.agree().await;
    world.outcome().took("recovery after the last fault", sim::now() - healed);
    observer.await;
    for i in &nodes {
        world.replica(*i).await;
    }
    nemesis.settle_rot();
    let mut outcome = world.outcome().clone();
    outcome.trace = cluster.trace();
    outcome.virtual_time = sim::now();
    outcome.count("starts", (0..cluster.size()).map(|i| cluster.starts(i)).sum());
    outcome.count("records removed", nodes.iter().filter_map(|i| Some(cluster.ledger(*i)?.status().first)).sum());
    let watch = watch.lock();
    outcome.count("steps watched", watch.steps);
    outcome.count("changes of nodes checked", watch.changes);
    if plan.retention {
        outcome.count("segments ended by age", watch.rolls.len() as u64);
    }
    outcome
}

impl World {
    /// Writes down what nodes say of themselves, when they say something else.
    async fn observe(self) {
        let mut said = vec![None; self.cluster.size()];
        while !self.is_over() {
            for (i, said) in said.iter_mut().enumerate() {
                let Some(status) = self.status(i) else { continue };
                if said.as_ref() != Some(&status) {
                    self.recorder.record(What::Status(status.clone()));
                    *said = Some(status);
                }
            }
            sim::pass(Duration::from_millis(10)).await;
        }
    }

    fn status(&self, i: usize) -> Option<NodeStatusEvent> {
        let status = self.cluster.ledger(i)?.status();
        let role = match &status.role {
            Role::Master { .. } => "master",
            Role::Slave { .. } => "slave",
            Role::Electing { .. } => "electing",
            Role::Removed { .. } => "removed",
            // The caller has not stopped it.
            Role::Stopped => return None,
            Role::Closed { reason, .. } => {
                assert!(self.plan.disks_fail, "node {i} closed by itself: {reason}");
                // What it shows may be what it failed to save.
                return None;
            }
        };
        Some(NodeStatusEvent {
            node: name(i),
            start: self.cluster.starts(i),
            role: role.into(),
            term: status.role.term().unwrap_or(status.term),
            first: status.first,
            durable: status.durable,
            committed: status.committed,
            end: status.end,
            chain: Some(ChainAt { position: status.committed_position, value: status.committed_chain }),
        })
    }

    /// Waits until a record appended now is everywhere, and nothing else is under way. Returns the members.
    async fn agree(&self) -> Vec<usize> {
        let deadline = sim::now() + PATIENCE;
        let (cluster, recorder) = (&self.cluster, &self.recorder);
        let last = loop {
            assert!(sim::now() < deadline, "no append succeeds after healing: {}", cluster.describe());
            let body = Bytes::from(format!("the end, at {:?}", sim::now()));
            let op = recorder.invoke(LAST_CLIENT, Call::Append { records: vec![Hash::of(&body)], session: None });
            match cluster.append(cluster.master().unwrap_or(0), vec![body]).await {
                Ok(acks) => {
                    recorder.ok(op, Answer::Acked { acks: acks.iter().map(acked).collect() });
                    break acks[0].index;
                }
                Err(error) => {
                    match error.outcome() {
                        dledger::Outcome::Unknown => recorder.unknown(op, error),
                        dledger::Outcome::Refused => recorder.fail(op, error),
                    }
                    sim::pass(Duration::from_millis(50)).await;
                }
            }
        };
        let members = cluster.master().and_then(|master| cluster.ledger(master)).expect("a master").status().members;
        let is_member =
            |i: &usize| members.iter().any(|member| member.voter && member.member.id.to_string() == name(*i));
        let members: Vec<_> = (0..cluster.size()).filter(is_member).collect();
        let have = |i: &usize| cluster.ledger(*i).is_some_and(|ledger| ledger.status().committed > last);
        cluster.wait("all to have the last record", PATIENCE, || members.iter().all(have)).await;
        members
    }

    /// Writes down all that a node has. What has rotted is repaired when it is read, which may take a moment.
    async fn replica(&self, i: usize) {
        let ledger = self.cluster.ledger(i).expect("it runs");
        let (deadline, status) = (sim::now() + PATIENCE, ledger.status());
        let (first, end) = (status.first, status.committed);
        let chain = Some(ChainAt { position: status.committed_position, value: status.committed_chain });
        let mut items = Vec::new();
        while first + (items.len() as u64) < end {
            match ledger.read(first + items.len() as u64..end, ReadLimit::default()).await {
                Ok(records) => items.extend(records.iter().map(item)),
                Err(ReadError::Damaged(damage)) => {
                    assert!(sim::now() < deadline, "node {i} is not repaired: {damage}");
                    sim::pass(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("node {i} cannot be read: {error}"),
            }
        }
        let lines: Vec<_> =
            if items.is_empty() { vec![vec![]] } else { items.chunks(LINE).map(<[_]>::to_vec).collect() };
        for records in lines {
            self.recorder.record(What::Replica(Replica { node: name(i), first, end, chain, records }));
        }
    }
}
