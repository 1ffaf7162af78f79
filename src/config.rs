//! What a node can be told, with units, defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::types::{ClusterName, Group, NodeId, Peers};

/// What an ack means for the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// An ack means: fsynced on a quorum. Survives power loss of all nodes at once.
    #[default]
    Sync,
    /// An ack means: in the page cache of a quorum, and fsynced within this interval. Survives the death of any
    /// minority of processes; a power loss of a quorum within the interval can lose acknowledged records. This is
    /// DLedger's and Kafka's bargain. Votes are fsynced all the same.
    Interval(Duration),
}

/// Smallest segment size, bytes.
pub const MIN_SEGMENT_SIZE: u64 = 64 * 1024;
/// Largest segment size, bytes: offsets within a segment are 32 bits wide.
pub const MAX_SEGMENT_SIZE: u64 = 2 * 1024 * 1024 * 1024;

/// The configuration of a node. Made by [`NodeBuilder`](crate::NodeBuilder), checked as a whole by
/// [`Config::validate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the cluster. Default `dledger`.
    pub cluster: ClusterName,
    /// The node's id.
    pub id: NodeId,
    /// `host:port` to listen on; port 0 takes a free one.
    pub bind: String,
    /// `host:port` the others reach this node at. Default: its address in `peers`.
    pub advertise: Option<String>,
    /// Directory of the node's data. One subdirectory per group.
    pub data_dir: PathBuf,
    /// The nodes the cluster is first formed of, this one included. Once formed, the replicated membership counts.
    pub peers: Peers,
    /// The ledgers to host.
    pub groups: Vec<Group>,
    /// What an ack means.
    pub durability: Durability,
    /// Size of a segment file, bytes. Part of the cluster's identity: all nodes must agree, for ever. Default 256 MiB.
    pub segment_size: u64,
    /// Largest record, bytes. Default 4 MiB.
    pub max_record_bytes: usize,
    /// Largest batch (of [`append_batch`](crate::Ledger::append_batch), or of what travels together), bytes.
    /// Default 8 MiB, and never less than one record.
    pub max_batch_bytes: usize,
    /// Bytes of appends that may be in flight on a ledger; above it `append` waits. Default 64 MiB.
    pub max_inflight_bytes: usize,
    /// How long `append` waits for a master, and then for the quorum. Default 10 s.
    pub append_timeout: Duration,
    /// How often the leader tells the others that it lives. Default 150 ms.
    pub heartbeat_interval: Duration,
    /// A follower that has not heard of a leader for a random time between these two starts an election.
    /// Default 600 ms to 1200 ms.
    pub election_timeout: (Duration, Duration),
    /// A replication stream that makes no progress for so long is broken and opened anew. Default 5 s.
    pub stall_timeout: Duration,
    /// Most connections the node accepts at once. Default 1024.
    pub max_connections: usize,
}

/// A configuration value was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {found} is not usable: {expected}")]
pub struct ConfigError {
    /// The field.
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// What would be.
    pub expected: String,
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
            groups: Vec::new(),
            durability: Durability::default(),
            segment_size: 256 << 20,
            max_record_bytes: 4 << 20,
            max_batch_bytes: 8 << 20,
            max_inflight_bytes: 64 << 20,
            append_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(150),
            election_timeout: (Duration::from_millis(600), Duration::from_millis(1200)),
            stall_timeout: Duration::from_secs(5),
            max_connections: 1024,
        }
    }

    /// Checks what can be checked without touching the machine.
    ///
    /// # Errors
    /// The first value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |key, found: String, expected: String| Err(ConfigError { key, found, expected });
        if self.groups.is_empty() {
            return fail("groups", "none".into(), "name at least one group".into());
        }
        if let Some(twice) = self.groups.iter().enumerate().find(|(i, g)| self.groups[..*i].contains(g)) {
            return fail("groups", twice.1.to_string(), "name each group once".into());
        }
        if !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&self.segment_size) || self.segment_size % 4096 != 0 {
            let expected = format!("a multiple of 4096 from {MIN_SEGMENT_SIZE} to {MAX_SEGMENT_SIZE} bytes");
            return fail("segment_size", self.segment_size.to_string(), expected);
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > self.max_batch_bytes {
            let expected = format!("from 1 to max_batch_bytes ({})", self.max_batch_bytes);
            return fail("max_record_bytes", self.max_record_bytes.to_string(), expected);
        }
        // An entry never crosses a segment: the largest batch, its table and the headers must fit into one.
        if self.max_batch_bytes as u64 > self.segment_size / 2 {
            let expected = format!("at most half a segment ({})", self.segment_size / 2);
            return fail("max_batch_bytes", self.max_batch_bytes.to_string(), expected);
        }
        if self.max_inflight_bytes < self.max_batch_bytes || self.max_inflight_bytes > u32::MAX as usize {
            let expected = format!("from max_batch_bytes ({}) to {}", self.max_batch_bytes, u32::MAX);
            return fail("max_inflight_bytes", self.max_inflight_bytes.to_string(), expected);
        }
        let (low, high) = self.election_timeout;
        if self.heartbeat_interval < Duration::from_millis(10) || self.heartbeat_interval * 3 > low {
            let expected = format!("at least 10 ms and at most a third of the election timeout ({low:?})");
            return fail("heartbeat_interval", format!("{:?}", self.heartbeat_interval), expected);
        }
        if high <= low || high > Duration::from_secs(600) {
            let expected = "the upper bound above the lower, at most 600 s".into();
            return fail("election_timeout", format!("{low:?}..{high:?}"), expected);
        }
        if let Durability::Interval(every) = self.durability
            && !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&every)
        {
            return fail("durability", format!("interval of {every:?}"), "from 1 ms to 60 s".into());
        }
        if self.stall_timeout < self.heartbeat_interval {
            return fail(
                "stall_timeout",
                format!("{:?}", self.stall_timeout),
                "at least the heartbeat interval".into(),
            );
        }
        if self.max_connections < 8 {
            return fail("max_connections", self.max_connections.to_string(), "at least 8".into());
        }
        Ok(())
    }
}
