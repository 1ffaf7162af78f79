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
pub mod error;
pub mod fault;
pub mod link;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub use capabilities::{Capabilities, Capability};
pub use damage::{Damage, Region, Snapshot};
pub use error::{Error, Result};
pub use fault::{Active, Fault, Installed};
pub use link::{Link, Links, Party};

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

/// Directories, addresses and faults for a cluster of real processes. Cheap to clone; the last one takes all away.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Vec<Node>,
    capabilities: Capabilities,
}

/// A place for one node.
#[derive(Debug, Clone)]
pub struct Node {
    id: u64,
    dir: PathBuf,
    bind: String,
    address: String,
}

impl Node {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its data directory, which is there. It stays the same over a loss of power.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `host:port` it must listen on (`--bind`).
    pub fn bind(&self) -> &str {
        &self.bind
    }

    /// `host:port` by which its peers and the clients reach it (`--peers`, `--advertise`). Where links are made by
    /// proxies this is not where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A process of this node: in its network, with what the faults need in its environment. It is the process itself
    /// that is started, not a child of another: its id is the child's. For tokio: `Command::from`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        Command::new(program)
    }
}

type Faulty = Box<dyn Fault>;

impl Machine {
    /// Sweeps up after dead runs, looks what can be had, and makes places for the nodes.
    ///
    /// # Errors
    /// Something that can be had could not be made; what was made by then is taken away.
    pub fn new(options: Options) -> Result<Self> {
        let _ = options;
        Err(Error::not_here("machine", "being written"))
    }

    /// What can be done here.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// The place of node `id`.
    ///
    /// # Panics
    /// There is no such node.
    pub fn node(&self, id: u64) -> &Node {
        self.nodes().iter().find(|node| node.id == id).unwrap()
    }

    /// All places.
    pub fn nodes(&self) -> &[Node] {
        &self.shared.nodes
    }

    /// Runs `work` on a thread from which, and from the threads it starts, the nodes can be reached. Clients, and
    /// their tokio runtime, must be made inside.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        Ok(work())
    }

    /// The live processes of a node.
    pub fn processes(&self, id: u64) -> Vec<u32> {
        let _ = id;
        Vec::new()
    }

    /// SIGKILL. Removing it does nothing: start the node again.
    pub fn kill(&self, id: u64) -> Faulty {
        let _ = (id,);
        todo_later()
    }

    /// SIGSTOP until it is removed.
    pub fn pause(&self, id: u64) -> Faulty {
        let _ = (id,);
        todo_later()
    }

    /// What goes over these links is dropped.
    pub fn cut(&self, links: Links) -> Faulty {
        let _ = (links,);
        todo_later()
    }

    /// What goes over these links is answered by a reset of the connection.
    pub fn reset(&self, links: Links) -> Faulty {
        let _ = (links,);
        todo_later()
    }

    /// So many percent of what goes over these links are lost.
    pub fn lose(&self, links: Links, percent: u8) -> Faulty {
        let _ = (links, percent,);
        todo_later()
    }

    /// What goes over these links arrives `by` later, and up to `jitter` more, each packet for itself.
    pub fn delay(&self, links: Links, by: Duration, jitter: Duration) -> Faulty {
        let _ = (links, by, jitter,);
        todo_later()
    }

    /// The disk takes so many bytes a second.
    pub fn slow_disk(&self, id: u64, bytes_per_second: u64) -> Faulty {
        let _ = (id, bytes_per_second,);
        todo_later()
    }

    /// Nothing that is written or synced comes back until it is removed.
    pub fn hang_disk(&self, id: u64) -> Faulty {
        let _ = (id,);
        todo_later()
    }

    /// Not a byte is free.
    pub fn fill_disk(&self, id: u64) -> Faulty {
        let _ = (id,);
        todo_later()
    }

    /// Every sync fails with EIO until it is removed.
    pub fn fail_syncs(&self, id: u64) -> Faulty {
        let _ = (id,);
        todo_later()
    }

    /// The power of these nodes fails at once: what was not synced is gone, and so are the processes. Removing it
    /// mounts the disks again: start the nodes then. Its evidence is complete only after that.
    pub fn lose_power(&self, ids: &[u64]) -> Faulty {
        let _ = (ids,);
        todo_later()
    }

    /// The wall clock of the node's process is off by so many seconds, until it is removed.
    pub fn shift_clock(&self, id: u64, seconds: i64) -> Faulty {
        let _ = (id, seconds,);
        todo_later()
    }

    /// Damages files of nodes that are stopped. Removing it repairs nothing: that is for the cluster to do.
    pub fn damage(&self, what: Vec<Damage>) -> Faulty {
        let _ = (what,);
        todo_later()
    }

    /// Takes all away, and says what could not be.
    ///
    /// # Errors
    /// What is left, and why.
    pub fn close(self) -> Result<()> {
        Ok(())
    }
}

fn todo_later() -> Faulty {
    struct Later;
    impl Fault for Later {
        fn kind(&self) -> &'static str {
            "later"
        }
        fn nodes(&self) -> Vec<u64> {
            Vec::new()
        }
        fn install(&self) -> Result<Installed> {
            Err(Error::not_here("fault", "being written"))
        }
    }
    Box::new(Later)
}
