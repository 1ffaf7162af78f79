//! What a cluster is made of.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::error::KitError;
use super::ports::Ports;
use crate::config::{Config, Durability};
use crate::types::{Group, NodeId, Peer, Peers};

/// Small enough that a test which writes some megabytes rolls, large enough for any record that a test needs.
const SEGMENT_SIZE: u64 = 1 << 20;
/// A minute: longer than anything takes on a busy machine, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

type ConfigChange = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// Collects what a [`Cluster`] is made of.
#[derive(Clone)]
#[must_use]
pub struct ClusterBuilder {
    pub(super) founders: usize,
    pub(super) spares: usize,
    pub(super) groups: Vec<Group>,
    pub(super) patience: Duration,
    segment_size: u64,
    changes: Vec<ConfigChange>,
}

impl ClusterBuilder {
    pub(super) fn new(founders: usize) -> Self {
        let (groups, changes) = (Vec::new(), Vec::new());
        Self { founders, spares: 0, groups, patience: PATIENCE, segment_size: SEGMENT_SIZE, changes }
    }

    /// One more ledger. Default: one of the group `test`. [`Cluster::ledger`] and the like mean the first.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// `count` more nodes, numbered behind the founders. They have an address, and are not started:
    /// [`Cluster::restart`] starts one, which then waits to be added to the cluster.
    pub fn spares(mut self, count: usize) -> Self {
        self.spares = count;
        self
    }

    /// Bytes of a segment file, from which all other sizes follow ([`Config::set_segment_size`]). Default 1 MiB.
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes;
        self
    }

    /// What an ack means. Default: [`Durability::Sync`], as without the kit.
    pub fn durability(self, durability: Durability) -> Self {
        self.configure(move |config| config.durability = durability)
    }

    /// How often a master tells its slaves that it lives; the other times of an election follow from this: it begins
    /// after 12 to 16 such intervals. Default 100 ms, as without the kit.
    pub fn heartbeat(self, interval: Duration) -> Self {
        self.configure(move |config| {
            config.heartbeat_interval = interval;
            config.election_timeout = (interval * 4, interval * 8);
        })
    }

    /// Every other setting of every node, applied at every start, after the others.
    pub fn configure(mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// How long the cluster's waits wait before they fail. Default 60 s.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// The cluster, with its founders started. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If a node does not start, or the machine has no place for one. Nothing is left running then.
    pub async fn start(self) -> Result<Cluster, KitError> {
        let founders = self.founders;
        let mut cluster = self.down()?;
        for node in 0..founders {
            if let Err(error) = cluster.restart(node).await {
                cluster.stop_all().await;
                return Err(error);
            }
        }
        Ok(cluster)
    }

    /// The cluster, of which no node runs yet: [`Cluster::restart`] starts them.
    ///
    /// # Errors
    /// If the machine has no place for it.
    pub fn down(mut self) -> Result<Cluster, KitError> {
        let nodes = self.founders + self.spares;
        let failed = |doing| move |source| KitError::Machine { doing, source };
        if self.groups.is_empty() {
            // `test` is a valid group, so there is no error.
            self.groups.extend("test".parse::<Group>().ok());
        }
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let (ports, addresses) = Ports::take(nodes).map_err(failed("have ports"))?;
        let peer = |(n, address)| Peer { id: NodeId::new(n), address };
        let peers = Peers::new((0..).zip(addresses).map(peer).collect());
        let peers = peers.map_err(|source| KitError::Nodes { nodes, source })?;
        Ok(Cluster::new(self, dir, peers, ports))
    }

    /// Applies the settings to the configuration of one node.
    pub(super) fn apply(&self, config: &mut Config) {
        config.set_segment_size(self.segment_size);
        for change in &self.changes {
            change(config);
        }
    }
}
