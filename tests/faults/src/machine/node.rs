//! A place for one node.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::os::OWNER;

/// A place for one node: a directory, an address, and a way to be started.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) bind: String,
    pub(crate) address: String,
    /// What its commands begin with.
    pub(crate) wrapper: Vec<String>,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    /// In the environment of its processes, as [`OWNER`].
    pub(crate) owner: String,
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
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env(OWNER, &self.owner).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
