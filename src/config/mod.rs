//! What a node can be told, with units, defaults and bounds.
//!
//! | file | what is told |
//! |---|---|
//! | `names` | who the node is: groups, addresses, preferred leaders |
//! | `cluster` | which cluster it is of |
//! | `reach` | where the others reach it |
//! | `durability` | what an ack means |
//! | `sizes` | segments, records, batches |
//! | `limits` | how much clients and connections may cost |
//! | `timing` | heartbeats, elections, timeouts, and what follows from them |
//! | `retention` | what may be removed, and when |
//! | `upkeep` | how damage is found and repaired |
//! | `error` | a value that cannot be used |
//! | `kit` | what the tests of these files share |

mod cluster;
mod durability;
mod error;
#[cfg(test)]
mod kit;
mod limits;
mod names;
mod reach;
mod retention;
mod sizes;
pub(crate) mod timing;
mod upkeep;

use std::path::PathBuf;
use std::time::Duration;

use crate::types::{ClusterName, Group, NodeId, Peers};
pub use durability::Durability;
pub use error::ConfigError;
use error::refused;
pub use limits::MAX_RECORD_BYTES;
pub(crate) use limits::{CLIENT_FRAME_BYTES, MESSAGE_SLACK};
pub use retention::Retention;
use sizes::{DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_RECORD_BYTES};
pub use sizes::{MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE};
pub use upkeep::{RepairPolicy, Scrub};

/// The configuration of a node. Made by [`NodeBuilder`](crate::NodeBuilder), checked as a whole by
/// [`Config::validate`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the cluster. Default `dledger`.
    pub cluster: ClusterName,
    /// The node's id.
    pub id: NodeId,
    /// `host:port` to listen on; port 0 takes a free one.
    pub bind: String,
    /// `host:port` the others reach this node at. Default: the node's address in `peers`, or else `bind`, which must
    /// then be one address that leads here, and not all addresses of the machine.
    pub advertise: Option<String>,
    /// Directory of the node's data. One subdirectory per group.
    pub data_dir: PathBuf,
    /// The nodes the cluster is first formed of, this one included. Once formed, the replicated membership counts.
    pub peers: Peers,
    /// Whether the node joins a cluster that exists. It then never forms one: it needs no peer list, and waits until
    /// the leader of its ledgers adds it. Once it is a member this changes nothing. Default: false.
    pub join: bool,
    /// Whether the node is a cluster of its own. A node with neither `peers` nor `join` nor this does not start on a
    /// ledger without a membership, because an operator who forgot to name the cluster would end up with two. Once
    /// there is a membership this changes nothing. Default: false.
    pub single: bool,
    /// The ledgers to host.
    pub groups: Vec<Group>,
    /// What an ack means.
    pub durability: Durability,
    /// What is done about damage. Default: nothing, the ledger stays closed.
    pub repair: RepairPolicy,
    /// Whether one ledger that cannot be opened keeps the whole node from starting. Default: false. The others serve,
    /// and that one is closed, with its reason ([`Node::status`](crate::Node::status)).
    pub strict: bool,
    /// Whether a node that can open none of its ledgers starts all the same, so that operators can ask it why. Default:
    /// false. [`Config::strict`] comes first.
    pub stay: bool,
    /// How sealed segments are read in the background; `None`: not at all.
    pub scrub: Option<Scrub>,
    /// Which records the node removes, and when; `None`, the default: never, unless somebody asks for it
    /// ([`Ledger::remove_below`](crate::Ledger::remove_below)).
    pub retention: Option<Retention>,
    /// Size of a segment file, bytes. Part of the cluster's identity: all nodes must agree, for ever. Default 256 MiB.
    /// With [`Config::set_segment_size`] the sizes below follow.
    pub segment_size: u64,
    /// Largest record, bytes; at most [`MAX_RECORD_BYTES`]. Default 4 MiB.
    pub max_record_bytes: usize,
    /// Largest batch (of [`append_batch`](crate::Ledger::append_batch), or of what travels together), bytes.
    /// Default 8 MiB, and never less than one record.
    pub max_batch_bytes: usize,
    /// Bytes of appends that may be in flight on a ledger; above it `append` waits. Default 64 MiB.
    pub max_inflight_bytes: usize,
    /// How long `append` waits for a master, and then for the quorum. 1 ms to 1 h, default 10 s.
    pub append_timeout: Duration,
    /// How often the leader sends a heartbeat. Must be the same on all nodes. While the ledger is idle the leader sends
    /// only every fourth one, as long as it is answered and the election timeout allows. Default 100 ms.
    pub heartbeat_interval: Duration,
    /// Lower and upper bound of the election timeout. A follower holds on to a silent leader for the upper bound (the
    /// leader's lease), and then waits a random time between the two before it asks for votes: with the default of
    /// 400 ms and 800 ms, 1.2 s to 1.6 s in all.
    pub election_timeout: (Duration, Duration),
    /// Whether followers give up a leader before the lease is over when its connections break and no process listens at
    /// its address any more, which means that it is dead. Default true. Lease reads stay sound either way
    /// (`docs/invariants.md`).
    pub fast_failover: bool,
    /// The nodes that are to lead, the most wanted first. A master hands over to a node that comes before it in this
    /// list as soon as that node is a voter, answers and has caught up. Default: no preference.
    pub preferred_leaders: Vec<NodeId>,
    /// How long a sync may hang before the master hands over: its disk has made nothing durable for this time, although
    /// there was something to sync, and for three times the longest that a sync lately took. It hands over only if
    /// another voter's disk does better. 100 ms to 600 s, default 2 s.
    pub disk_stall_timeout: Duration,
    /// How long a start waits for a directory that another process has open. That process may be about to end, because
    /// orchestrators start a successor before the predecessor is gone. Zero: not at all. At most 1 h, default 30 s. The
    /// log tells of a wait, and dropping the future of the start ends it.
    pub lock_wait: Duration,
    /// How long a replication stream may make no progress before the leader breaks it and opens a new one. At most 600
    /// s, default 5 s.
    pub stall_timeout: Duration,
    /// Most connections that clients may have open, at least 8; the node tells those beyond that it has no place. It
    /// keeps the last four (of fewer than 32, an eighth) for callers on its own machine, such as probes. A start lowers
    /// it, with a warning, to what the process's file descriptors allow. Default 1024.
    pub max_connections: usize,
    /// Most connections that other nodes may have open, at least 6. A node has up to three to each other node. Clients
    /// take none of these. Default 64.
    pub max_peer_connections: usize,
    /// Bytes of clients' appends that the node may hold before a ledger has taken them, over all connections. One half
    /// is for messages that the node has read; beyond it messages wait unread, and the node refuses them as busy when
    /// their time is up. The other half is what clients may send before the node reads it, divided by
    /// `max_connections`: from 128 KiB to about 1 MiB for each append stream. At least twice the largest batch and
    /// 1 MiB, and 256 KiB for each connection. Default 512 MiB.
    pub max_client_bytes: usize,
}

impl Config {
    /// The defaults for a node that listens at `bind`.
    pub fn new(id: NodeId, bind: impl Into<String>) -> Self {
        Self {
            cluster: ClusterName::default(),
            id,
            bind: bind.into(),
            advertise: None,
            data_dir: PathBuf::from("dledger-data"),
            peers: Peers::default(),
            join: false,
            single: false,
            groups: Vec::new(),
            durability: Durability::default(),
            repair: RepairPolicy::default(),
            strict: false,
            stay: false,
            scrub: Some(Scrub::default()),
            retention: None,
            segment_size: 256 << 20,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            max_batch_bytes: DEFAULT_MAX_BATCH_BYTES,
            max_inflight_bytes: 64 << 20,
            append_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: (Duration::from_millis(400), Duration::from_millis(800)),
            fast_failover: true,
            preferred_leaders: Vec::new(),
            disk_stall_timeout: Duration::from_secs(2),
            lock_wait: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(5),
            max_connections: 1024,
            max_peer_connections: 64,
            max_client_bytes: 512 << 20,
        }
    }

    /// Addresses of all peers but this node.
    pub(crate) fn other_peers(&self) -> Vec<String> {
        self.peers.iter().filter(|peer| peer.id != self.id).map(|peer| peer.address.clone()).collect()
    }

    /// Checks what can be checked without touching the machine. Only the start checks that the node is among its
    /// `peers`, and only where it is no member yet ([`Peers::require`]).
    ///
    /// # Errors
    /// The first value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_names()?;
        self.check_cluster()?;
        self.check_reach()?;
        self.check_sizes()?;
        self.check_upkeep()?;
        self.check_records()?;
        self.check_connections()?;
        self.check_retention()?;
        self.check_times()
    }
}
