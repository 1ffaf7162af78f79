//! Nodes on loopback for scenarios.
#![allow(dead_code, reason = "no scenario uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failure is the finding")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dledger::testkit::{self, ClusterBuilder};
use dledger::{Config, Durability, Ledger, Node, NodeBuilder, NodeId, Peer, Peers, ReadLimit, Role};
use tempfile::TempDir;

pub const GROUP: &str = "g";
/// Longer than anything here takes on a busy machine; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Up to `count` nodes of one cluster, each with a directory of its own; any of them may be down.
pub struct Cluster {
    dir: TempDir,
    pub peers: Peers,
    pub nodes: Vec<Option<Node>>,
    /// The first so many form the cluster.
    founders: usize,
    change: fn(&mut Config),
}

/// `count` ports that were free a moment ago.
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

pub fn peers(count: usize) -> Peers {
    let peer = |(n, port)| Peer { id: NodeId::new(n), address: format!("127.0.0.1:{port}") };
    Peers::new((0..).zip(free_ports(count)).map(peer).collect()).unwrap()
}

impl Cluster {
    /// Starts all nodes, with small segments so that scenarios roll.
    pub async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    pub async fn start_with(count: usize, change: fn(&mut Config)) -> Self {
        let mut cluster = Self::down(count, change);
        for n in 0..count {
            cluster.up(n).await;
        }
        cluster
    }

    /// No node runs yet.
    pub fn down(count: usize, change: fn(&mut Config)) -> Self {
        Self::with_spares(count, 0, change)
    }

    /// No node runs yet. `founders` form the cluster; `spares` more have an address, and wait to be taken in.
    pub fn with_spares(founders: usize, spares: usize, change: fn(&mut Config)) -> Self {
        let nodes = (0..founders + spares).map(|_| None).collect();
        Self { dir: tempfile::tempdir().unwrap(), peers: peers(founders + spares), nodes, founders, change }
    }

    pub fn address(&self, n: usize) -> &str {
        &self.peers.get(&NodeId::new(n as u64)).unwrap().address
    }

    pub fn dir(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("n{n}"))
    }

    pub fn builder(&self, n: usize) -> NodeBuilder {
        let id = NodeId::new(n as u64);
        let address = self.address(n).to_owned();
        // The list of a spare is longer than the founders': it forms nothing, and nobody forms anything with it.
        let listed = if n < self.founders { self.founders } else { self.nodes.len() };
        let peers = Peers::new(self.peers.iter().take(listed).cloned().collect()).unwrap();
        let builder = Node::builder(id, address)
            .group(GROUP.parse().unwrap())
            .peers(peers)
            .data_dir(self.dir(n))
            .segment_size(1 << 20)
            .configure(|config| {
                config.single = listed == 1;
                config.max_record_bytes = 256 << 10;
                config.max_batch_bytes = 512 << 10;
            });
        builder.configure(self.change)
    }

    pub async fn up(&mut self, n: usize) {
        self.nodes[n] = Some(self.builder(n).start().await.unwrap());
    }

    pub async fn stop(&mut self, n: usize) {
        if let Some(node) = self.nodes[n].take() {
            node.shutdown().await;
        }
    }

    pub async fn stop_all(&mut self) {
        for n in 0..self.nodes.len() {
            self.stop(n).await;
        }
    }

    pub fn ledger(&self, n: usize) -> Ledger {
        self.nodes[n].as_ref().unwrap().ledger(GROUP).unwrap()
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].is_some()).collect()
    }

    /// The node that is the master, once there is one.
    pub async fn master(&self) -> usize {
        let waits = self.running().into_iter().map(|n| {
            let mut role = self.ledger(n).role();
            Box::pin(async move {
                role.wait_for(Role::is_master).await.unwrap();
                n
            })
        });
        patient(futures::future::select_all(waits)).await.0
    }

    /// A node that runs and is not the master.
    pub async fn slave(&self) -> usize {
        let master = self.master().await;
        self.running().into_iter().find(|n| *n != master).unwrap()
    }

    /// Waits until every running node has committed `count` records.
    pub async fn committed(&self, count: u64) {
        for n in self.running() {
            committed(&self.ledger(n), count).await;
        }
    }

    /// The committed records of node `n`.
    pub async fn bodies(&self, n: usize) -> Vec<String> {
        bodies(&self.ledger(n)).await
    }
}

/// Waits until `ledger` has committed `count` records.
pub async fn committed(ledger: &Ledger, count: u64) {
    use futures::StreamExt;
    if count > 0 {
        patient(ledger.tail(count - 1).next()).await.unwrap().unwrap();
    }
}

pub async fn bodies(ledger: &Ledger) -> Vec<String> {
    let records = ledger.read(.., ReadLimit::bytes(usize::MAX)).await.unwrap();
    records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect()
}

/// Fails instead of hanging.
pub async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never happened")
}

/// A cluster of [`GROUP`] to be started, whose nodes also answer remote clients; see [`fast`].
pub fn kit(nodes: usize) -> ClusterBuilder {
    testkit::Cluster::builder(nodes).group(GROUP.parse().unwrap()).configure(fast)
}

/// The ledger, as its master has it, once there is one.
pub async fn master_ledger(cluster: &testkit::Cluster) -> Ledger {
    cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap()
}

/// Acks of a leader's page cache are enough where a scenario is not about durability.
pub fn fast(config: &mut Config) {
    config.durability = Durability::Interval(Duration::from_millis(20));
}

/// The bytes of a node's segments up to `position`.
pub fn segment_bytes(dir: &Path, position: u64) -> Vec<u8> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.len() == 20);
    names.sort();
    let mut bytes = Vec::new();
    for name in names {
        let start: u64 = name.parse().unwrap();
        if start < position {
            let mut segment = std::fs::read(dir.join(name)).unwrap();
            segment.truncate((position - start).min(segment.len() as u64) as usize);
            bytes.append(&mut segment);
        }
    }
    bytes
}
