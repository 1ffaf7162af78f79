//! Nodes that are started, crashed, killed and cut off.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use tokio::sync::watch;

use super::disk::{Op, SimDisk};
use super::file::lock;
use super::network::SimNetwork;
use super::rng::Rng;
use super::scheduler::{InlineBackground, SimScheduler};
use super::transport::SimTransport;
use super::{now, pass};
use crate::config::{Config, MIN_SEGMENT_SIZE};
use crate::disk::Disk;
use crate::error::{AppendError, StartError};
use crate::node::Ledger;
use crate::node::start::{Environment, start_ledger};
use crate::raft::pacer::Pacer;
use crate::rpc::router::Router;
use crate::types::{Ack, Group, Incarnation, NodeId, Peer, Peers, ReadLimit, Record, Role};

/// Virtual time zero, milliseconds since 1970.
const BEGINNING: u64 = 1_700_000_000_000;
/// How far the clocks of the nodes are apart at most, milliseconds.
const SKEW: u64 = 2_000;
/// How long an append may take longer than it said.
const GRACE: Duration = Duration::from_secs(1);

/// A cluster of simulated nodes, numbered from 0. Cheap to clone.
#[derive(Clone)]
pub struct SimCluster(Arc<Inner>);

struct Inner {
    network: SimNetwork,
    nodes: Mutex<Vec<SimNode>>,
    rng: Mutex<Rng>,
}

struct SimNode {
    config: Config,
    address: String,
    disk: SimDisk,
    /// Whether its syncs hang.
    hangs: watch::Sender<bool>,
    /// Its clock is so much ahead.
    skew: u64,
    running: Option<Running>,
    starts: u64,
}

#[derive(Clone)]
struct Running {
    ledger: Ledger,
    router: Arc<Router>,
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
                hangs: watch::Sender::new(false),
                skew,
                running: None,
                starts: 0,
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

    fn nodes(&self) -> MutexGuard<'_, Vec<SimNode>> {
        lock(&self.0.nodes)
    }

    /// Number of nodes.
    pub fn size(&self) -> usize {
        self.nodes().len()
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
        let mut rng = lock(&self.0.rng).fork();
        let (skew, incarnation) = (node.skew, u128::from(rng.draw()) << 64 | u128::from(rng.draw()));
        let env = Environment {
            disk: Arc::new(node.disk.clone()),
            scheduler: Arc::new(SimScheduler::new(rng, Duration::from_millis(4), node.hangs.subscribe())),
            background: Arc::new(InlineBackground),
            clock: Arc::new(move || BEGINNING + skew + now().as_millis() as u64),
            transport: Arc::new(SimTransport {
                network: self.0.network.clone(),
                from: node.address.clone(),
                life,
                stall: node.config.stall_timeout,
            }),
            pacer: Arc::new(Pacer::new(&node.config)),
            incarnation: Arc::new(move || Incarnation::from_u128(incarnation)),
        };
        (env, node.config.clone(), node.address.clone(), router)
    }

    /// The power of node `i` fails: what it had not synced is lost, or not, by chance.
    pub fn crash(&self, i: usize) {
        self.note(&format!("crash {i}"));
        self.end(i, |disk, rng| disk.crash(rng));
    }

    /// Node `i` dies and its disk is lost; it has an empty one when it is started again.
    pub fn wipe(&self, i: usize) {
        self.kill(i);
        self.note(&format!("wipe {i}"));
        self.nodes()[i].disk = SimDisk::new();
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
        node.disk = next(&node.disk, &mut lock(&self.0.rng)).expect("memory for a disk");
        self.0.network.down(&node.address);
        if let Some(dead) = node.running.take() {
            dead.router.clear();
            // What is left of it in this process may go on against a dead disk and a dead wire, until it notices.
            drop(SimRuntime::spawn(async move { dead.ledger.raft_group().stop().await }));
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
        running.ledger.raft_group().stop().await;
        self.0.network.down(&address);
        running.ledger.raft_group().log.close()
    }

    /// Has a later sync on node `i` fail, after `n` that succeed.
    pub fn fail_sync(&self, i: usize, n: u64) {
        self.note(&format!("fail sync {i} {n}"));
        self.nodes()[i].disk.fail_nth(Op::Sync, n, std::io::ErrorKind::Other);
    }

    /// The syncs of node `i` hang from now on, or go on. Votes are saved all the same.
    pub fn hang_syncs(&self, i: usize, hang: bool) {
        self.note(&format!("hang {i} {hang}"));
        self.nodes()[i].hangs.send_replace(hang);
    }

    /// Has a later creation of a file on node `i` find the disk full, after `n` that succeed.
    pub fn fill_disk(&self, i: usize, n: u64) {
        self.note(&format!("fill disk {i} {n}"));
        self.nodes()[i].disk.fail_nth(Op::Create, n, std::io::ErrorKind::StorageFull);
    }

    /// The files of node `i` may have so many bytes in all from now on; `None`: no end of them.
    pub fn set_capacity(&self, i: usize, bytes: Option<u64>) {
        self.note(&format!("capacity {i} {bytes:?}"));
        self.nodes()[i].disk.set_capacity(bytes);
    }

    /// Bytes that the files of node `i` have.
    pub fn used(&self, i: usize) -> u64 {
        self.nodes()[i].disk.used()
    }

    /// The bytes of the segment files of node `i`, by position.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn segments(&self, i: usize) -> BTreeMap<u64, Vec<u8>> {
        let node = &self.nodes()[i];
        let dir = node.config.data_dir.join(group().as_str());
        let names = node.disk.list(&dir).expect("a directory");
        let positions = names.into_iter().filter(|name| name.len() == 20);
        let read = |name: String| {
            let bytes = node.disk.read(&dir.join(&name)).expect("a segment");
            (name.parse().expect("a position"), bytes)
        };
        positions.map(read).collect()
    }

    /// Bits rot on the disk of node `i`, which is down, at a position of its ledger.
    ///
    /// # Panics
    /// If no segment is there.
    pub fn rot(&self, i: usize, position: u64) {
        let node = &self.nodes()[i];
        let size = node.config.segment_size;
        let path = node.config.data_dir.join(group().as_str()).join(format!("{:020}", position / size * size));
        let file = node.disk.open(&path).expect("a segment");
        let mut byte = [0];
        file.read_at(&mut byte, position % size).expect("a byte");
        file.write_at(&[byte[0] ^ 0x40], position % size).and_then(|()| file.sync()).expect("a disk that works");
    }

    /// No disk fails any more.
    pub fn mend_disks(&self) {
        self.nodes().iter().for_each(|node| node.disk.mend());
    }

    /// Messages from `from` to `to` are lost from now on.
    pub fn cut(&self, from: usize, to: usize) {
        let nodes = self.nodes();
        self.0.network.cut(&nodes[from].address, &nodes[to].address);
    }

    /// Cuts node `i` off from all others, both ways.
    pub fn isolate(&self, i: usize) {
        for other in (0..self.size()).filter(|other| *other != i) {
            self.cut(i, other);
            self.cut(other, i);
        }
    }

    /// Messages from node `from` to node `to` take so much longer from now on.
    pub fn delay(&self, from: usize, to: usize, by: Duration) {
        let nodes = self.nodes();
        self.0.network.delay(&nodes[from].address, &nodes[to].address, by);
    }

    /// A firewall resets the connections of node `i` and refuses new ones: to the others it seems dead.
    pub fn shun(&self, i: usize) {
        self.0.network.shun(&self.nodes()[i].address);
    }

    /// Mends all links and loses no message any more.
    pub fn heal(&self) {
        self.0.network.heal();
        self.0.network.lose(0);
    }

    /// Loses `per_mille` of 1000 messages from now on.
    pub fn lose(&self, per_mille: u64) {
        self.note(&format!("lose {per_mille}"));
        self.0.network.lose(per_mille);
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

    /// Adds an event to the trace.
    pub fn note(&self, what: &str) {
        self.0.network.note(what, &[]);
    }
}

fn group() -> Group {
    "g".parse().expect("a group's name")
}
