//! What can be done to real processes, their network and their disks.
//!
//! A [`Machine`] gives each node a directory, an address and a way to be started; its methods make [`Fault`]s. A fault
//! is installed, seen to do something, and removed; what this machine cannot do is [`Error::NotHere`], with the reason.
//! Whatever a machine makes carries its name, which tells whose it is: what a killed run left is swept up by the next.
//!
//! ```no_run
//! # use dledger_faults::machine::{Machine, Options, Links};
//! let machine = Machine::new(Options::nodes(3))?;
//! let node = machine.node(1);
//! let mut child = node.command("dledger").arg("serve").arg("--bind").arg(node.bind()).spawn()?;
//! let mut cut = machine.cut(Links::isolate(1, &[1, 2, 3])).install()?;
//! // … until the nodes have tried to talk …
//! let evidence = cut.observed()?.expect("they tried, and were dropped");
//! cut.remove()?;
//! # child.kill()?;
//! # machine.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod capabilities;
pub mod damage;
mod disk;
pub mod error;
pub mod fault;
mod freeze;
mod full;
pub mod link;
mod node;
mod os;
mod packets;
mod power;
mod process;
mod proxies;
mod queue;
mod rules;
mod shared;
mod shim;
mod spaces;
pub mod sweep;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

pub use capabilities::{Capabilities, Capability};
pub use damage::{Damage, Region, Snapshot, helix};
pub use error::{Error, Result};
pub use fault::{Active, Fault, Installed};
pub use link::{Link, Links, Party};
pub use node::Node;
pub use sweep::{leftovers, sweep};

use freeze::Frozen;
use full::Full;
use packets::{Packets, Verb};
use power::{Dark, Then};
use process::{Killed, Paused};
use queue::{Delay, Hold};
use rules::{InForce, Treatment};
use shared::Shared;
use shim::{Order, Ordered};
use throttle::Throttled;

/// What a machine is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes; their ids are 1, 2, …
    pub nodes: u64,
    /// Size of the filesystem of each.
    pub disk: u64,
    /// Whether root's means may be used: namespaces and filesystems. `DLEDGER_FAULTS_UNPRIVILEGED=1` says no too.
    pub privileged: bool,
}

impl Options {
    /// That many nodes, with 512 MiB each.
    pub fn nodes(nodes: u64) -> Self {
        Self { nodes, disk: 512 << 20, privileged: true }
    }
}

/// Directories, addresses and faults for a cluster of real processes. Cheap to clone; the last one, and the last fault
/// in place, takes all away.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

/// What the methods of a [`Machine`] make.
pub type AnyFault = Box<dyn Fault>;

impl Machine {
    /// Sweeps up after dead runs, looks what can be had, and makes places for the nodes.
    ///
    /// # Errors
    /// Not even directories and proxies could be had, or what this process had before fails now; what was made by then
    /// is taken away.
    pub fn new(options: Options) -> Result<Self> {
        sweep();
        Ok(Self { shared: Arc::new(Shared::new(&options)?) })
    }

    /// What can be done here.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// What all that it makes is named by: see [`leftovers`].
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The place of node `id`.
    ///
    /// # Panics
    /// There is no such node.
    pub fn node(&self, id: u64) -> &Node {
        self.nodes().iter().find(|node| node.id() == id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// All places.
    pub fn nodes(&self) -> &[Node] {
        &self.shared.nodes
    }

    /// Runs `work` on a thread from which, and from the threads it starts, the nodes can be reached. Clients, and
    /// their tokio runtime, must be made inside.
    ///
    /// # Errors
    /// The network of the clients cannot be entered.
    ///
    /// # Panics
    /// `work` did.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Ok(spaces) = self.shared.spaces() {
                    spaces.enter(Party::Clients)?;
                }
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The live processes of a node, started by this suite or not.
    pub fn processes(&self, id: u64) -> Vec<u32> {
        self.shared.processes(id)
    }

    /// SIGKILL. Removing it does nothing: start the node again.
    pub fn kill(&self, id: u64) -> AnyFault {
        self.fault("kill", vec![id], move |shared| active(Killed::install(shared, id)))
    }

    /// SIGSTOP until it is removed.
    pub fn pause(&self, id: u64) -> AnyFault {
        self.fault("pause", vec![id], move |shared| active(Paused::install(shared, id)))
    }

    /// What goes over these links is dropped.
    pub fn cut(&self, links: Links) -> AnyFault {
        self.traffic("cut", links, Verb::Drop, Treatment::Withhold)
    }

    /// What goes over these links is answered by a reset of the connection.
    pub fn reset(&self, links: Links) -> AnyFault {
        self.traffic("reset", links, Verb::Reset, Treatment::Reset)
    }

    /// So many percent of what goes over these links are lost.
    pub fn lose(&self, links: Links, percent: u8) -> AnyFault {
        self.traffic("lose", links, Verb::Lose { percent }, Treatment::Lose { percent })
    }

    fn traffic(&self, kind: &'static str, links: Links, verb: Verb, treatment: Treatment) -> AnyFault {
        self.fault(kind, links.nodes(), move |shared| match shared.proxies() {
            Some(proxies) => active(Ok(InForce::install(&proxies.rules, links.clone(), treatment))),
            None => active(Packets::install(shared, &links, verb)),
        })
    }

    /// What goes over these links arrives `by` later, and up to `jitter` more, each packet for itself.
    pub fn delay(&self, links: Links, by: Duration, jitter: Duration) -> AnyFault {
        self.fault("delay", links.nodes(), move |shared| {
            if let Some(proxies) = shared.proxies() {
                let treatment = Treatment::Delay { by, jitter };
                return active(Ok(InForce::install(&proxies.rules, links.clone(), treatment)));
            }
            shared.capabilities.need(Capability::Queue)?;
            active(Delay::install(shared, &links, Hold { by, jitter }))
        })
    }

    /// Limits how many bytes a second the disk takes. Without a throttle every sync takes as long as a quarter of a MiB
    /// would.
    pub fn slow_disk(&self, id: u64, bytes_per_second: u64) -> AnyFault {
        self.fault("slow_disk", vec![id], move |shared| {
            if shared.capabilities.has(Capability::Throttle) {
                return active(Throttled::install(shared, id, bytes_per_second));
            }
            let each = (250_000_000_000 / bytes_per_second.max(1)).clamp(20_000, 1_000_000);
            active(Ordered::install(shared, id, Order::SlowSyncs, each as i64))
        })
    }

    /// Nothing that is written or synced comes back until it is removed. Where no filesystem can be frozen, writes to
    /// memory still do. A process cannot be killed while its filesystem is frozen: remove this fault first.
    pub fn hang_disk(&self, id: u64) -> AnyFault {
        self.fault("hang_disk", vec![id], move |shared| {
            if shared.capabilities.has(Capability::Freeze) {
                return active(Frozen::install(shared, id));
            }
            active(Ordered::install(shared, id, Order::HangSyncs, 1))
        })
    }

    /// Not a byte is free.
    pub fn fill_disk(&self, id: u64) -> AnyFault {
        self.fault("fill_disk", vec![id], move |shared| {
            // The host's disk is not ours to fill.
            shared.capabilities.need(Capability::Filesystem)?;
            active(Full::install(shared, id))
        })
    }

    /// Every sync fails with EIO until it is removed.
    pub fn fail_syncs(&self, id: u64) -> AnyFault {
        self.fault("fail_syncs", vec![id], move |shared| active(Ordered::install(shared, id, Order::FailSyncs, 1)))
    }

    /// The power of these nodes fails at once: what was not synced is gone, and so are the processes. Removing it
    /// mounts the disks again: start the nodes then. Its evidence is complete only after that.
    pub fn lose_power(&self, ids: &[u64]) -> AnyFault {
        let ids = ids.to_vec();
        self.fault("lose_power", ids.clone(), move |shared| {
            shared.capabilities.need(Capability::PowerLoss)?;
            active(Dark::install(shared, &ids, Then::Kill))
        })
    }

    /// The disk answers nothing but EIO, and what was not synced is gone; the process lives, to see it. Removal kills
    /// the process and mounts the disk again.
    pub fn break_disk(&self, id: u64) -> AnyFault {
        self.fault("break_disk", vec![id], move |shared| {
            shared.capabilities.need(Capability::PowerLoss)?;
            active(Dark::install(shared, &[id], Then::Leave))
        })
    }

    /// Sets the wall clock of the node's processes off by that number of seconds, until the fault is removed.
    pub fn shift_clock(&self, id: u64, seconds: i64) -> AnyFault {
        self.fault("shift_clock", vec![id], move |shared| {
            active(Ordered::install(shared, id, Order::ShiftClock, seconds))
        })
    }

    /// Damages files of nodes that are stopped. Removing it repairs nothing: that is for the cluster to do. Where one
    /// of several fails, those before it stay damaged.
    pub fn damage(&self, what: Vec<Damage>) -> AnyFault {
        let mut nodes: Vec<u64> = what.iter().filter_map(|damage| self.shared.owner(damage.file())).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.fault("damage", nodes, move |shared| active(damage::Damaged::install(shared, &what)))
    }

    /// Takes all away, and says what could not be. Faults that are in place must be removed before.
    ///
    /// # Errors
    /// What is left, and why.
    pub fn close(self) -> Result<()> {
        let problems = self.shared.take_away();
        if problems.is_empty() { Ok(()) } else { Err(Error::State(problems.join("; "))) }
    }

    fn fault(
        &self,
        kind: &'static str,
        nodes: Vec<u64>,
        install: impl Fn(&Arc<Shared>) -> Result<Box<dyn Active>> + Send + Sync + 'static,
    ) -> AnyFault {
        Box::new(Made { shared: self.shared.clone(), kind, nodes, install: Box::new(install) })
    }
}

fn active(installed: Result<impl Active + 'static>) -> Result<Box<dyn Active>> {
    installed.map(|active| Box::new(active) as Box<dyn Active>)
}

type Install = Box<dyn Fn(&Arc<Shared>) -> Result<Box<dyn Active>> + Send + Sync>;

struct Made {
    shared: Arc<Shared>,
    kind: &'static str,
    nodes: Vec<u64>,
    install: Install,
}

impl Fault for Made {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn nodes(&self) -> Vec<u64> {
        self.nodes.clone()
    }

    fn install(&self) -> Result<Installed> {
        (self.install)(&self.shared).map(|active| Installed::new(self.kind, active))
    }
}
