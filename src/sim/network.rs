//! A simulated network: who is up, which links are cut, and what becomes of each message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use openraft::Instant;
use openraft_rt_sim::SimInstant;
use tokio::sync::oneshot;

use super::file::lock;
use super::rng::{Rng, Trace};
use crate::rpc::router::Router;

/// The network of one simulated world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimNetwork(Arc<Mutex<World>>);

pub(super) struct World {
    rng: Rng,
    trace: Trace,
    up: BTreeMap<String, Host>,
    lives: u64,
    /// Directed: `(from, to)`.
    cut: BTreeSet<(String, String)>,
    /// Who seems dead while it lives: its connections are reset and refused.
    shunned: BTreeSet<String>,
    /// Directed: messages take so much longer.
    late: BTreeMap<(String, String), Duration>,
    /// Of 1000 messages, how many are lost.
    loss: u64,
    /// No message takes longer.
    slowest: Duration,
    connections: Vec<Weak<Connection>>,
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
        Self(Arc::new(Mutex::new(World {
            rng,
            trace: Trace::new(),
            up: BTreeMap::new(),
            lives: 0,
            cut: BTreeSet::new(),
            shunned: BTreeSet::new(),
            late: BTreeMap::new(),
            loss: 0,
            slowest: Duration::from_millis(5),
            connections: Vec::new(),
        })))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0)
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
        self.world().cut.insert((from.to_owned(), to.to_owned()));
        self.note(&format!("cut {from} {to}"), &[]);
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
        self.world().cut.clear();
        self.world().shunned.clear();
        self.world().late.clear();
        self.note("heal", &[]);
    }

    /// Loses `per_mille` of 1000 messages from now on.
    pub(crate) fn lose(&self, per_mille: u64) {
        self.world().loss = per_mille;
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

    /// Whether the machine `to` tells `from` that nobody listens there.
    pub(super) fn refuses(&self, from: &str, to: &str) -> bool {
        let cut = |from: &str, to: &str| self.cut.contains(&(from.to_owned(), to.to_owned()));
        let reached = !cut(from, to) && !cut(to, from);
        reached && (!self.up.contains_key(to) || self.shuns(from, to))
    }

    /// Sends a message.
    pub(super) fn send(&mut self, from: &str, to: &str, what: &str, content: &[u8]) -> Fate {
        let takes = Duration::from_micros(100 + self.rng.below(self.slowest.as_micros() as u64));
        let late = self.late.get(&(from.to_owned(), to.to_owned())).copied();
        let takes = takes + late.unwrap_or_default();
        let unlucky = self.rng.chance(self.loss);
        let lost = unlucky || self.shuns(from, to) || self.cut.contains(&(from.to_owned(), to.to_owned()));
        self.note(&format!("{from} {to} {what} {takes:?} {lost}"), content);
        if lost { Fate::Lost } else { Fate::Arrives(takes) }
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
        let mut state = lock(&self.state);
        state.broken = true;
        // Whoever does not listen any more has ended by itself.
        state.waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap_or_default());
    }

    /// Ends when the connection is broken.
    pub(super) async fn broken(&self) {
        let receiver = {
            let mut state = lock(&self.state);
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
