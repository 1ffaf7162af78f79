//! Nodes that are started, crashed, killed and cut off.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use parking_lot::{Mutex, MutexGuard};

use super::clock::SimClock;
use super::network::SimNetwork;
use super::scheduler::{InlineBackground, Pace, SimScheduler};
use super::transport::SimTransport;
use super::{now, pass};
use dledger::config::MIN_SEGMENT_SIZE;
use dledger::seams::{self, Environment, Kept, Rng, Router, SimDisk, World, start_ledger};
use dledger::{Ack, AppendError, Config, Group, Ledger, NodeId, Peer, Peers, ReadLimit, Record, Role, StartError};

/// Virtual time zero, milliseconds since 1970.
const BEGINNING: u64 = 1_700_000_000_000;
/// How far the clocks of the nodes are apart at most, milliseconds.
const SKEW: u64 = 2_000;
/// How long an append may take longer than it said.
const GRACE: Duration = Duration::from_secs(1);

/// A cluster of simulated nodes, numbered from 0. Cheap to clone.
#[derive(Clone)]
pub struct SimCluster(Arc<Inner>);

pub(super) struct Inner {
    pub(super) network: SimNetwork,
    nodes: Mutex<Vec<SimNode>>,
    rng: Mutex<Rng>,
}

pub(super) struct SimNode {
    pub(super) config: Config,
    pub(super) address: String,
    pub(super) disk: SimDisk,
    /// How slow its syncs are.
    pub(super) pace: Arc<Pace>,
    pub(super) clock: Arc<SimClock>,
    running: Option<Running>,
    starts: u64,
    /// Disks that were lost.
    pub(super) disks: u64,
}

#[derive(Clone)]
struct Running {
    ledger: Ledger,
    router: Arc<Router>,
}

impl Drop for Inner {
    /// The wire and the nodes on it hold each other.
    fn drop(&mut self) {
        for node in self.nodes.get_mut() {
            self.network.down(&node.address);
            if let Some(running) = node.running.take() {
                running.router.clear();
            }
        }
    }
}

impl SimCluster {
    /// A cluster of `size` nodes that have never been started. `configure` changes the configuration of all.
    pub fn new(seed: u64, size: usize, configure: impl Fn(&mut Config)) -> Self {
        let mut rng = Rng::new(seed);
        let network = SimNetwork::new(rng.fork());
        let address = |i: usize| format!("n{i}:1");
        let peers = (0..size).map(|i| Peer { id: NodeId::new(i as u64), address: address(i) }).collect();
        let peers = Peers::new(peers).expect("the peers differ");
        let node = |i: usize| {
            let mut config = Config {
                peers: peers.clone(),
                single: size == 1,
                // It reads on a thread of its own, which no seed determines.
                scrub: None,
                groups: vec![group()],
                data_dir: PathBuf::from("/data"),
                segment_size: MIN_SEGMENT_SIZE,
                max_record_bytes: 8 << 10,
                max_batch_bytes: 16 << 10,
                max_inflight_bytes: 256 << 10,
                append_timeout: Duration::from_secs(2),
                heartbeat_interval: Duration::from_millis(50),
                election_timeout: (Duration::from_millis(200), Duration::from_millis(400)),
                stall_timeout: Duration::from_secs(1),
                ..Config::new(NodeId::new(i as u64), address(i))
            };
            configure(&mut config);
            config.validate().expect("a usable configuration");
            let skew = rng.below(SKEW);
            SimNode {
                config,
                address: address(i),
                disk: SimDisk::new(),
                pace: Arc::default(),
                clock: Arc::new(SimClock::new(BEGINNING + skew)),
                running: None,
                starts: 0,
                disks: 0,
            }
        };
        let nodes = (0..size).map(node).collect();
        Self(Arc::new(Inner { network, nodes: Mutex::new(nodes), rng: Mutex::new(rng) }))
    }

    /// Changes the configuration of node `i`, which is down. Its number and its address stay, whatever its id.
    ///
    /// # Panics
    /// If the configuration is not usable then.
    pub fn configure(&self, i: usize, change: impl FnOnce(&mut Config)) {
        let config = &mut self.nodes()[i].config;
        change(config);
        config.validate().expect("a usable configuration");
    }

    pub(super) fn nodes(&self) -> MutexGuard<'_, Vec<SimNode>> {
        self.0.nodes.lock()
    }

    pub(super) fn network(&self) -> &SimNetwork {
        &self.0.network
    }

    /// Number of nodes.
    pub fn size(&self) -> usize {
        self.nodes().len()
    }

    /// Whether node `i` is told of a peer list, and that names nobody else.
    pub fn names_itself_alone(&self, i: usize) -> bool {
        let config = &self.nodes()[i].config;
        !config.peers.is_empty() && config.peers.iter().all(|peer| peer.id == config.id)
    }

    /// Starts node `i` on what its disk holds. Does nothing if it runs.
    ///
    /// # Errors
    /// As a real start.
    pub async fn start(&self, i: usize) -> Result<(), StartError> {
        if self.ledger(i).is_some() {
            return Ok(());
        }
        let (env, config, address, router) = self.prepare(i);
        match start_ledger::<SimRuntime>(&env, &config, &group(), &address, &router).await {
            Ok(ledger) => {
                self.nodes()[i].running = Some(Running { ledger, router });
                Ok(())
            }
            Err(error) => {
                self.0.network.down(&address);
                Err(error)
            }
        }
    }

    fn prepare(&self, i: usize) -> (Environment, Config, String, Arc<Router>) {
        let mut nodes = self.nodes();
        let node = &mut nodes[i];
        node.starts += 1;
        let router = Arc::new(Router::new(node.config.cluster.clone()));
        let life = self.0.network.up(&node.address, router.clone());
        let mut rng = self.0.rng.lock().fork();
        let (clock, incarnation) = (node.clock.clone(), u128::from(rng.draw()) << 64 | u128::from(rng.draw()));
        let world = World {
            disk: Arc::new(node.disk.clone()),
            scheduler: Arc::new(SimScheduler::new(rng, Duration::from_millis(4), node.pace.clone())),
            background: Arc::new(InlineBackground),
            clock: Arc::new(move || clock.now()),
            transport: Arc::new(SimTransport {
                network: self.0.network.clone(),
                from: node.address.clone(),
                life,
                stall: node.config.stall_timeout,
            }),
            incarnation,
        };
        (world.environment(&node.config), node.config.clone(), node.address.clone(), router)
    }

    /// The power of node `i` fails: what it had not synced is lost, or not, by chance.
    pub fn crash(&self, i: usize) {
        self.note(&format!("crash {i}"));
        self.end(i, |disk, rng| disk.crash(rng));
    }

    /// As [`SimCluster::crash`], and nothing is left that it had not synced.
    pub fn crash_hard(&self, i: usize) {
        self.note(&format!("crash hard {i}"));
        self.end(i, |disk, _| disk.lose_power(Kept::Nothing));
    }

    /// Node `i` dies and its disk is lost; it has an empty one when it is started again.
    pub fn wipe(&self, i: usize) {
        // What was done until now is looked at while its disk is there.
        self.0.network.arrived();
        self.kill(i);
        self.note(&format!("wipe {i}"));
        let node = &mut self.nodes()[i];
        (node.disk, node.disks) = (SimDisk::new(), node.disks + 1);
    }

    /// Where node `i` is reached.
    pub fn address(&self, i: usize) -> String {
        self.nodes()[i].address.clone()
    }

    /// The process of node `i` dies. Its disk keeps what was written.
    pub fn kill(&self, i: usize) {
        self.note(&format!("kill {i}"));
        self.end(i, |disk, _| disk.kill());
    }

    fn end(&self, i: usize, next: impl FnOnce(&SimDisk, &mut Rng) -> std::io::Result<SimDisk>) {
        let mut nodes = self.nodes();
        let node = &mut nodes[i];
        node.disk = next(&node.disk, &mut self.0.rng.lock()).expect("memory for a disk");
        self.0.network.down(&node.address);
        if let Some(dead) = node.running.take() {
            dead.router.clear();
            // What is left of it in this process may go on against a dead disk and a dead wire, until it notices.
            drop(SimRuntime::spawn(async move { seams::stop_raft(&dead.ledger).await }));
        }
    }

    /// Stops node `i` as a user would.
    ///
    /// # Errors
    /// If its log could not be closed.
    pub async fn stop(&self, i: usize) -> std::io::Result<()> {
        self.note(&format!("stop {i}"));
        let (address, running) = {
            let mut nodes = self.nodes();
            (nodes[i].address.clone(), nodes[i].running.take())
        };
        let Some(running) = running else { return Ok(()) };
        running.router.clear();
        seams::stop_raft(&running.ledger).await;
        self.0.network.down(&address);
        seams::close_log(&running.ledger)
    }

    /// The ledger on node `i`, while it runs.
    pub fn ledger(&self, i: usize) -> Option<Ledger> {
        self.nodes()[i].running.as_ref().map(|running| running.ledger.clone())
    }

    /// How often node `i` has been started.
    pub fn starts(&self, i: usize) -> u64 {
        self.nodes()[i].starts
    }

    /// What node `i` is, while it runs.
    pub fn role(&self, i: usize) -> Option<Role> {
        self.ledger(i).map(|ledger| ledger.status().role)
    }

    /// The node that is master of the highest term.
    pub fn master(&self) -> Option<usize> {
        let masters = (0..self.size()).filter_map(|i| match self.role(i)? {
            Role::Master { term } => Some((term, i)),
            _ => None,
        });
        masters.max().map(|(_, i)| i)
    }

    /// Appends on node `i`, as atomically as a batch is.
    ///
    /// # Errors
    /// As [`Ledger::append_batch`]. A node that is down refuses.
    ///
    /// # Panics
    /// If a node that runs does not answer in time.
    pub async fn append(&self, i: usize, records: Vec<Bytes>) -> Result<Vec<Ack>, AppendError> {
        let (running, starts, bound) = {
            let node = &self.nodes()[i];
            (node.running.clone(), node.starts, node.config.append_timeout + GRACE)
        };
        let Some(running) = running else { return Err(AppendError::Closed { reason: "the node is down".into() }) };
        let outcome = match SimRuntime::timeout(bound, running.ledger.append_batch(records)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let alive = self.ledger(i).is_some() && self.starts(i) == starts;
                assert!(!alive, "node {i} has not answered an append within {bound:?}");
                Err(AppendError::Unknown { reason: "the node died".into() })
            }
        };
        self.note(&format!("append {i} {outcome:?}"));
        outcome
    }

    /// The records committed on node `i`, from index `from` on; nothing if it is down.
    ///
    /// # Panics
    /// If they cannot be read.
    pub async fn committed(&self, i: usize, from: u64) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        let Some(ledger) = self.ledger(i) else { return all };
        loop {
            let next = from + all.len() as u64;
            if ledger.status().committed <= next {
                return all;
            }
            match ledger.read(next.., ReadLimit::default()).await {
                Ok(some) => all.extend(some),
                Err(error) => panic!("node {i} cannot read index {next}: {error}"),
            }
        }
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// If it does not within `bound` of virtual time.
    pub async fn wait(&self, what: &str, bound: Duration, condition: impl Fn() -> bool) {
        let deadline = now() + bound;
        while !condition() {
            assert!(now() < deadline, "not within {bound:?}: {what}. {}", self.describe());
            pass(Duration::from_millis(10)).await;
        }
    }

    /// All nodes in a line, for messages.
    pub fn describe(&self) -> String {
        let node = |i: usize| match self.ledger(i) {
            Some(ledger) => {
                let s = ledger.status();
                format!("n{i}: {:?} committed {} durable {} end {}", s.role, s.committed, s.durable, s.end)
            }
            None => format!("n{i}: down"),
        };
        (0..self.size()).map(node).collect::<Vec<_>>().join("; ")
    }

    /// A hash of everything that has happened, and the number of events.
    pub fn trace(&self) -> (u64, u64) {
        let trace = self.0.network.trace();
        (trace.hash, trace.events)
    }

    /// Calls `look` for every message that arrives, before its receiver gets it: after all that the
    /// messages before it brought about. There can be one.
    pub fn observe(&self, look: impl Fn(&Self) + Send + Sync + 'static) {
        let inner = Arc::downgrade(&self.0);
        self.0.network.observe(Box::new(move || {
            if let Some(inner) = inner.upgrade() {
                look(&Self(inner));
            }
        }));
    }

    /// Adds an event to the trace.
    pub fn note(&self, what: &str) {
        self.0.network.note(what, &[]);
    }
}

pub(super) fn group() -> Group {
    "g".parse().expect("a group's name")
}
