//! A node that could not be started.

use std::io;

use super::{Damage, OpenError, RepairError};
use crate::config::ConfigError;
use crate::types::{Group, NodeId, PeersError};

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configuration value is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The peer list is not usable.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The node cannot listen on its address.
    #[error("cannot listen on {address}: {source}. Stop what holds the port, or choose another address")]
    Bind {
        /// The address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The ledger has no membership yet, and nothing says which cluster the node is of. Nothing was made.
    #[error(
        "node {node} is told of no cluster for ledger {group}, which has no membership yet{}. Name {} nodes it is \
         formed of (--peers, NodeBuilder::peers), have it join a cluster that exists (--join, NodeBuilder::join), \
         or ask for a cluster of this node alone (--single, NodeBuilder::single)",
        not_enough(*listed),
        if *listed { "all" } else { "the" },
    )]
    NoCluster {
        /// The node.
        node: NodeId,
        /// The ledger.
        group: Group,
        /// Whether there is a peer list, of this node alone.
        listed: bool,
    },
    /// A group's directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A group's directory is damaged, and could not be repaired from the peers.
    #[error("{damage}; {error}")]
    Unrepaired {
        /// What is damaged.
        damage: Box<Damage>,
        /// Why it could not be repaired.
        error: RepairError,
    },
    /// None of the node's ledgers can be opened. If at least one can, the node starts and the others stay closed.
    #[error("none of the ledgers can be opened: {}", reasons(failed))]
    Ledgers {
        /// Each of them, and why.
        failed: Vec<(Group, StartError)>,
    },
    /// Raft refused to start on what it found.
    #[error("ledger {group} cannot start: {reason}")]
    Raft {
        /// The ledger.
        group: Group,
        /// What Raft said.
        reason: String,
    },
}

fn not_enough(listed: bool) -> &'static str {
    match listed {
        true => ": a peer list of this node alone is not enough, for it may be what is left of a longer one",
        false => "",
    }
}

fn reasons(failed: &[(Group, StartError)]) -> String {
    failed.iter().map(|(group, error)| format!("{group}: {error}")).collect::<Vec<_>>().join("; ")
}
