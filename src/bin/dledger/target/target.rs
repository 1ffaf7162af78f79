//! The cluster that a client command talks to.

use std::time::Duration;

use clap::Args;
use dledger::{Client, ClusterName, Group, NodeClient, NodeId, Peers};

use super::roster;
use crate::options::values::time_above_zero;
use crate::output::{Failure, usage};

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The ledger. If the variable names several, as it may for `serve`, `status` shows them all, and every other
    /// command needs this option to say which one.
    #[arg(long, env = "DLEDGER_GROUP", value_delimiter = ',', required = true)]
    group: Vec<Group>,
    /// Nodes of the cluster: `n0-host:port;n1-host:port` or `n0=host:port,…`. The command asks them for the others.
    #[arg(long, env = "DLEDGER_PEERS")]
    pub(crate) peers: Peers,
    /// Refuse nodes of another cluster.
    #[arg(long, env = "DLEDGER_CLUSTER")]
    cluster: Option<ClusterName>,
    /// How long to wait for an ack or an answer, like `10s`.
    #[arg(long, env = "DLEDGER_TIMEOUT", default_value = "10s", value_parser = time_above_zero)]
    timeout: Duration,
}

impl Target {
    /// The ledgers that are named, each once.
    pub(crate) fn groups(&self) -> Vec<&Group> {
        let first = |at: &usize| !self.group[..*at].contains(&self.group[*at]);
        (0..self.group.len()).filter(first).map(|at| &self.group[at]).collect()
    }

    /// The ledger.
    ///
    /// # Errors
    /// If several are named: only the user can say which one is meant.
    pub(crate) fn group(&self) -> Result<&Group, Failure> {
        match &self.groups()[..] {
            [group] => Ok(group),
            several => {
                let names = several.iter().map(|group| group.as_str()).collect::<Vec<_>>();
                Err(usage(format_args!(
                    "{} ledgers are named ({}): say which one is meant, like --group {}",
                    names.len(),
                    names.join(", "),
                    names.first().unwrap_or(&"NAME"),
                )))
            }
        }
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(self.client_of(self.group()?, &self.peers, Duration::MAX))
    }

    /// A client of other nodes of the same cluster, that waits no longer than `longest` for an answer.
    pub(crate) fn client_of(&self, group: &Group, peers: &Peers, longest: Duration) -> Client {
        let builder = Client::builder(peers.clone(), group.clone()).timeout(self.timeout.min(longest));
        match &self.cluster {
            Some(cluster) => builder.cluster(cluster.clone()).build(),
            None => builder.build(),
        }
    }

    /// The node of that name; without a name the master, or any node that answers if there is no master.
    pub(crate) async fn node(&self, node: Option<&NodeId>) -> Result<NodeClient, Failure> {
        match node {
            Some(node) => roster::find(self, node).await,
            None => Ok(self.client()?.any_node().await?),
        }
    }
}
