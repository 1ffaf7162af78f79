//! The options of a node, from flags, environment and TOML alike.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use dledger::{ClusterName, Config, Durability, Group, NodeId, Peers, RepairPolicy};
use serde::{Deserialize, Deserializer, de};

use crate::leader_options::LeaderOptions;
use crate::output::{Failure, usage};
use crate::retention_options::RetentionOptions;

/// How often an interval is when none is given.
const INTERVAL: Duration = Duration::from_millis(10);

/// The options of a node. Each may come from the command line, the environment or the TOML file, in that order.
#[derive(Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    /// A ledger to host; give the option several times for several. TOML: `group = ["a", "b"]`.
    #[arg(long, env = "DLEDGER_GROUP", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
    group: Vec<Group>,
    /// The node's id.
    #[arg(long, env = "DLEDGER_ID")]
    id: Option<NodeId>,
    /// The nodes the cluster is formed of, this one included: `n0-host:port;n1-host:port` or `n0=host:port,…`.
    #[arg(long, env = "DLEDGER_PEERS")]
    peers: Option<String>,
    /// Join a cluster that exists: the node forms none and needs no --peers; it waits until a leader adds it.
    #[arg(long, env = "DLEDGER_JOIN")]
    join: bool,
    /// Be a cluster of this node alone. Without --peers, --join and this, a node that is no member yet does not start.
    #[arg(long, env = "DLEDGER_SINGLE")]
    single: bool,
    /// Directory of the node's data.
    #[arg(long, env = "DLEDGER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// `host:port` to listen on. Default: the node's address in --peers.
    #[arg(long, env = "DLEDGER_BIND")]
    bind: Option<String>,
    /// `host:port` the others reach this node at. Default: its address in --peers.
    #[arg(long, env = "DLEDGER_ADVERTISE")]
    advertise: Option<String>,
    /// Name of the cluster. Default `dledger`.
    #[arg(long, env = "DLEDGER_CLUSTER")]
    cluster: Option<ClusterName>,
    /// What an ack means: `sync` (fsynced on a quorum, the default), `interval` or `interval:10ms` (fsynced that soon;
    /// a loss of power within it can lose acknowledged records).
    #[arg(long, env = "DLEDGER_DURABILITY", value_parser = durability)]
    #[serde(deserialize_with = "durability_text")]
    durability: Option<Durability>,
    /// What is done about a damaged ledger: `refuse` (the node does not start, the default) or `from-peers` (what is
    /// damaged is taken from the peers before the ledger starts).
    #[arg(long, env = "DLEDGER_REPAIR", value_parser = repair)]
    #[serde(deserialize_with = "repair_text")]
    repair: Option<RepairPolicy>,
    /// Size of a segment file, like `256MiB`. All nodes must agree, for ever.
    #[arg(long, env = "DLEDGER_SEGMENT_SIZE")]
    #[serde(deserialize_with = "size_text")]
    segment_size: Option<ByteSize>,
    /// Largest record, like `4MiB`.
    #[arg(long, env = "DLEDGER_MAX_RECORD")]
    #[serde(deserialize_with = "size_text")]
    max_record: Option<ByteSize>,
    /// For how long a directory that another process has open is waited for: one that is about to end. 0 gives up at
    /// once. Default 30s.
    #[arg(long, env = "DLEDGER_LOCK_WAIT", value_parser = wait, value_name = "TIME")]
    #[serde(deserialize_with = "wait_text")]
    lock_wait: Option<Duration>,
    /// Most connections of clients at once; those beyond are told so. Default 1024, or what `ulimit -n` has room for.
    #[arg(long, env = "DLEDGER_MAX_CONNECTIONS", value_name = "COUNT")]
    max_connections: Option<usize>,
    /// Most connections of other nodes at once; clients take none of these. Default 64.
    #[arg(long, env = "DLEDGER_MAX_PEER_CONNECTIONS", value_name = "COUNT")]
    max_peer_connections: Option<usize>,
    /// Bytes of clients' appends that may be in memory before a ledger has taken them, of all connections together.
    /// Default 512MiB, and never less than 256KiB for each connection.
    #[arg(long, env = "DLEDGER_MAX_CLIENT_BYTES", value_name = "SIZE")]
    #[serde(deserialize_with = "size_text")]
    max_client_bytes: Option<ByteSize>,
    #[command(flatten)]
    #[serde(flatten)]
    retention: RetentionOptions,
    #[command(flatten)]
    #[serde(flatten)]
    leader: LeaderOptions,
}

impl Options {
    /// The options of a TOML file.
    pub(crate) fn from_file(file: &Path) -> Result<Self, Failure> {
        let told = |error: &dyn std::fmt::Display| usage(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| told(&error))?;
        toml::from_str(&text).map_err(|error| told(&error))
    }

    /// These, and those of `other` where there are none.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            group: if self.group.is_empty() { other.group } else { self.group },
            id: self.id.or(other.id),
            peers: self.peers.or(other.peers),
            join: self.join || other.join,
            single: self.single || other.single,
            data_dir: self.data_dir.or(other.data_dir),
            bind: self.bind.or(other.bind),
            advertise: self.advertise.or(other.advertise),
            cluster: self.cluster.or(other.cluster),
            durability: self.durability.or(other.durability),
            repair: self.repair.or(other.repair),
            segment_size: self.segment_size.or(other.segment_size),
            max_record: self.max_record.or(other.max_record),
            lock_wait: self.lock_wait.or(other.lock_wait),
            max_connections: self.max_connections.or(other.max_connections),
            max_peer_connections: self.max_peer_connections.or(other.max_peer_connections),
            max_client_bytes: self.max_client_bytes.or(other.max_client_bytes),
            retention: self.retention.or(other.retention),
            leader: self.leader.or(other.leader),
        }
    }

    /// The node's configuration.
    pub(crate) fn into_config(self) -> Result<Config, Failure> {
        let missing = |option: &str| usage(format!("--{option} is missing: give it, or set it in the --config file"));
        let id = self.id.ok_or_else(|| missing("id"))?;
        let peers = match &self.peers {
            Some(text) => Peers::parse_for(text, &id)?,
            None if self.bind.is_none() && (self.join || self.single) => return Err(missing("bind")),
            None if self.bind.is_none() => {
                let ways = "--peers is missing: give it with the nodes the cluster is formed of, or give --bind and \
                            --join (a cluster that exists) or --single (a cluster of this node alone)";
                return Err(usage(ways));
            }
            None => Peers::default(),
        };
        let own = peers.get(&id).map(|peer| peer.address.clone());
        let bind = self.bind.or(own).ok_or_else(|| missing("bind"))?;
        let mut config = Config::new(id, bind);
        if self.group.is_empty() {
            return Err(missing("group"));
        }
        config.groups = self.group;
        config.peers = peers;
        config.join = self.join;
        config.single = self.single;
        config.data_dir = self.data_dir.ok_or_else(|| missing("data-dir"))?;
        config.advertise = self.advertise;
        config.cluster = self.cluster.unwrap_or(config.cluster);
        config.durability = self.durability.unwrap_or(config.durability);
        config.repair = self.repair.unwrap_or(config.repair);
        config.segment_size = self.segment_size.map_or(config.segment_size, |size| size.as_u64());
        if let Some(ByteSize(size)) = self.max_record {
            config.max_record_bytes = usize::try_from(size)?;
            // A batch holds at least one record, and what is in flight at least one batch.
            config.max_batch_bytes = config.max_batch_bytes.max(config.max_record_bytes);
            config.max_inflight_bytes = config.max_inflight_bytes.max(config.max_batch_bytes);
        }
        config.lock_wait = self.lock_wait.unwrap_or(config.lock_wait);
        config.max_connections = self.max_connections.unwrap_or(config.max_connections);
        config.max_peer_connections = self.max_peer_connections.unwrap_or(config.max_peer_connections);
        config.max_client_bytes = match self.max_client_bytes {
            Some(ByteSize(size)) => usize::try_from(size)?,
            // What follows from the others, where nobody says more.
            None => config.max_client_bytes.max(config.least_client_bytes()),
        };
        config.retention = self.retention.into_retention();
        self.leader.apply(&mut config);
        config.validate()?;
        Ok(config)
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    match text.split_once(':') {
        None if text == "sync" => Ok(Durability::Sync),
        None if text == "interval" => Ok(Durability::Interval(INTERVAL)),
        Some(("interval", every)) => match humantime::parse_duration(every) {
            Ok(every) => Ok(Durability::Interval(every)),
            Err(error) => Err(format!("{every:?} is no duration ({error}): write `interval:10ms`")),
        },
        _ => Err(format!("{text:?} is no durability: write `sync`, `interval` or `interval:10ms`")),
    }
}

fn durability_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Durability>, D::Error> {
    durability(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

/// A time; a zero needs no unit.
fn wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        _ => humantime::parse_duration(text)
            .map_err(|error| format!("{text:?} is no time ({error}): write it like \"30s\", or 0")),
    }
}

/// Text, or the number 0.
fn wait_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a time like \"30s\", or 0")]
    enum Time {
        Number(u64),
        Text(String),
    }
    let text = match Time::deserialize(value)? {
        Time::Number(number) => number.to_string(),
        Time::Text(text) => text,
    };
    wait(&text).map(Some).map_err(de::Error::custom)
}

fn repair(text: &str) -> Result<RepairPolicy, String> {
    match text {
        "refuse" => Ok(RepairPolicy::Refuse),
        "from-peers" => Ok(RepairPolicy::FromPeers),
        _ => Err(format!("{text:?} is no way to deal with damage: write `refuse` or `from-peers`")),
    }
}

fn repair_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<RepairPolicy>, D::Error> {
    repair(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

/// Bytes as a number, or as text with a unit.
pub(crate) fn size_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<ByteSize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size: bytes as a number, or text like \"256MiB\"")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(value)? {
        Size::Bytes(bytes) => Ok(Some(ByteSize(bytes))),
        Size::Text(text) => match ByteSize::from_str(&text) {
            Ok(size) => Ok(Some(size)),
            Err(error) => Err(de::Error::custom(format!("{text:?} is no size ({error}): write it like \"256MiB\""))),
        },
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Group>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a group name or an array of them")]
    enum Groups {
        One(String),
        Many(Vec<String>),
    }
    let names = match Groups::deserialize(value)? {
        Groups::One(name) => vec![name],
        Groups::Many(names) => names,
    };
    names.iter().map(|name| name.parse().map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use dledger::Retention;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }

    const PEERS: &str = "n0-127.0.0.1:40911;n1-127.0.0.1:40912;n2-127.0.0.1:40913";

    fn flags(line: &[&str]) -> Options {
        Flags::try_parse_from(std::iter::once("serve").chain(line.iter().copied())).unwrap().options
    }

    fn refusal(options: Options) -> String {
        match options.into_config() {
            Err(Failure::Error(_, error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_node_binds_to_its_own_address() {
        let options = flags(&["--group", "g", "--group", "h", "--id", "n1", "--peers", PEERS, "--data-dir", "DIR"]);
        let config = options.into_config().unwrap();
        assert_eq!((config.bind.as_str(), config.peers.len()), ("127.0.0.1:40912", 3));
        assert_eq!(config.groups, ["g".parse().unwrap(), "h".parse().unwrap()]);
        assert_eq!(config.data_dir, PathBuf::from("DIR"));
        assert_eq!(config.retention, None, "nothing is removed unless that is wanted");
    }

    #[test]
    fn a_node_that_joins_needs_no_peers_but_an_address() {
        let all = ["--group", "g", "--group", "h", "--id", "n3", "--join", "--data-dir", "D"];
        assert!(refusal(flags(&all)).contains("--bind is missing"));
        let bind = ["--bind", "0.0.0.0:1", "--advertise", "n3.example:1"];
        let config = flags(&[&all[..], &bind].concat()).into_config().unwrap();
        assert!(config.join && config.peers.is_empty());
        let file: Options = toml::from_str("join = true").unwrap();
        assert!(flags(&[&all[..6], &all[7..], &bind].concat()).or(file).join);
    }

    #[test]
    fn a_cluster_of_one_is_asked_for_by_name() {
        let all = ["--group", "g", "--id", "n0", "--data-dir", "D"];
        let said = refusal(flags(&all));
        assert!(["--peers", "--join", "--single"].iter().all(|way| said.contains(way)), "{said}");
        assert!(refusal(flags(&[&all[..], &["--single"]].concat())).contains("--bind is missing"));
        let file: Options = toml::from_str("single = true\nbind = \"127.0.0.1:1\"").unwrap();
        let config = flags(&all).or(file).into_config().unwrap();
        assert!(config.single && config.peers.is_empty());
        let both = [&all[..], &["--bind", "127.0.0.1:1", "--single", "--join"]].concat();
        assert!(refusal(flags(&both)).contains("single = true"));
    }

    #[test]
    fn flags_win_over_the_file() {
        let text = r#"
            group = ["a", "b"]
            id = "n0"
            peers = "n0=h:1;n1=h:2"
            data-dir = "/from/file"
            durability = "interval:5ms"
            repair = "from-peers"
            segment-size = "64MiB"
            max-record = 1048576
            retention-age = "72h"
            retention-size = "64GiB"
            retention-force = 0.8
        "#;
        let file: Options = toml::from_str(text).unwrap();
        let config = flags(&["--data-dir", "/from/flag", "--segment-size", "32MiB"]).or(file).into_config().unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/from/flag"));
        assert_eq!((config.segment_size, config.max_record_bytes), (32 << 20, 1 << 20));
        assert_eq!(config.durability, Durability::Interval(Duration::from_millis(5)));
        assert_eq!((config.groups.len(), config.repair), (2, RepairPolicy::FromPeers));
        let expected = Retention {
            max_age: Some(Duration::from_secs(72 * 3600)),
            max_bytes: Some(64 << 30),
            force: 0.8,
            ..Retention::default()
        };
        assert_eq!(config.retention, Some(expected));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let cases = [
            ("data_directory = \"x\"", "data_directory"),
            ("durability = \"maybe\"", "no durability"),
            ("segment-size = \"big\"", "no size"),
            ("group = \"a b\"", "not valid"),
            ("repair = \"maybe\"", "write `refuse` or `from-peers`"),
            ("retention-age = \"long\"", "no time"),
            ("retention-size = \"big\"", "no size"),
            ("retention-hours = 3", "retention-hours"),
        ];
        for (text, expected) in cases {
            let error = toml::from_str::<Options>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let Err(Failure::Error(_, error)) = Options::from_file(Path::new("/no/such.toml")) else { panic!("opened") };
        assert!(error.starts_with("/no/such.toml: "), "{error}");
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        assert!(refusal(flags(&["--group", "g"])).contains("--id is missing"));
        assert!(refusal(flags(&["--group", "g", "--id", "n0"])).contains("--peers is missing"));
        assert!(refusal(flags(&["--id", "n0", "--peers", PEERS, "--data-dir", "D"])).contains("--group is missing"));
        assert!(refusal(flags(&["--id", "n0", "--peers", PEERS, "--group", "g"])).contains("--data-dir is missing"));
        assert!(refusal(flags(&["--id", "n7", "--peers", PEERS])).contains("own id n7 is not among the peers"));
        let all = ["--group", "g", "--id", "n0", "--peers", PEERS, "--data-dir", "D", "--segment-size", "1000"];
        assert!(refusal(flags(&all)).contains("segment_size = 1000"));
    }

    #[test]
    fn the_wait_for_a_directory_is_half_a_minute_unless_it_is_given() {
        let all = ["--group", "g", "--id", "n0", "--peers", PEERS, "--data-dir", "D"];
        let waits = |options: Options| options.into_config().unwrap().lock_wait;
        assert_eq!(waits(flags(&all)), Duration::from_secs(30));
        assert_eq!(waits(flags(&[&all[..], &["--lock-wait", "0"]].concat())), Duration::ZERO);
        for (text, expected) in [("lock-wait = 0", 0), ("lock-wait = \"90s\"", 90)] {
            assert_eq!(waits(flags(&all).or(toml::from_str(text).unwrap())), Duration::from_secs(expected));
        }
        assert!(toml::from_str::<Options>("lock-wait = 7").unwrap_err().to_string().contains("is no time"));
    }

    #[test]
    fn durability_reads_as_documented() {
        assert_eq!(durability("sync"), Ok(Durability::Sync));
        assert_eq!(durability("interval"), Ok(Durability::Interval(INTERVAL)));
        assert_eq!(durability("interval:1s"), Ok(Durability::Interval(Duration::from_secs(1))));
        assert!(durability("interval:soon").unwrap_err().contains("interval:10ms"));
    }
}
