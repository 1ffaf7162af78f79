//! Clients append while a nemesis does its worst; then all must agree.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dledger::sim::{self, Rng, SimCluster};
use dledger::{Durability, Retention, Role};

use super::history::History;
use super::{Outcome, nemesis, operator};

/// What happens.
#[derive(Clone)]
pub(super) struct Chaos {
    pub(super) durability: Durability,
    pub(super) power_loss: bool,
    pub(super) disk_faults: bool,
    /// Every node keeps three segments and is asked to remove more, now and then.
    pub(super) retention: bool,
    /// Disks are lost and replaced, and the leadership is handed about.
    pub(super) churn: bool,
    pub(super) faults: u64,
    pub(super) clients: u64,
}

/// Power fails, processes die, links are cut, messages get lost; every ack is on the disks of a quorum.
pub(super) const POWER_LOSS: Chaos = Chaos {
    durability: Durability::Sync,
    power_loss: true,
    disk_faults: false,
    retention: false,
    churn: false,
    faults: 14,
    clients: 4,
};
pub(super) const FAILING_DISKS: Chaos = Chaos { disk_faults: true, ..POWER_LOSS };
pub(super) const KILLS_INTERVAL: Chaos =
    Chaos { durability: Durability::Interval(Duration::from_millis(100)), power_loss: false, ..POWER_LOSS };
pub(super) const RETENTION: Chaos = Chaos { retention: true, faults: 20, ..POWER_LOSS };
pub(super) const RETENTION_FAILING_DISKS: Chaos = Chaos { retention: true, disk_faults: true, ..POWER_LOSS };
pub(super) const LOST_DISKS: Chaos = Chaos { churn: true, faults: 20, ..POWER_LOSS };

/// Three nodes.
const NODES: usize = 3;
/// How long all may take to agree after the last fault.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct World {
    cluster: SimCluster,
    history: Arc<Mutex<History>>,
    over: Arc<Mutex<bool>>,
    plan: Chaos,
}

/// Runs one simulation and checks every law. Panics if one is broken.
pub(super) fn run(seed: u64, plan: &Chaos, _history: Option<&Path>) -> Outcome {
    sim::run(seed, simulate(seed, plan.clone()))
}

async fn simulate(seed: u64, plan: Chaos) -> Outcome {
    let cluster = SimCluster::new(seed, NODES, |config| {
        config.durability = plan.durability;
        let (max_bytes, every) = (Some(3 * config.segment_size), Duration::from_millis(300));
        config.retention = plan.retention.then(|| Retention { max_bytes, every, ..Retention::default() });
    });
    let mut rng = Rng::new(!seed);
    for i in 0..NODES {
        nemesis::start(&cluster, i).await;
    }
    cluster.wait("the first master", PATIENCE, || cluster.master().is_some()).await;
    let world = World { cluster: cluster.clone(), history: Arc::default(), over: Arc::default(), plan: plan.clone() };
    let observer = sim::spawn(world.clone().observe());
    let clients: Vec<_> = (0..plan.clients).map(|id| sim::spawn(world.clone().client(id, rng.fork()))).collect();
    let clients = futures::future::join_all(clients);
    let (faults_over, churn) = (Arc::new(AtomicBool::new(false)), plan.churn);
    let operator = churn.then(|| {
        let over = faults_over.clone();
        sim::spawn(operator::run(cluster.clone(), rng.fork(), move || over.load(Ordering::Relaxed)))
    });
    sim::spawn(nemesis::run(cluster.clone(), rng.fork(), plan)).await;
    faults_over.store(true, Ordering::Relaxed);

    let healed = sim::now();
    cluster.heal();
    cluster.mend_disks();
    for i in 0..NODES {
        if matches!(cluster.role(i), Some(Role::Closed { .. })) {
            cluster.crash(i);
        }
        nemesis::start(&cluster, i).await;
    }
    let done = match operator {
        Some(operator) => sim::within(PATIENCE, operator).await.expect("what was lost is replaced in the end"),
        None => operator::Done::default(),
    };
    sim::pass(Duration::from_secs(2)).await;
    *world.over() = true;
    clients.await;
    world.agree().await;
    let slowest_recovery = sim::now() - healed;
    observer.await;
    world.check().await;
    let history = world.history();
    let mut outcome = Outcome { trace: cluster.trace(), virtual_time: sim::now(), ..Outcome::default() };
    outcome.count("records acknowledged", history.acked);
    outcome.count("unknown", history.unknown);
    outcome.count("refused", history.refused);
    outcome.count("starts", (0..NODES).map(|i| cluster.starts(i)).sum());
    outcome.count("disks replaced", done.replaced);
    outcome.count("transfers", done.transferred);
    outcome.count("removed", (0..NODES).filter_map(|i| Some(cluster.ledger(i)?.status().first)).sum());
    outcome.took("recovery after the last fault", slowest_recovery);
    outcome
}

impl World {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> MutexGuard<'_, bool> {
        self.over.lock().unwrap()
    }

    /// Appends unique records, alone and in batches, mostly where the master is.
    async fn client(self, id: u64, mut rng: Rng) {
        let mut sent = 0;
        while !*self.over() {
            let node = match self.cluster.master() {
                Some(master) if rng.chance(900) => master,
                _ => rng.below(NODES as u64) as usize,
            };
            let count = if rng.chance(200) { 2 + rng.below(4) } else { 1 };
            let record = |n| {
                let size = if rng.chance(100) { rng.below(3000) } else { rng.below(300) } as usize;
                Bytes::from(format!("{:.<size$}", format!("client {id} record {n}")))
            };
            let bodies: Vec<_> = (sent..sent + count).map(record).collect();
            sent += count;
            let called = sim::now();
            let outcome = self.cluster.append(node, bodies.clone()).await;
            let wait = Duration::from_micros(rng.below(if outcome.is_ok() { 20_000 } else { 50_000 }));
            self.history().answered(bodies, called, outcome);
            sim::pass(wait).await;
        }
    }

    /// Looks at every node again and again.
    async fn observe(self) {
        while !*self.over() {
            self.look().await;
            sim::pass(Duration::from_millis(5)).await;
        }
    }

    async fn look(&self) {
        for i in 0..NODES {
            let Some(ledger) = self.cluster.ledger(i) else { continue };
            let status = ledger.status();
            let upto = self.history().upto(&self.cluster, i).max(status.first);
            if let Role::Closed { .. } = status.role {
                self.history().look(i, &status.role, status.term, &[], self.plan.disk_faults);
                continue;
            }
            let records = self.cluster.committed(i, upto).await;
            self.history().look(i, &status.role, status.term, &records, self.plan.disk_faults);
        }
    }

    /// Waits until a record appended now is everywhere, and nothing else is under way.
    async fn agree(&self) {
        let deadline = sim::now() + PATIENCE;
        let last = loop {
            assert!(sim::now() < deadline, "no append succeeds after healing: {}", self.cluster.describe());
            let bodies = vec![Bytes::from(format!("the end, at {:?}", sim::now()))];
            let (called, node) = (sim::now(), self.cluster.master().unwrap_or(0));
            let outcome = self.cluster.append(node, bodies.clone()).await;
            let index = outcome.as_ref().ok().map(|acks| acks[0].index);
            self.history().answered(bodies, called, outcome);
            match index {
                Some(index) => break index,
                None => sim::pass(Duration::from_millis(50)).await,
            }
        };
        let have = |i| self.cluster.ledger(i).is_some_and(|ledger| ledger.status().committed > last);
        self.cluster.wait("all to have the last record", PATIENCE, || (0..NODES).all(have)).await;
    }

    async fn check(&self) {
        self.look().await;
        let status = |i: usize| self.cluster.ledger(i).expect("it runs").status();
        let log = self.cluster.committed(0, status(0).first).await;
        let place = |i: usize| {
            let status = status(i);
            (status.committed, status.committed_position, status.committed_chain)
        };
        for i in 1..NODES {
            assert_eq!(place(i), place(0), "the replicas end alike");
            // Each begins where it will.
            let from = status(0).first.max(status(i).first);
            let theirs = self.cluster.committed(i, from).await;
            assert!(theirs[..] == log[(from - status(0).first) as usize..], "the replicas are alike");
        }
        self.history().check(&log);
    }
}
