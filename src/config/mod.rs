//! What a node can be told, with units, defaults and bounds.

mod cluster;
pub(crate) mod lease;
mod limits;
mod reach;
mod retention;
mod sizes;
mod upkeep;

use std::path::PathBuf;
use std::time::Duration;

use crate::types::{ClusterName, Group, NodeId, Peers, checked_address, checked_bind};
pub use limits::MAX_RECORD_BYTES;
pub(crate) use limits::{CLIENT_FRAME_BYTES, MESSAGE_SLACK};
pub use retention::Retention;
pub use upkeep::{RepairPolicy, Scrub};

/// What an ack means for the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// An ack means: fsynced on a quorum. Survives power loss of all nodes at once.
    #[default]
    Sync,
    /// An ack means: in the page cache of a quorum, and fsynced within this interval. Survives the death of all
    /// processes. A loss of power within the interval can lose acknowledged records: on a quorum of nodes at once, or
    /// on one node while another that has them is out of reach of the next election. This is DLedger's and Kafka's
    /// bargain. Votes are fsynced all the same.
    Interval(Duration),
}

/// Smallest segment size, bytes.
pub const MIN_SEGMENT_SIZE: u64 = 64 * 1024;
/// Largest segment size, bytes: offsets within a segment are 32 bits wide.
pub const MAX_SEGMENT_SIZE: u64 = 2 * 1024 * 1024 * 1024;
/// Largest record where nobody says otherwise, bytes.
const DEFAULT_MAX_RECORD_BYTES: usize = 4 << 20;
/// Largest batch where nobody says otherwise, bytes.
const DEFAULT_MAX_BATCH_BYTES: usize = 8 << 20;

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
    /// `host:port` the others reach this node at. Default: its address in `peers`, or else where it listens: which must
    /// then be an address that leads here, and not all of them.
    pub advertise: Option<String>,
    /// Directory of the node's data. One subdirectory per group.
    pub data_dir: PathBuf,
    /// The nodes the cluster is first formed of, this one included. Once formed, the replicated membership counts.
    pub peers: Peers,
    /// Whether the node joins a cluster that exists. It then never forms one: it needs no peer list, and waits until
    /// the leader of its ledgers adds it. Once it is a member this changes nothing. Default: false.
    pub join: bool,
    /// Whether the node is a cluster of its own. Only a node that is asked to be one forms one: a node that is told
    /// neither of `peers`, nor to `join`, nor of this, does not start on a ledger without a membership, for whoever
    /// forgot to name its cluster would have two. Once there is a membership this changes nothing. Default: false.
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
    /// Whether a node of which no ledger can be opened starts all the same, to be asked why. Default: false.
    /// [`Config::strict`] comes first.
    pub stay: bool,
    /// How sealed segments are read in the background; `None`: not at all.
    pub scrub: Option<Scrub>,
    /// Which records are removed when; `None`, the default: none, ever, unless somebody asks for it
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
    /// How often the leader tells the others that it lives. To be the same on all nodes. Where nothing happens it
    /// does so every fourth time only, as long as it is answered and the election timeout allows. Default 100 ms.
    pub heartbeat_interval: Duration,
    /// Lower and upper bound of the election timeout. A follower holds on to a leader it has not heard of for the upper
    /// bound (the leader's lease), and then waits a random time between the two before it asks for votes: with the
    /// default of 400 ms and 800 ms, 1.2 s to 1.6 s in all.
    pub election_timeout: (Duration, Duration),
    /// Whether followers give up a leader before the lease is over when its connections break and nobody listens any
    /// more where it was: the process is dead. Default true. Lease reads stay sound either way (`docs/invariants.md`).
    pub fast_failover: bool,
    /// Who is to lead, the most wanted first. A master hands over to one that comes before it as soon as that one is a
    /// voter, answers and has caught up. Default: nobody in particular.
    pub preferred_leaders: Vec<NodeId>,
    /// A master whose disk has made nothing durable for so long, although there was something, and for three times as
    /// long as it lately took at most, hands over if another voter's disk has done better. 100 ms to 600 s, default
    /// 2 s.
    pub disk_stall_timeout: Duration,
    /// For how long a start waits for a directory that another process has open, which may be about to end: an
    /// orchestrator starts the next one when it is told to forget the last. Zero: not at all. At most 1 h, default
    /// 30 s, embedded or not: a wait is told in the log, and dropping the future of the start ends it.
    pub lock_wait: Duration,
    /// A replication stream that makes no progress for so long is broken and opened anew. At most 600 s,
    /// default 5 s.
    pub stall_timeout: Duration,
    /// Most connections that clients may have open, at least 8; those beyond are told that there is no place. The last
    /// four of them, an eighth of fewer than 32, are kept for callers on the node's own machine, such as probes. At the
    /// start it is lowered, with a warning, to what the descriptors of the process allow. Default 1024.
    pub max_connections: usize,
    /// Most connections that other nodes may have open, at least 6. A node has up to three to each other node. Clients
    /// take none of these. Default 64.
    pub max_peer_connections: usize,
    /// Bytes of clients' appends that may be on the node before a ledger has taken them, of all connections together.
    /// One half is for messages: above it they wait, unread, and are refused as busy when their time is up. The other
    /// half is what clients may send before the node reads it, divided by `max_connections`: from 128 KiB to about
    /// 1 MiB for each append stream. At least twice the largest batch and 1 MiB, and 256 KiB for each connection.
    /// Default 512 MiB.
    pub max_client_bytes: usize,
}

/// A configuration value was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {found} is not usable: expected {expected}")]
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

    /// How long a leader may answer lease reads after it sent what a quorum answered.
    pub(crate) fn lease_window(&self) -> Duration {
        // A heartbeat's answer comes back while it counts. Followers hold on to the leader for a little longer, and so
        // for that long nobody takes over from one that has died.
        self.heartbeat_interval * 5 / 4
    }

    /// Addresses of all peers but this node.
    pub(crate) fn other_peers(&self) -> Vec<String> {
        self.peers.iter().filter(|peer| peer.id != self.id).map(|peer| peer.address.clone()).collect()
    }

    /// Checks what can be checked without touching the machine. That the node is among its `peers` is checked at the
    /// start, where it is no member yet ([`Peers::require`]).
    ///
    /// # Errors
    /// The first value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_names()?;
        self.check_sizes()?;
        self.check_retention()?;
        self.check_times()
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        if self.groups.is_empty() {
            return refused("groups", "none", "at least one group");
        }
        if let Some((_, twice)) = self.groups.iter().enumerate().find(|(i, g)| self.groups[..*i].contains(g)) {
            return refused("groups", twice, "each group once");
        }
        if let Err(why) = checked_bind(&self.bind) {
            return refused("bind", format!("{:?}", self.bind), format!("host:port ({why})"));
        }
        if let Some(address) = &self.advertise
            && let Err(why) = checked_address(address)
        {
            return refused("advertise", format!("{address:?}"), format!("host:port ({why})"));
        }
        let preferred = &self.preferred_leaders;
        if let Some((_, twice)) = preferred.iter().enumerate().find(|(i, id)| preferred[..*i].contains(id)) {
            return refused("preferred_leaders", twice, "each node once, the most wanted first");
        }
        self.check_cluster()?;
        self.check_reach()
    }

    fn check_retention(&self) -> Result<(), ConfigError> {
        let Some(retention) = &self.retention else { return Ok(()) };
        retention.validate()?;
        match retention.max_bytes {
            Some(most) if most < self.segment_size => {
                let expected = format!(
                    "at least a segment ({}): whole segments go, and never the one that is written to",
                    self.segment_size
                );
                refused("retention.max_bytes", most, expected)
            }
            _ => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        if !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&self.segment_size)
            || !self.segment_size.is_multiple_of(4096)
        {
            let expected = format!("a multiple of 4096 from {MIN_SEGMENT_SIZE} to {MAX_SEGMENT_SIZE} bytes");
            return refused("segment_size", self.segment_size, expected);
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > self.max_batch_bytes {
            let expected = format!("from 1 to max_batch_bytes ({})", self.max_batch_bytes);
            return refused("max_record_bytes", self.max_record_bytes, expected);
        }
        // An entry never crosses a segment: the largest batch, its table and the headers must fit into one.
        if self.max_batch_bytes as u64 > self.segment_size / 2 {
            let expected = format!("at most half a segment ({})", self.segment_size / 2);
            return refused("max_batch_bytes", self.max_batch_bytes, expected);
        }
        if self.max_inflight_bytes < self.max_batch_bytes || self.max_inflight_bytes > u32::MAX as usize {
            let expected = format!("from max_batch_bytes ({}) to {}", self.max_batch_bytes, u32::MAX);
            return refused("max_inflight_bytes", self.max_inflight_bytes, expected);
        }
        if let Some(scrub) = &self.scrub
            && (scrub.bytes_per_second == 0 || scrub.every < Duration::from_secs(1))
        {
            return refused("scrub", format!("{scrub:?}"), "at least a byte per second, and a second between passes");
        }
        self.check_records()?;
        self.check_connections()
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let (low, high) = self.election_timeout;
        // The upper bound first: what is multiplied or added further on cannot overflow then.
        if high <= low || high > Duration::from_secs(600) {
            let expected = "the upper bound above the lower, at most 600 s";
            return refused("election_timeout", format!("{low:?}..{high:?}"), expected);
        }
        if self.heartbeat_interval < Duration::from_millis(10) || self.heartbeat_interval > low / 3 {
            let expected = format!("at least 10 ms and at most a third of the lower election timeout ({low:?})");
            return refused("heartbeat_interval", format!("{:?}", self.heartbeat_interval), expected);
        }
        if let Durability::Interval(every) = self.durability
            && !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&every)
        {
            return refused("durability", format!("interval of {every:?}"), "from 1 ms to 60 s");
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&self.append_timeout) {
            return refused("append_timeout", format!("{:?}", self.append_timeout), "from 1 ms to 1 h");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&self.disk_stall_timeout) {
            return refused("disk_stall_timeout", format!("{:?}", self.disk_stall_timeout), "from 100 ms to 600 s");
        }
        if self.lock_wait > Duration::from_secs(3600) {
            return refused("lock_wait", format!("{:?}", self.lock_wait), "at most 1 h");
        }
        if !(self.heartbeat_interval..=Duration::from_secs(600)).contains(&self.stall_timeout) {
            let expected = format!("from the heartbeat interval ({:?}) to 600 s", self.heartbeat_interval);
            return refused("stall_timeout", format!("{:?}", self.stall_timeout), expected);
        }
        Ok(())
    }
}

fn refused(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError { key, found: found.to_string(), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Config {
        Config { groups: vec!["g".parse().unwrap()], ..Config::new(NodeId::new(0), "127.0.0.1:0") }
    }

    /// The key that a change of the defaults is refused for.
    fn key(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = valid();
        change(&mut config);
        let error = config.validate().err()?;
        assert!(error.to_string().starts_with(error.key), "{error}");
        assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error}");
        Some(error.key)
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_defaults_are_valid_once_there_is_a_group() {
        assert_eq!(valid().validate(), Ok(()));
        assert_eq!(key(|c| c.groups.clear()), Some("groups"));
    }

    #[test]
    fn a_group_that_is_named_twice_is_refused_by_name() {
        let twice = Config { groups: ["a", "b", "a"].map(|g| g.parse().unwrap()).to_vec(), ..valid() };
        let error = twice.validate().unwrap_err();
        assert_eq!((error.key, error.found.as_str()), ("groups", "a"));
    }

    #[test]
    fn a_leader_that_is_preferred_twice_is_refused_by_name() {
        let ids = |ids: &[u64]| ids.iter().map(|id| NodeId::new(*id)).collect::<Vec<_>>();
        assert_eq!(key(|c| c.preferred_leaders = ids(&[1, 0])), None);
        assert_eq!(key(|c| c.preferred_leaders = ids(&[1, 0, 1])), Some("preferred_leaders"));
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(key(|c| c.bind = "40911".into()), Some("bind"));
        assert_eq!(key(|c| c.advertise = Some("broker-0.brokers:40911".into())), None);
        assert_eq!(key(|c| c.advertise = Some("broker-0.brokers".into())), Some("advertise"));
        assert_eq!(key(|c| c.advertise = Some("0.0.0.0:40911".into())), Some("advertise"));
    }

    #[test]
    fn the_segment_size_is_bounded_and_whole_pages() {
        let small = |c: &mut Config| (c.max_record_bytes, c.max_batch_bytes) = (1, 1);
        for (size, expected) in [
            (MIN_SEGMENT_SIZE, None),
            (MAX_SEGMENT_SIZE, None),
            (MIN_SEGMENT_SIZE - 4096, Some("segment_size")),
            (MAX_SEGMENT_SIZE + 4096, Some("segment_size")),
            (MIN_SEGMENT_SIZE + 1, Some("segment_size")),
            (0, Some("segment_size")),
            (u64::MAX, Some("segment_size")),
        ] {
            let change = |c: &mut Config| {
                small(c);
                c.segment_size = size;
            };
            assert_eq!(key(change), expected, "{size}");
        }
    }

    #[test]
    fn record_batch_and_in_flight_bytes_fit_into_each_other() {
        assert_eq!(key(|c| c.max_record_bytes = 0), Some("max_record_bytes"));
        assert_eq!(key(|c| c.max_record_bytes = 1), None);
        assert_eq!(key(|c| c.max_record_bytes = c.max_batch_bytes), None);
        assert_eq!(key(|c| c.max_record_bytes = c.max_batch_bytes + 1), Some("max_record_bytes"));
        assert_eq!(key(|c| c.segment_size = 2 * c.max_batch_bytes as u64), None);
        assert_eq!(key(|c| c.segment_size = 2 * c.max_batch_bytes as u64 - 4096), Some("max_batch_bytes"));
        assert_eq!(key(|c| c.max_inflight_bytes = c.max_batch_bytes), None);
        assert_eq!(key(|c| c.max_inflight_bytes = c.max_batch_bytes - 1), Some("max_inflight_bytes"));
        assert_eq!(key(|c| c.max_inflight_bytes = u32::MAX as usize), None);
        assert_eq!(key(|c| c.max_inflight_bytes = u32::MAX as usize + 1), Some("max_inflight_bytes"));
    }

    #[test]
    fn heartbeats_leave_room_before_an_election() {
        assert_eq!(key(|c| c.heartbeat_interval = ms(10)), None);
        assert_eq!(key(|c| c.heartbeat_interval = ms(9)), Some("heartbeat_interval"));
        assert_eq!(key(|c| c.heartbeat_interval = c.election_timeout.0 / 3), None);
        assert_eq!(key(|c| c.heartbeat_interval = c.election_timeout.0 / 3 + ms(1)), Some("heartbeat_interval"));
        assert_eq!(key(|c| c.heartbeat_interval = Duration::MAX), Some("heartbeat_interval"));
        assert_eq!(key(|c| c.election_timeout.1 = c.election_timeout.0), Some("election_timeout"));
        assert_eq!(key(|c| c.election_timeout.1 = c.election_timeout.0 + ms(1)), None);
        assert_eq!(key(|c| c.election_timeout.1 = ms(600_000)), None);
        assert_eq!(key(|c| c.election_timeout.1 = ms(600_001)), Some("election_timeout"));
        assert_eq!(key(|c| c.election_timeout = (Duration::MAX, Duration::MAX)), Some("election_timeout"));
    }

    #[test]
    fn intervals_and_timeouts_are_bounded() {
        for (every, expected) in [(0, Some("durability")), (1, None), (60_000, None), (60_001, Some("durability"))] {
            assert_eq!(key(|c| c.durability = Durability::Interval(ms(every))), expected, "{every} ms");
        }
        for (wait, expected) in
            [(0, Some("append_timeout")), (1, None), (3_600_000, None), (3_600_001, Some("append_timeout"))]
        {
            assert_eq!(key(|c| c.append_timeout = ms(wait)), expected, "{wait} ms");
        }
        assert_eq!(key(|c| c.stall_timeout = c.heartbeat_interval), None);
        assert_eq!(key(|c| c.stall_timeout = c.heartbeat_interval - ms(1)), Some("stall_timeout"));
        assert_eq!(key(|c| c.stall_timeout = ms(600_000)), None);
        assert_eq!(key(|c| c.stall_timeout = ms(600_001)), Some("stall_timeout"));
    }

    #[test]
    fn scrubbing_moves_on_and_rests() {
        let scrub = |bytes_per_second, every| Some(Scrub { bytes_per_second, every: ms(every) });
        assert_eq!(key(|c| c.scrub = None), None);
        assert_eq!(key(|c| c.scrub = scrub(1, 1000)), None);
        assert_eq!(key(|c| c.scrub = scrub(0, 1000)), Some("scrub"));
        assert_eq!(key(|c| c.scrub = scrub(1, 999)), Some("scrub"));
    }

    #[test]
    fn retention_is_checked_with_the_rest() {
        assert_eq!(key(|c| c.retention = Some(Retention::default())), None);
        let wrong = Retention { check: 0.9, force: 0.8, ..Retention::default() };
        assert_eq!(key(|c| c.retention = Some(wrong)), Some("retention.force"));
        let of = |bytes| Retention { max_bytes: Some(bytes), ..Retention::default() };
        assert_eq!(key(|c| c.retention = Some(of(c.segment_size))), None);
        assert_eq!(key(|c| c.retention = Some(of(c.segment_size - 1))), Some("retention.max_bytes"));
    }

    #[test]
    fn connections_leave_room_for_the_peers() {
        assert_eq!(key(|c| c.max_connections = 8), None);
        assert_eq!(key(|c| c.max_connections = 7), Some("max_connections"));
    }
}
