//! A node of the cluster: its configuration, its disk, its process while there is one.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dledger::{Config, Ledger, Node, NodeId, Peers};
use dledger_sim::Rng;
use dledger_sim::wire::{self, Disk, World};
use parking_lot::{Mutex, MutexGuard};

use super::net::{Listener, Meter, Silent, Wire};

/// The ledger.
pub const GROUP: &str = "g";
/// Simulated time zero, milliseconds since 1970.
const BEGINNING: u64 = 1_700_000_000_000;
/// How far the clocks of the nodes are apart at most, milliseconds.
const SKEW: u64 = 2_000;

/// A node. Its host in turmoil has its name.
pub struct WireNode {
    /// Its name, which is its id as well.
    pub name: String,
    /// Its connections.
    pub meter: Arc<Meter>,
    config: Config,
    silent: Silent,
    skew: u64,
    /// Simulated milliseconds.
    time: Arc<AtomicU64>,
    state: Mutex<State>,
}

struct State {
    disk: Disk,
    /// Whether its process is to run.
    up: bool,
    starts: u64,
    node: Option<Node>,
    rng: Rng,
}

impl WireNode {
    pub(super) fn new(
        number: u64,
        peers: Peers,
        time: Arc<AtomicU64>,
        silent: Silent,
        mut rng: Rng,
        configure: impl Fn(&mut Config),
    ) -> Self {
        let mut config = Config {
            peers,
            groups: vec![GROUP.parse().unwrap()],
            // It reads on a thread of its own, which no seed determines.
            scrub: None,
            data_dir: PathBuf::from("/data"),
            segment_size: 1 << 20,
            max_record_bytes: 256 << 10,
            max_batch_bytes: 256 << 10,
            max_inflight_bytes: 1 << 20,
            append_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(50),
            election_timeout: (Duration::from_millis(250), Duration::from_millis(500)),
            stall_timeout: Duration::from_secs(1),
            ..Config::new(NodeId::new(number), format!("n{number}:{}", super::net::PORT))
        };
        configure(&mut config);
        let skew = rng.below(SKEW);
        let state = State { disk: Disk::default(), up: true, starts: 0, node: None, rng };
        let (name, meter, state) = (config.id.to_string(), Arc::default(), Mutex::new(state));
        Self { name, meter, config, silent, skew, time, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What runs on its host: the process, or nothing.
    pub(super) async fn run(self: Arc<Self>) -> turmoil::Result {
        let Some((disk, seed)) = self.begin() else { return pending().await };
        let listener = Listener::bind(self.meter.clone()).await?;
        let (time, skew) = (self.time.clone(), self.skew);
        let clock = Arc::new(move || BEGINNING + skew + time.load(Ordering::Relaxed));
        let wire = Wire { host: self.name.clone(), meter: self.meter.clone(), silent: self.silent.clone() };
        let connect = Arc::new(wire);
        let node = wire::serve(self.config.clone(), listener, World { disk, connect, clock, seed }).await?;
        self.state().node = Some(node);
        pending().await
    }

    /// The process begins, if there is to be one: its disk and its seed.
    fn begin(&self) -> Option<(Disk, u64)> {
        let mut state = self.state();
        if !state.up {
            return None;
        }
        state.starts += 1;
        Some((state.disk.clone(), state.rng.draw()))
    }

    /// The process ends, and the next one finds another disk. What is returned goes after the process has.
    pub(super) fn end(&self, next: impl FnOnce(&Disk, &mut Rng) -> std::io::Result<Disk>) -> Option<Node> {
        let State { disk, up, node, rng, .. } = &mut *self.state();
        *disk = next(disk, rng).expect("memory for a disk");
        *up = false;
        node.take()
    }

    /// From now on its process is to run.
    pub(super) fn raise(&self) {
        self.state().up = true;
    }

    /// How often its process was started.
    pub fn starts(&self) -> u64 {
        self.state().starts
    }

    /// Its process, once it serves.
    pub fn node(&self) -> Option<Node> {
        self.state().node.clone()
    }

    /// Its ledger.
    pub fn ledger(&self) -> Option<Ledger> {
        self.node()?.ledger(GROUP).ok()
    }
}
