//! The three processes.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use dledger::{Client, Durability, Node, NodeId, Peer, Peers, Status};
use tempfile::TempDir;

use crate::Result;
use crate::load::Outcome;

pub(crate) const GROUP: &str = "RaftNode00";
const SEGMENT: u64 = 64 << 20;
/// Longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the example starts itself as a node.
#[derive(Args)]
pub(crate) struct NodeArgs {
    #[arg(long)]
    id: NodeId,
    #[arg(long)]
    peers: Peers,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    interval: bool,
}

/// Runs one node until its standard input ends: when the parent is gone, so is the node.
pub(crate) async fn serve(args: NodeArgs) -> Result<()> {
    let address = args.peers.get(&args.id).ok_or("the own id is not among the peers")?.address.clone();
    let durability = match args.interval {
        true => Durability::Interval(Duration::from_millis(10)),
        false => Durability::Sync,
    };
    let builder = Node::builder(args.id, address)
        .group(GROUP.parse()?)
        .peers(args.peers)
        .data_dir(args.dir)
        .segment_size(SEGMENT)
        .durability(durability);
    let node = dledger::server::serve(builder).await?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    node.shutdown().await;
    Ok(())
}

/// Where all nodes have come to.
pub(crate) struct End {
    pub(crate) committed: u64,
    pub(crate) position: u64,
}

/// Three nodes, some of them dead. All die with this value.
pub(crate) struct Nodes {
    dir: TempDir,
    peers: Peers,
    interval: bool,
    children: Vec<Option<Child>>,
}

impl Nodes {
    pub(crate) fn start(interval: bool) -> Result<Self> {
        let listeners = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
        let mut list = Vec::new();
        for (number, listener) in (0..).zip(&listeners) {
            list.push(Peer { id: NodeId::new(number), address: listener.local_addr()?.to_string() });
        }
        drop(listeners);
        let mut nodes = Self { dir: tempfile::tempdir()?, peers: Peers::new(list)?, interval, children: Vec::new() };
        for number in 0..3 {
            let child = nodes.spawn(number)?;
            nodes.children.push(Some(child));
        }
        Ok(nodes)
    }

    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &NodeId> {
        self.peers.iter().map(|peer| &peer.id)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(&self, number: usize) -> Result<Child> {
        let id = NodeId::new(number as u64);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--id", id.as_str(), "--peers", &self.peers.to_string(), "--dir"]);
        command.arg(self.dir.path().join(id.as_str()));
        if self.interval {
            command.arg("--interval");
        }
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?)
    }

    /// The leader, once there is one.
    pub(crate) async fn leader(&self, client: &Client) -> Result<NodeId> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            for id in self.ids() {
                if client.status(id).await.is_ok_and(|status| status.role.is_master()) {
                    return Ok(id.clone());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("no leader was elected".into())
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self, id: &NodeId) -> Result<()> {
        let number = self.ids().position(|known| known == id).ok_or("no such node")?;
        if let Some(mut child) = self.children[number].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts every dead node again on its old directory.
    pub(crate) fn restart_dead(&mut self) -> Result<()> {
        for number in 0..self.children.len() {
            if self.children[number].is_none() {
                self.children[number] = Some(self.spawn(number)?);
            }
        }
        Ok(())
    }

    /// Waits until all nodes have committed everything and agree on where that is.
    pub(crate) async fn caught_up(&self, client: &Client, outcome: &Outcome) -> Result<End> {
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < PATIENCE {
            let mut all: Vec<Status> = Vec::new();
            for id in self.ids() {
                match client.status(id).await {
                    Ok(status) => all.push(status),
                    Err(error) => last = format!("{id}: {error}"),
                }
            }
            let place = |s: &Status| (s.committed, s.committed_position, s.committed_chain, s.end);
            if all.len() == 3 && all.iter().all(|s| place(s) == place(&all[0]) && s.committed == s.end) {
                let (committed, position, ..) = place(&all[0]);
                if committed >= outcome.acked() as u64 {
                    return Ok(End { committed, position });
                }
            }
            if all.len() == 3 {
                last = format!("{:?}", all.iter().map(place).collect::<Vec<_>>());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("the nodes did not catch up with each other: {last}").into())
    }

    /// Lets every node stop cleanly.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        for child in self.children.iter_mut().filter_map(Option::take) {
            let waited = tokio::task::spawn_blocking(move || {
                let mut child = child;
                drop(child.stdin.take());
                child.wait()
            });
            let status = tokio::time::timeout(PATIENCE, waited).await???;
            if !status.success() {
                return Err(format!("a node ended with {status}").into());
            }
        }
        Ok(())
    }

    /// Whether the stored bytes of all nodes are the same up to `position`.
    pub(crate) fn same_bytes(&self, position: u64) -> Result<bool> {
        for start in (0..position).step_by(SEGMENT as usize) {
            let length = (position - start).min(SEGMENT) as usize;
            let mut first: Option<Vec<u8>> = None;
            for id in self.ids() {
                let file = self.dir.path().join(id.as_str()).join(GROUP).join(format!("{start:020}"));
                let mut bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                bytes.truncate(length);
                match &first {
                    Some(first) if *first != bytes => return Ok(false),
                    Some(_) => {}
                    None => first = Some(bytes),
                }
            }
        }
        Ok(true)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for mut child in self.children.iter_mut().filter_map(Option::take) {
            // It may have died by itself; there is nobody left to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
