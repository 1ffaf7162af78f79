//! The nodes of a cluster, and what a test does to them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::builder::ClusterBuilder;
use super::error::KitError;
use super::partition::{Partition, PartitionedTransport};
use super::ports::Ports;
use crate::client::{Client, ClientBuilder};
use crate::node::{Ledger, Node, NodeBuilder};
use crate::server;
use crate::types::{Group, NodeId, Peers};

/// A cluster in this process, for tests. Its nodes are n0, n1 and so on, and a test names them by their number; any of
/// them may be down.
///
/// Every node also answers remote clients. When the cluster is dropped its nodes stop, and what they stored goes;
/// [`Cluster::stop_all`] waits for that.
pub struct Cluster {
    settings: ClusterBuilder,
    dir: TempDir,
    peers: Peers,
    /// Reserved as long as the cluster is there.
    _ports: Ports,
    /// The address of each node: where it runs, or ran last.
    addresses: Vec<String>,
    nodes: Vec<Option<Node>>,
    pub(super) partition: Partition,
}

impl Cluster {
    /// Starts a cluster of `nodes` nodes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub async fn start(nodes: usize) -> Result<Self, KitError> {
        Self::builder(nodes).start().await
    }

    /// Begins a cluster that `nodes` nodes form.
    pub fn builder(nodes: usize) -> ClusterBuilder {
        ClusterBuilder::new(nodes)
    }

    pub(super) fn new(settings: ClusterBuilder, dir: TempDir, peers: Peers, ports: Ports) -> Self {
        let (addresses, nodes) = peers.iter().map(|peer| (peer.address.clone(), None)).unzip();
        Self { settings, dir, peers, _ports: ports, addresses, nodes, partition: Partition::default() }
    }

    /// Ends node `n` as the death of its process would: it hands nothing over and tells its peers nothing, and appends
    /// under way end with an unknown outcome. What it wrote is there when it is restarted.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&mut self, n: usize) -> Result<(), KitError> {
        self.take(n)?.abort().await;
        Ok(())
    }

    /// Stops node `n` as [`Node::shutdown`] does: a master hands over first.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop(&mut self, n: usize) -> Result<(), KitError> {
        self.take(n)?.shutdown().await;
        Ok(())
    }

    /// Stops all nodes that run.
    pub async fn stop_all(&mut self) {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            node.shutdown().await;
        }
    }

    /// Starts node `n` on what it has stored, at the same address.
    ///
    /// # Errors
    /// If it runs, or does not start.
    pub async fn restart(&mut self, n: usize) -> Result<(), KitError> {
        self.restart_with(n, |builder| builder).await
    }

    /// As [`Cluster::restart`], with what `change` makes of the node's settings for this start: another durability,
    /// another address, one more ledger. A node keeps a new address from then on.
    ///
    /// # Errors
    /// If it runs, or does not start.
    pub async fn restart_with(
        &mut self,
        n: usize,
        change: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Result<(), KitError> {
        if self.slot(n)?.is_some() {
            return Err(KitError::Running { node: n });
        }
        let builder = change(self.node_builder(n)?);
        let (mut address, partition) = (String::new(), self.partition.clone());
        let wire = |own: &str, wire| {
            own.clone_into(&mut address);
            Arc::new(PartitionedTransport::new(wire, own.to_owned(), partition)) as Arc<_>
        };
        let started = server::with_services(builder).start_through(wire).await;
        self.nodes[n] = Some(started.map_err(|source| KitError::Start { node: n, source: Box::new(source) })?);
        self.addresses[n] = address;
        Ok(())
    }

    /// From now on the nodes of `side` hear nothing of the others, and the others nothing of them, until
    /// [`Cluster::heal`] or another partition. What is under way between them is lost silently, as in a network that
    /// drops packets. Remote clients still reach all nodes.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn partition(&self, side: &[usize]) -> Result<(), KitError> {
        let side = side.iter().map(|n| Ok(self.address(*n)?.to_owned())).collect::<Result<_, _>>()?;
        self.partition.set(side);
        Ok(())
    }

    /// All nodes hear one another again.
    pub fn heal(&self) {
        self.partition.set(Default::default());
    }

    /// A remote client of the first ledger, which knows all nodes.
    pub fn client(&self) -> Client {
        self.client_builder().build()
    }

    /// As [`Cluster::client`], for a client with other settings.
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder(self.peers.clone(), self.group().clone())
    }

    /// The first ledger, as node `n` has it.
    ///
    /// # Errors
    /// If the node does not run, or could not open it.
    pub fn ledger(&self, n: usize) -> Result<Ledger, KitError> {
        self.ledger_of(n, self.group().as_str())
    }

    /// The ledger of `group`, as node `n` has it.
    ///
    /// # Errors
    /// If the node does not run, does not host it, or could not open it.
    pub fn ledger_of(&self, n: usize, group: &str) -> Result<Ledger, KitError> {
        self.node(n)?.ledger(group).map_err(|source| KitError::Ledger { node: n, source })
    }

    /// Node `n`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn node(&self, n: usize) -> Result<&Node, KitError> {
        self.slot(n)?.as_ref().ok_or(KitError::Down { node: n })
    }

    /// What node `n` is started with: for a test that starts the node itself, or starts another one of its kind. A node
    /// that [`Cluster::restart`] did not start is none of the cluster's: partitions do not cut it off, and waits do not
    /// wait for it.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn node_builder(&self, n: usize) -> Result<NodeBuilder, KitError> {
        let mut builder = Node::builder(NodeId::new(n as u64), self.address(n)?).data_dir(self.dir(n));
        for group in &self.settings.groups {
            builder = builder.group(group.clone());
        }
        let founders = self.settings.founders;
        let is_listed = self.peers.iter().take(founders).any(|peer| peer.address == self.addresses[n]);
        if !is_listed {
            builder = builder.advertise(self.address(n)?);
        }
        if n >= founders {
            builder = builder.join();
        } else {
            let list = Peers::new(self.peers.iter().take(founders).cloned().collect());
            builder = builder.peers(list.map_err(|source| KitError::Nodes { nodes: founders, source })?);
            if founders == 1 {
                builder = builder.single();
            }
        }
        Ok(builder.configure(|config| self.settings.apply(config)))
    }

    /// The nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].is_some()).collect()
    }

    /// The group of the first ledger.
    pub fn group(&self) -> &Group {
        &self.settings.groups[0]
    }

    /// Every node, spares among them, with its address unless it has moved ([`Cluster::restart_with`]).
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// `host:port` of node `n`.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn address(&self, n: usize) -> Result<&str, KitError> {
        let found = self.addresses.get(n);
        found.map(String::as_str).ok_or(KitError::NoSuchNode { node: n, nodes: self.nodes.len() })
    }

    /// Where node `n` stores what it has: a directory for each ledger.
    pub fn dir(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("n{n}"))
    }

    pub(super) fn settings(&self) -> &ClusterBuilder {
        &self.settings
    }

    fn take(&mut self, n: usize) -> Result<Node, KitError> {
        self.slot(n)?;
        self.nodes[n].take().ok_or(KitError::Down { node: n })
    }

    fn slot(&self, n: usize) -> Result<&Option<Node>, KitError> {
        self.nodes.get(n).ok_or(KitError::NoSuchNode { node: n, nodes: self.nodes.len() })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("peers", &self.peers).field("running", &self.running()).finish_non_exhaustive()
    }
}
