//! Nodes and clients on turmoil's network, and what may be done to them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dledger::{Config, NodeId, Peer, Peers, Role};
use dledger_history::{Begin, ChainAt, FORMAT, FaultEvent, FaultPhase, NodeStatusEvent, Recorder, What};
use dledger_sim::Rng;
use parking_lot::Mutex;
use turmoil::{Builder, Sim};

use super::net::{PORT, Silent};
use super::node::WireNode;
use super::packets::{Count, Packets};

/// How much time a step takes. Packets arrive, and tasks wake, at steps.
const STEP: Duration = Duration::from_millis(1);
/// How often the statuses of the nodes are written down.
const STATUS: u64 = 100;
/// Slower than any packet in a network that is well.
pub(super) const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Time in the simulation that runs on this thread, since its beginning.
pub fn now() -> Duration {
    NOW.get()
}

/// A cluster in a simulated network.
pub struct Cluster<'a> {
    pub(super) sim: Sim<'a>,
    /// The nodes.
    pub nodes: Vec<Arc<WireNode>>,
    /// Where everything is written down.
    pub recorder: Recorder,
    /// What is left to chance.
    pub rng: Rng,
    packets: Packets,
    /// Links on which packets are lost.
    pub(super) silent: Silent,
    lines: Lines,
    time: Arc<AtomicU64>,
    steps: u64,
    faults: u64,
    clients: Vec<String>,
    _subscriber: tracing::subscriber::DefaultGuard,
}

/// What the recorder has written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A fault that is there.
#[must_use = "a fault that is not removed makes the history invalid"]
pub struct Fault {
    number: u64,
    kind: &'static str,
    nodes: Vec<String>,
}

impl Cluster<'_> {
    /// A cluster of `size` nodes, which start with the first step.
    pub fn new(run: &str, seed: u64, size: u64) -> Self {
        Self::apart(run, seed, size, LATENCY, |_| {})
    }

    /// As [`Cluster::new`]. Packets take from `latency.0` to `latency.1`; `configure` changes the configuration of all.
    pub fn apart(
        run: &str,
        seed: u64,
        size: u64,
        latency: (Duration, Duration),
        configure: impl Fn(&mut Config),
    ) -> Self {
        let packets = Packets::default();
        let subscriber = tracing::subscriber::set_default(packets.clone());
        let mut rng = Rng::new(seed);
        let mut sim = Builder::new()
            .rng_seed(rng.draw())
            .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .simulation_duration(Duration::from_secs(24 * 3600))
            .tick_duration(STEP)
            .tcp_capacity(256)
            .min_message_latency(latency.0)
            .max_message_latency(latency.1)
            .build();
        let time = Arc::new(AtomicU64::new(0));
        let lines = Lines::default();
        let recorder = Recorder::new(lines.clone(), moments(time.clone()));
        let peers: Vec<_> = (0..size).map(|n| Peer { id: NodeId::new(n), address: format!("n{n}:{PORT}") }).collect();
        let peers = Peers::new(peers).expect("the peers differ");
        let silent = Silent::default();
        let node = |n| {
            let (peers, time, silent) = (peers.clone(), time.clone(), silent.clone());
            Arc::new(WireNode::new(n, peers, time, silent, rng.fork(), &configure))
        };
        let nodes: Vec<_> = (0..size).map(node).collect();
        for node in &nodes {
            let software = node.clone();
            sim.host(node.name.as_str(), move || software.clone().run());
        }
        recorder.record(What::Begin(Begin {
            format: FORMAT,
            run: run.to_owned(),
            seed: Some(seed),
            replay: Some(format!("DLEDGER_SEED={seed} cargo test -p dledger-faults --test wire {run}")),
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            retention: false,
        }));
        let clients = Vec::new();
        Self {
            sim,
            nodes,
            recorder,
            rng,
            packets,
            silent,
            lines,
            time,
            steps: 0,
            faults: 0,
            clients,
            _subscriber: subscriber,
        }
    }

    /// The peers, for clients.
    pub fn peers(&self) -> Peers {
        let peer =
            |(n, node): (u64, &Arc<WireNode>)| Peer { id: NodeId::new(n), address: format!("{}:{PORT}", node.name) };
        Peers::new((0..).zip(&self.nodes).map(peer).collect()).expect("the peers differ")
    }

    /// Runs a client on a host of its own.
    pub fn client(&mut self, name: &str, client: impl Future<Output = ()> + 'static) {
        self.clients.push(name.to_owned());
        self.sim.client(name, async move {
            client.await;
            Ok(())
        });
    }

    /// Simulated time since the beginning.
    pub fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// One step; whether all clients have ended.
    ///
    /// # Panics
    /// If a node cannot start.
    pub fn step(&mut self) -> bool {
        let ended = self.sim.step().unwrap_or_else(|error| panic!("at {:?}: {error}", self.now()));
        self.time.store(self.now().as_millis() as u64, Ordering::Relaxed);
        NOW.set(self.now());
        self.steps += 1;
        if self.steps.is_multiple_of(STATUS) {
            self.note_statuses();
        }
        ended
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.step();
        }
    }

    /// Lets time pass: the first number of milliseconds, and up to the second number more.
    pub fn pass_some(&mut self, least: u64, spread: u64) {
        let more = self.rng.below(spread);
        self.pass(Duration::from_millis(least + more));
    }

    /// Waits until `condition` holds; how long that took.
    ///
    /// # Panics
    /// If it does not within `bound`.
    pub fn wait(&mut self, what: &str, bound: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now();
        while !condition(self) {
            assert!(self.now() < began + bound, "not within {bound:?}: {what}. {}", self.describe());
            self.step();
        }
        self.now() - began
    }

    /// The node that is master of the highest term.
    pub fn master(&self) -> Option<usize> {
        let masters = self.nodes.iter().enumerate().filter_map(|(i, node)| match node.ledger()?.status().role {
            Role::Master { term } => Some((term, i)),
            _ => None,
        });
        masters.max().map(|(_, i)| i)
    }

    /// Waits for a master among `nodes`.
    ///
    /// # Panics
    /// If there is none within 10 s.
    pub fn wait_for_master(&mut self, nodes: &[usize]) -> usize {
        let found = |cluster: &Self| cluster.master().filter(|master| nodes.contains(master));
        self.wait("a master", Duration::from_secs(10), |cluster| found(cluster).is_some());
        found(self).expect("it was there a moment ago")
    }

    /// All node numbers but `i`.
    pub fn others(&self, i: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| *other != i).collect()
    }

    /// The hosts of the clients.
    pub fn client_hosts(&self) -> Vec<String> {
        self.clients.clone()
    }

    /// The name of node `i`, which is that of its host.
    pub fn name(&self, i: usize) -> String {
        self.nodes[i].name.clone()
    }

    /// Packets from one host to another so far.
    pub fn packets(&self, from: &str, to: &str) -> Count {
        let address = |name: &str| self.sim.lookup(name).to_string();
        self.packets.between(&address(from), &address(to))
    }

    /// A fault is there from now on.
    pub fn installed(&mut self, kind: &'static str, nodes: Vec<String>) -> Fault {
        let fault = Fault { number: self.faults, kind, nodes };
        self.faults += 1;
        self.phase(&fault, FaultPhase::Installed, String::new());
        fault
    }

    /// A fault did something.
    pub fn observed(&self, fault: &Fault, evidence: String) {
        self.phase(fault, FaultPhase::Observed, evidence);
    }

    /// A fault is gone.
    pub fn removed(&self, fault: Fault) {
        self.phase(&fault, FaultPhase::Removed, String::new());
    }

    fn phase(&self, fault: &Fault, phase: FaultPhase, evidence: String) {
        let Fault { number, kind, nodes } = fault;
        let (kind, nodes) = ((*kind).to_owned(), nodes.clone());
        self.recorder.record(What::Fault(FaultEvent { fault: *number, kind, nodes, phase, evidence }));
    }

    fn note_statuses(&self) {
        for node in &self.nodes {
            let Some(ledger) = node.ledger() else { continue };
            let status = ledger.status();
            let chain = ChainAt { position: status.committed_position, value: status.committed_chain };
            self.recorder.record(What::Status(NodeStatusEvent {
                node: node.name.clone(),
                start: node.starts(),
                role: status.role.name().to_owned(),
                term: status.term,
                first: status.first,
                durable: status.durable,
                committed: status.committed,
                end: status.end,
                chain: Some(chain),
            }));
        }
    }

    /// All nodes in a line, for messages.
    pub fn describe(&self) -> String {
        let node = |node: &Arc<WireNode>| match node.ledger() {
            Some(ledger) => {
                let s = ledger.status();
                let (name, open) = (&node.name, node.meter.open());
                format!("{name}: {:?} committed {} end {}, {open} connections", s.role, s.committed, s.end)
            }
            None => format!("{}: down", node.name),
        };
        let nodes: Vec<_> = self.nodes.iter().map(node).collect();
        format!("At {:?}: {}", self.now(), nodes.join("; "))
    }

    /// The history so far.
    pub fn history(&self) -> String {
        self.recorder.finish().expect("memory for the history");
        let bytes = self.lines.0.lock().clone();
        String::from_utf8(bytes).expect("JSON")
    }

    /// How many faults of each kind.
    pub fn count_faults(&self, events: &[dledger_history::Event]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for event in events {
            if let What::Fault(FaultEvent { kind, phase: FaultPhase::Installed, .. }) = &event.what {
                *counts.entry(kind.clone()).or_default() += 1;
            }
        }
        counts
    }
}

/// Nanoseconds of simulated time; no two moments are the same. One thread runs everything: what happens first there
/// happens first.
fn moments(time: Arc<AtomicU64>) -> impl Fn() -> u64 + Send + Sync {
    let last = AtomicU64::new(0);
    move || {
        let now = turmoil::sim_elapsed().unwrap_or(Duration::from_millis(time.load(Ordering::Relaxed)));
        let next = (now.as_nanos() as u64).max(last.load(Ordering::Relaxed) + 1);
        last.store(next, Ordering::Relaxed);
        next
    }
}
