//! The cluster that a client command talks to.

use std::time::Duration;

use clap::Args;
use dledger::{Client, ClusterName, Group, NodeClient, NodeId, Peers};

use crate::output::Failure;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The ledger.
    #[arg(long, env = "DLEDGER_GROUP")]
    pub(crate) group: Group,
    /// Nodes of the cluster: `n0-host:port;n1-host:port` or `n0=host:port,…`. Those it lacks are found by those it has.
    #[arg(long, env = "DLEDGER_PEERS")]
    pub(crate) peers: Peers,
    /// Refuse nodes of another cluster.
    #[arg(long, env = "DLEDGER_CLUSTER")]
    cluster: Option<ClusterName>,
    /// How long to wait for an ack or an answer, like `10s`.
    #[arg(long, env = "DLEDGER_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Target {
    pub(crate) fn client(&self) -> Client {
        self.client_of(&self.peers, self.timeout)
    }

    /// A client of other nodes of the same cluster, that waits no longer than `longest` for an answer.
    pub(crate) fn client_of(&self, peers: &Peers, longest: Duration) -> Client {
        let builder = Client::builder(peers.clone(), self.group.clone()).timeout(self.timeout.min(longest));
        match &self.cluster {
            Some(cluster) => builder.cluster(cluster.clone()).build(),
            None => builder.build(),
        }
    }

    /// The node that was asked for, or else one that answers, the master if there is one.
    pub(crate) async fn node(&self, node: Option<&NodeId>) -> Result<NodeClient, Failure> {
        let client = self.client();
        Ok(match node {
            Some(node) => client.node(node)?,
            None => client.any_node().await?,
        })
    }
}
