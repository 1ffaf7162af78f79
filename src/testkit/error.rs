//! What goes wrong with the cluster of a test.

use std::io;
use std::time::Duration;

use crate::error::{LedgerError, StartError};
use crate::types::PeersError;

/// The cluster is not as the test would have it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// A node does not start.
    #[error("n{node} does not start: {source}")]
    Start {
        /// The node.
        node: usize,
        /// Why.
        source: Box<StartError>,
    },
    /// There is no such node.
    #[error("there is no n{node}: the cluster has {nodes} nodes, from n0 on")]
    NoSuchNode {
        /// The node.
        node: usize,
        /// How many there are, spares among them.
        nodes: usize,
    },
    /// The node does not run.
    #[error("n{node} does not run: restart it first")]
    Down {
        /// The node.
        node: usize,
    },
    /// The node runs.
    #[error("n{node} runs already: kill or stop it first")]
    Running {
        /// The node.
        node: usize,
    },
    /// The node does not host the ledger, or could not open it.
    #[error("n{node}: {source}")]
    Ledger {
        /// The node.
        node: usize,
        /// Why.
        source: LedgerError,
    },
    /// The event of a wait did not come in time.
    #[error("{what} did not come within {waited:?}: {nodes}")]
    Late {
        /// What.
        what: String,
        /// For how long.
        waited: Duration,
        /// How each node stood then.
        nodes: String,
    },
    /// The machine has no directory or no port for the cluster.
    #[error("cannot {doing} for the cluster: {source}")]
    Machine {
        /// What was to be done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// That many nodes make no cluster.
    #[error("a cluster of {nodes} nodes cannot be: {source}")]
    Nodes {
        /// How many.
        nodes: usize,
        /// Why.
        source: PeersError,
    },
}
