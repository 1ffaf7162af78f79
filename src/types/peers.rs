//! The static peer list and its two spellings.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::NodeId;

/// One peer of a static list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node id.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
}

/// The nodes a cluster is first formed of, this node included.
///
/// Two spellings, peers separated by `;` (DLedger's) or `,`:
///
/// - `n0=host:port;n1=host:port`: plain.
/// - `n0-host:port;n1-host:port`: DLedger's. Ids and hosts may both hold dashes, so where the id ends is decided for
///   all peers alike: after as many dashes as the own id has ([`Peers::parse_for`]), or, where no own id is known,
///   after the smallest number of dashes that makes all ids differ. Pods of a StatefulSet
///   (`broker-0-broker-0.brokers:40911;broker-1-broker-1.brokers:40911`) come out right both ways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers(Vec<Peer>);

/// A peer list was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// The list holds no peer.
    #[error("the peer list is empty: write `n0-host:port;n1-host:port;…`")]
    Empty,
    /// One peer cannot be read.
    #[error("peer {found:?} cannot be read ({why}): write `id-host:port` or `id=host:port`")]
    Malformed {
        /// The peer as written.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two peers share an id.
    #[error("peer id {id} stands for both {first} and {second}: give every peer an id of its own")]
    DuplicateId {
        /// The id.
        id: NodeId,
        /// Address of the first.
        first: String,
        /// Address of the second.
        second: String,
    },
    /// Two peers share an address.
    #[error("address {address} stands for both {first} and {second}: every peer needs an address of its own")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// Id of the first.
        first: NodeId,
        /// Id of the second.
        second: NodeId,
    },
    /// The node's own id is not in the list.
    #[error("own id {id} is not among the peers ({peers}): add it or correct the id")]
    OwnIdMissing {
        /// The own id.
        id: NodeId,
        /// The list.
        peers: String,
    },
}
