//! A simulated network: who is up, which links are cut, and what becomes of each message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use openraft::Instant;
use openraft_rt_sim::SimInstant;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use dledger::seams::{Rng, Router, Trace};

/// The network of one simulated world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimNetwork {
    world: Arc<Mutex<World>>,
    /// Told of every message that arrives.
    observer: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

/// What became of messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// All of them.
    pub sent: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost on links that were cut.
    pub cut: u64,
    /// Took longer because their link was slow.
    pub late: u64,
    /// Took so much longer, by chance, that others overtook them; on a stream all behind it wait.
    pub disordered: u64,
    /// Unary calls that arrived a second time.
    pub duplicated: u64,
}

/// What goes wrong with messages by chance, of 1000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noise {
    /// Thousandths of all messages that are lost.
    pub loss: u64,
    /// Thousandths of unary calls that arrive twice, as when a layer under gRPC tries again.
    pub duplication: u64,
    /// Thousandths of messages that take much longer than the rest.
    pub disorder: u64,
}

/// How much longer a message takes at most that is out of order.
const DISORDER: Duration = Duration::from_millis(120);

pub(super) struct World {
    rng: Rng,
    trace: Trace,
    up: BTreeMap<String, Host>,
    lives: u64,
    /// Directed: `(from, to)`, and how often they were cut.
    cut: BTreeMap<(String, String), Cut>,
    /// Who seems dead while it lives: its connections are reset and refused.
    shunned: BTreeSet<String>,
    /// Directed: messages take so much longer.
    late: BTreeMap<(String, String), Duration>,
    noise: Noise,
    traffic: Traffic,
    /// No message takes longer.
    slowest: Duration,
    connections: Vec<Weak<Connection>>,
}

#[derive(Default)]
struct Cut {
    /// By how much.
    by: u32,
    /// Messages that were lost here.
    lost: u64,
}

#[derive(Clone)]
struct Host {
    life: u64,
    router: Arc<Router>,
}

/// What becomes of a message.
pub(super) enum Fate {
    /// It arrives after this time.
    Arrives(Duration),
    /// It never does, and nobody is told.
    Lost,
}

impl SimNetwork {
    pub(crate) fn new(rng: Rng) -> Self {
        let world = World {
            rng,
            trace: Trace::new(),
            up: BTreeMap::new(),
            lives: 0,
            cut: BTreeMap::new(),
            shunned: BTreeSet::new(),
            late: BTreeMap::new(),
            noise: Noise::default(),
            traffic: Traffic::default(),
            slowest: Duration::from_millis(5),
            connections: Vec::new(),
        };
        Self { world: Arc::new(Mutex::new(world)), observer: Arc::default() }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Calls one observer for every message that arrives, before its receiver gets it.
    pub(super) fn observe(&self, observer: Box<dyn Fn() + Send + Sync>) {
        assert!(self.observer.set(observer).is_ok(), "somebody observes already");
    }

    /// A message arrives, or something else will have changed what there is to see.
    pub(super) fn arrived(&self) {
        if let Some(observer) = self.observer.get() {
            observer();
        }
    }

    /// A node begins to listen. Returns its life, which its transport needs.
    pub(crate) fn up(&self, address: &str, router: Arc<Router>) -> u64 {
        let mut world = self.world();
        world.lives += 1;
        let life = world.lives;
        world.up.insert(address.to_owned(), Host { life, router });
        world.note(&format!("up {address}"), &[]);
        life
    }

    /// A node is gone: its connections break, and what it still sends reaches nobody.
    pub(crate) fn down(&self, address: &str) {
        self.world().up.remove(address);
        self.note(&format!("down {address}"), &[]);
        self.break_connections(|from, to| from == address || to == address);
    }

    /// Cuts the direction from `from` to `to`.
    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.world().cut.entry((from.to_owned(), to.to_owned())).or_default().by += 1;
        self.note(&format!("cut {from} {to}"), &[]);
    }

    /// Mends the direction from `from` to `to`, unless it was cut more often than it was mended.
    pub(crate) fn mend(&self, from: &str, to: &str) {
        if let Some(cut) = self.world().cut.get_mut(&(from.to_owned(), to.to_owned())) {
            cut.by = cut.by.saturating_sub(1);
        }
        self.note(&format!("mend {from} {to}"), &[]);
    }

    /// Messages that were lost so far because the direction from `from` to `to` was cut.
    pub(crate) fn lost_on(&self, from: &str, to: &str) -> u64 {
        self.world().cut.get(&(from.to_owned(), to.to_owned())).map_or(0, |cut| cut.lost)
    }

    /// Messages from `from` to `to` take so much longer from now on.
    pub(crate) fn delay(&self, from: &str, to: &str, by: Duration) {
        self.world().late.insert((from.to_owned(), to.to_owned()), by);
        self.note(&format!("delay {from} {to} {by:?}"), &[]);
    }

    /// A firewall resets all connections of `address` and refuses new ones, while the node lives.
    pub(crate) fn shun(&self, address: &str) {
        self.world().shunned.insert(address.to_owned());
        self.note(&format!("shun {address}"), &[]);
        self.break_connections(|from, to| from == address || to == address);
    }

    /// Mends all links. What was lost stays lost.
    pub(crate) fn heal(&self) {
        self.world().cut.values_mut().for_each(|cut| cut.by = 0);
        self.world().shunned.clear();
        self.world().late.clear();
        self.note("heal", &[]);
    }

    /// What goes wrong by chance from now on.
    pub(crate) fn disturb(&self, change: impl FnOnce(&mut Noise)) {
        change(&mut self.world().noise);
    }

    /// What became of messages so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.world().traffic
    }

    /// Adds an event to the trace.
    pub(crate) fn note(&self, what: &str, content: &[u8]) {
        self.world().note(what, content);
    }

    /// The trace so far.
    pub(crate) fn trace(&self) -> Trace {
        self.world().trace
    }

    fn break_connections(&self, concerns: impl Fn(&str, &str) -> bool) {
        let all = std::mem::take(&mut self.world().connections);
        let alive: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        for connection in &alive {
            if concerns(&connection.from, &connection.to) {
                connection.break_off();
            }
        }
        self.world().connections = alive.iter().map(Arc::downgrade).collect();
    }

    /// A connection, if there is somebody to connect to.
    pub(super) fn connect(&self, from: &str, to: &str) -> Option<Arc<Connection>> {
        let mut world = self.world();
        if !world.up.contains_key(to) || world.shuns(from, to) {
            return None;
        }
        let connection = Arc::new(Connection { from: from.to_owned(), to: to.to_owned(), state: Mutex::default() });
        world.connections.retain(|old| old.strong_count() > 0);
        world.connections.push(Arc::downgrade(&connection));
        Some(connection)
    }
}

impl World {
    /// Everything that happens comes through here, with its time.
    pub(super) fn note(&mut self, what: &str, content: &[u8]) {
        let now = SimInstant::now().elapsed_since_start().as_nanos() as u64;
        self.trace.event(&now.to_le_bytes());
        self.trace.event(what.as_bytes());
        self.trace.event(content);
    }

    /// How long a connection takes to be refused.
    pub(super) fn round_trip(&mut self) -> Duration {
        Duration::from_micros(200 + 2 * self.rng.below(self.slowest.as_micros() as u64))
    }

    fn shuns(&self, from: &str, to: &str) -> bool {
        self.shunned.contains(from) || self.shunned.contains(to)
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        !self.cut.is_empty() && self.cut.get(&(from.to_owned(), to.to_owned())).is_some_and(|cut| cut.by > 0)
    }

    /// Whether the machine `to` tells `from` that nobody listens there.
    pub(super) fn refuses(&self, from: &str, to: &str) -> bool {
        let reached = !self.is_cut(from, to) && !self.is_cut(to, from);
        reached && (!self.up.contains_key(to) || self.shuns(from, to))
    }

    /// Sends a message.
    pub(super) fn send(&mut self, from: &str, to: &str, what: &str, content: &[u8]) -> Fate {
        let mut takes = Duration::from_micros(100 + self.rng.below(self.slowest.as_micros() as u64));
        self.traffic.sent += 1;
        if let Some(late) = self.late.get(&(from.to_owned(), to.to_owned())) {
            takes += *late;
            self.traffic.late += 1;
        }
        let unlucky = self.rng.chance(self.noise.loss);
        if self.noise.disorder > 0 && self.rng.chance(self.noise.disorder) {
            takes += Duration::from_micros(self.rng.below(DISORDER.as_micros() as u64));
            self.traffic.disordered += 1;
        }
        let cut = self.is_cut(from, to);
        if cut && let Some(cut) = self.cut.get_mut(&(from.to_owned(), to.to_owned())) {
            cut.lost += 1;
        }
        self.traffic.cut += u64::from(cut);
        self.traffic.lost += u64::from(unlucky && !cut);
        let lost = unlucky || cut || self.shuns(from, to);
        self.note(&format!("{from} {to} {what} {takes:?} {lost}"), content);
        if lost { Fate::Lost } else { Fate::Arrives(takes) }
    }

    /// Whether a unary call arrives once more, and how much later.
    pub(super) fn duplicates(&mut self, what: &str) -> Option<Duration> {
        if self.noise.duplication == 0 || !self.rng.chance(self.noise.duplication) {
            return None;
        }
        self.traffic.duplicated += 1;
        let after = Duration::from_micros(self.rng.below(DISORDER.as_micros() as u64));
        self.note(&format!("{what} again {after:?}"), &[]);
        Some(after)
    }

    /// Who listens at `address`.
    pub(super) fn router(&self, address: &str) -> Option<(u64, Arc<Router>)> {
        self.up.get(address).map(|host| (host.life, host.router.clone()))
    }

    /// Whether `life` of the node at `address` has not ended.
    pub(super) fn lives(&self, address: &str, life: u64) -> bool {
        self.up.get(address).is_some_and(|host| host.life == life)
    }

    /// Whether a lost message on a stream resets it; else the stream just falls silent.
    pub(super) fn resets(&mut self) -> bool {
        self.rng.chance(500)
    }
}

/// A stream's connection.
pub(super) struct Connection {
    from: String,
    to: String,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    broken: bool,
    /// Told in the order in which they began to wait.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Connection {
    pub(super) fn break_off(&self) {
        let mut state = self.state.lock();
        state.broken = true;
        // A receiver that is gone has ended by itself.
        state.waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap_or_default());
    }

    /// Ends when the connection is broken.
    pub(super) async fn broken(&self) {
        let receiver = {
            let mut state = self.state.lock();
            if state.broken {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.retain(|waiting| !waiting.is_closed());
            state.waiting.push(sender);
            receiver
        };
        // The sender goes only when it has told.
        let _ = receiver.await;
    }
}
