//! Why a call of a client failed.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`ClientError`] |
//! | `remote` | what a node refused a call with, and what broke a connection |
//! | `timed_out` | how a call ends whose time is up |
//! | `tried` | the nodes that a call was tried at in vain, and what to do about each |

pub(super) mod remote;
pub(super) mod timed_out;
pub(super) mod tried;

use std::time::Duration;

use crate::error::Outcome;
use crate::types::{Consistency, NodeId, Span};
use tried::{List, NodeProblem, Remedies, TriedNode};

/// A call did not end with what was asked for.
///
/// For appends, [`ClientError::outcome`] tells whether the records can be in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No node could be reached before the deadline, or none that could served the call. An append was refused.
    #[error("no node could {} within {} ({}): {}", what(tried), Span(*waited), List(tried), Remedies(tried))]
    Unreachable {
        /// How long the client tried.
        waited: Duration,
        /// Every node that the client tried, and what came of it.
        tried: Vec<TriedNode>,
    },
    /// Nodes answered, but none was master before the deadline. An append was refused.
    #[error("no master within {} ({}): {}", Span(*waited), List(tried), Remedies(tried))]
    NoMaster {
        /// How long the client waited.
        waited: Duration,
        /// What each node said.
        tried: Vec<TriedNode>,
    },
    /// The nodes of the peer list, and those that they named, are of more than one cluster: what is appended to one
    /// cluster is not in the others. An append was refused.
    #[error(
        "these nodes are not of one cluster ({}): find out which of them holds the records that count, and take the \
         others off the peer list",
        among(clusters)
    )]
    TwoClusters {
        /// Each cluster by name and incarnation, with the addresses of its nodes.
        clusters: Vec<(String, Vec<String>)>,
    },
    /// A record or a batch is over the cluster's limit, or over the client's (64 MiB, 65 536 records). The append was
    /// refused.
    #[error("{}", too_large(*size, *limit, message))]
    TooLarge {
        /// The size in bytes; where there are too many records, their number.
        size: u64,
        /// The limit, in the same unit.
        limit: u64,
        /// What is too large, the size and the limit in words, and what to do.
        message: String,
    },
    /// The call was made outside of a tokio runtime, which it needs for its connections and timers. An append was
    /// refused.
    #[error("not in a tokio runtime: make the call in one, such as inside of `Runtime::block_on`")]
    NoRuntime,
    /// A batch without records has no index. The append was refused.
    #[error("the batch is empty: append at least one record")]
    EmptyBatch,
    /// The nodes that answered, or this client itself, had no room before the deadline. An append was refused.
    #[error("busy: {message}")]
    Busy {
        /// Who had no room, and what to do.
        message: String,
    },
    /// The master's disk has no room for another segment: the master takes no append until there is room again. The
    /// append was refused.
    #[error(
        "the master has no room for more records ({reason}): free space on its disk, remove old records, or have a \
         node lead that has room (`dledger transfer`), then append again"
    )]
    DiskFull {
        /// What there is no room for, and what the master's system said.
        reason: String,
    },
    /// The master's process can open or map no further file: it takes no append until it can. The append was refused.
    #[error(
        "the master's process can open or map no further file ({reason}): raise its limit of open files (ulimit -n) or \
         vm.max_map_count, or close what uses them up, then append again"
    )]
    Exhausted {
        /// What is missing, and what the master's system said.
        reason: String,
    },
    /// The ledger is closed on the node: its storage failed, or it shuts down. An append was refused.
    #[error("the ledger is closed on the node: {reason}")]
    Closed {
        /// The first reason.
        reason: String,
    },
    /// The records may or may not be in the log: the connection broke before the answer, or the master lost its place
    /// while it waited for the quorum. Look for them before appending them again.
    #[error("the outcome is unknown ({reason}): look for the records before appending them again")]
    Unknown {
        /// Why the outcome is not known.
        reason: String,
    },
    /// The append was for one term ([`Client::in_term`](crate::Client::in_term)), which is over. The append was
    /// refused.
    #[error(
        "term {term} is over: another master may have appended since. Read on, and decide anew in the present term"
    )]
    Fenced {
        /// The term.
        term: u64,
    },
    /// The node is not the master; appends through a [`Client`](crate::Client) follow the master instead.
    #[error("the node is not the master ({master} at {address} is, as far as it knows)")]
    NotMaster {
        /// The master's id; empty when unknown.
        master: String,
        /// The master's address; empty when unknown.
        address: String,
    },
    /// The node hosts no such ledger.
    #[error("{message}")]
    UnknownGroup {
        /// The ledger that was asked for, and those that the node hosts.
        message: String,
    },
    /// The node belongs to another cluster.
    #[error("{message}")]
    WrongCluster {
        /// The cluster that was meant, and the node's own.
        message: String,
    },
    /// The client was given no peer of this name.
    #[error("no peer is called {node}: the list has {peers}")]
    UnknownNode {
        /// The name that is not in the list.
        node: NodeId,
        /// The names in the list.
        peers: String,
    },
    /// The index is not committed yet, as far as the node knows.
    #[error("index {index} is not there yet: the node has committed up to {committed}. Read again later, or use tail")]
    NotYet {
        /// The index asked for.
        index: u64,
        /// Index after the last committed record.
        committed: u64,
    },
    /// Retention has removed the index.
    #[error("index {index} has been removed: the first one stored is {first}. Go on from there")]
    Removed {
        /// The index asked for.
        index: u64,
        /// Lowest index still stored.
        first: u64,
    },
    /// No committed record begins at the position.
    #[error("{message}")]
    NoRecordAt {
        /// The position asked for.
        position: u64,
        /// The nearest position before it at which a record begins, if the node stores one.
        before: Option<u64>,
        /// The nearest position behind it at which a record begins, if one is committed yet.
        after: Option<u64>,
        /// The same in words.
        message: String,
    },
    /// The node could not make sure in time that the read sees all that it promises to see.
    #[error(
        "no {consistency} read within {} ({reason}): check that a quorum is up, or read with less",
        Span(*waited)
    )]
    Unconfirmed {
        /// The consistency that was asked for.
        consistency: Consistency,
        /// How long the node tried.
        waited: Duration,
        /// What was missing last.
        reason: String,
    },
    /// The stored bytes are damaged on the node, which does not serve them. Another node may have them.
    #[error("{message}")]
    Damaged {
        /// Index of the first record that cannot be had.
        index: u64,
        /// Where the damage is and what to do.
        message: String,
    },
    /// A change of the members did not happen, or its outcome is not known.
    #[error("{message}")]
    Members {
        /// Which of the two, why, and what to do.
        message: String,
    },
    /// There was no answer, or the connection broke before it was complete.
    #[error("{}: {reason}", broken(address, *reached))]
    Broken {
        /// `host:port`.
        address: String,
        /// What the connection broke with.
        reason: String,
        /// Whether a connection to the node existed; if not, perhaps no node runs there.
        reached: bool,
    },
    /// What answers at the address does not speak this protocol, or another version of it.
    #[error("{address} gave an answer that makes no sense ({what}): check that the address is a dledger node's")]
    Malformed {
        /// `host:port`.
        address: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Most messages name the figures.
fn too_large(size: u64, limit: u64, message: &str) -> String {
    let named = message.contains(&size.to_string());
    if named { message.to_owned() } else { format!("{size} is over the limit of {limit}: {message}") }
}

fn broken(address: &str, reached: bool) -> String {
    if reached { format!("the connection to {address} broke") } else { format!("cannot reach {address}") }
}

/// What the nodes that were tried could not do.
fn what(tried: &[TriedNode]) -> &'static str {
    if tried.iter().any(TriedNode::has_answered) { "serve this" } else { "be reached" }
}

fn among(clusters: &[(String, Vec<String>)]) -> String {
    let each: Vec<_> = clusters.iter().map(|(name, nodes)| format!("{} of {name}", nodes.join(", "))).collect();
    each.join("; ")
}

impl ClientError {
    /// Whether the records of a failed append can be in the log.
    pub fn outcome(&self) -> Outcome {
        match self {
            ClientError::Unknown { .. } => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }

    /// The error without the node's address, for a list that names the address already.
    pub(crate) fn why(&self) -> String {
        match self {
            ClientError::Broken { reason, .. } => reason.clone(),
            // What one node said of itself.
            ClientError::NoMaster { tried, .. } if tried.len() == 1 => tried[0].reason.clone(),
            ClientError::Busy { message } => message.clone(),
            other => other.to_string(),
        }
    }

    /// What the failure of a call says of the node.
    pub(crate) fn node_problem(&self) -> NodeProblem {
        match self {
            ClientError::Closed { .. } => NodeProblem::Closed,
            ClientError::Busy { .. } => NodeProblem::Crowded,
            ClientError::DiskFull { .. } | ClientError::Exhausted { .. } => NodeProblem::Full,
            ClientError::UnknownGroup { .. } => NodeProblem::WrongGroup,
            ClientError::WrongCluster { .. } | ClientError::TwoClusters { .. } => NodeProblem::WrongCluster,
            ClientError::NoMaster { .. } => NodeProblem::NoMaster,
            ClientError::NotMaster { .. } => NodeProblem::NotMaster,
            ClientError::Broken { .. } | ClientError::Unreachable { .. } => NodeProblem::Silent,
            _ => NodeProblem::Refused,
        }
    }

    /// Whether another node, or the same node later, may do what this one refused.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            ClientError::NotMaster { .. }
            | ClientError::NoMaster { .. }
            | ClientError::Busy { .. }
            | ClientError::Closed { .. }
            | ClientError::Unreachable { .. }
            // Another node may be in touch with the leader.
            | ClientError::Unconfirmed { .. }
            | ClientError::Broken { .. } => true,
            ClientError::TooLarge { .. }
            // A client cannot tell which of the clusters its user means.
            | ClientError::TwoClusters { .. }
            | ClientError::EmptyBatch
            | ClientError::NoRuntime
            | ClientError::Fenced { .. }
            // An operator has to act, so the caller hears of it at once.
            | ClientError::DiskFull { .. }
            | ClientError::Exhausted { .. }
            | ClientError::Unknown { .. }
            | ClientError::UnknownGroup { .. }
            | ClientError::WrongCluster { .. }
            | ClientError::UnknownNode { .. }
            | ClientError::NotYet { .. }
            | ClientError::Removed { .. }
            | ClientError::NoRecordAt { .. }
            | ClientError::Members { .. }
            | ClientError::Damaged { .. }
            | ClientError::Malformed { .. } => false,
        }
    }
}
