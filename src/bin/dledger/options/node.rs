//! The options of a node, from flags, environment and TOML alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use dledger::{ClusterName, Config, Durability, Group, NodeId, Peers, PeersError, RepairPolicy};
use serde::Deserialize;

use super::leader::LeaderOptions;
use super::retention::RetentionOptions;
use super::sources::{Sources, wrong_in};
use super::values::{
    boolean, count, durability, durability_text, one_or_many, repair, repair_text, size, size_text, time_or_zero,
    wait_text,
};
use crate::output::{Failure, usage};

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
    #[arg(long, env = "DLEDGER_JOIN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = boolean, value_name = "BOOL")]
    join: Option<bool>,
    /// Be a cluster of this node alone. Without --peers, --join and this, a node that is no member yet does not start.
    #[arg(long, env = "DLEDGER_SINGLE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = boolean, value_name = "BOOL")]
    single: Option<bool>,
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
    /// What the node does about a damaged ledger: `refuse` keeps it closed (the default), `from-peers` fetches the
    /// damaged ranges from the peers before the ledger starts.
    #[arg(long, env = "DLEDGER_REPAIR", value_parser = repair)]
    #[serde(deserialize_with = "repair_text")]
    repair: Option<RepairPolicy>,
    /// Do not start if one ledger cannot be opened. Without this option the others serve, and that one is closed.
    #[arg(long, env = "DLEDGER_STRICT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = boolean, value_name = "BOOL")]
    strict: Option<bool>,
    /// Keep running when all ledgers are closed, at the start or later: they still answer why, and a ledger whose
    /// directory another process has open is opened once that process ends. Without this option the process ends with
    /// exit code 3. --strict takes precedence.
    #[arg(long, env = "DLEDGER_STAY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = boolean, value_name = "BOOL")]
    stay: Option<bool>,
    /// Size of a segment file, like `256MiB`. All nodes must agree, for ever.
    #[arg(long, env = "DLEDGER_SEGMENT_SIZE", value_parser = size)]
    #[serde(deserialize_with = "size_text")]
    segment_size: Option<ByteSize>,
    /// Largest record, like `4MiB`.
    #[arg(long, env = "DLEDGER_MAX_RECORD", value_parser = size)]
    #[serde(deserialize_with = "size_text")]
    max_record: Option<ByteSize>,
    /// How long to wait for a directory that another process has open, in case that process is about to end. 0 gives
    /// up at once. Default 30s.
    #[arg(long, env = "DLEDGER_LOCK_WAIT", value_parser = time_or_zero, value_name = "TIME")]
    #[serde(deserialize_with = "wait_text")]
    lock_wait: Option<Duration>,
    /// Most client connections at once; the node answers `Busy` to further clients. Default 1024, or what `ulimit -n`
    /// has room for.
    #[arg(long, env = "DLEDGER_MAX_CONNECTIONS", value_name = "COUNT", value_parser = count)]
    max_connections: Option<usize>,
    /// Most connections of other nodes at once; clients take none of them. Default 64.
    #[arg(long, env = "DLEDGER_MAX_PEER_CONNECTIONS", value_name = "COUNT", value_parser = count)]
    max_peer_connections: Option<usize>,
    /// Bytes of appends that all clients together may have in memory before a ledger has taken them.
    /// Default 512MiB, and never less than 256KiB for each connection.
    #[arg(long, env = "DLEDGER_MAX_CLIENT_BYTES", value_name = "SIZE", value_parser = size)]
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
    /// The options of a TOML file, and where in it they are.
    fn from_file(file: &Path, sources: &mut Sources) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            sources.told(format_args!("the file of options, {}: {error}", file.display()), &["config"])
        })?;
        let alone = |text: &str| toml::from_str::<Self>(text).err().map(|error| error.message().to_owned());
        let options = toml::from_str(&text).map_err(|error| usage(wrong_in(file, &text, &error, alone)))?;
        sources.add_file(file, &text);
        Ok(options)
    }

    /// These options; where one is missing, that of the file.
    pub(crate) fn with_file(self, file: Option<&Path>, sources: &mut Sources) -> Result<Self, Failure> {
        Ok(match file {
            Some(file) => self.or(Self::from_file(file, sources)?),
            None => self,
        })
    }

    /// These, and those of `other` where there are none.
    fn or(self, other: Self) -> Self {
        Self {
            group: if self.group.is_empty() { other.group } else { self.group },
            id: self.id.or(other.id),
            peers: self.peers.or(other.peers),
            join: self.join.or(other.join),
            single: self.single.or(other.single),
            data_dir: self.data_dir.or(other.data_dir),
            bind: self.bind.or(other.bind),
            advertise: self.advertise.or(other.advertise),
            cluster: self.cluster.or(other.cluster),
            durability: self.durability.or(other.durability),
            repair: self.repair.or(other.repair),
            strict: self.strict.or(other.strict),
            stay: self.stay.or(other.stay),
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

    /// How a program on the same machine reaches the node.
    pub(crate) fn own(self, sources: &Sources) -> Result<OwnNode, Failure> {
        let id = self.id.ok_or_else(|| missing("id"))?;
        let peers = match &self.peers {
            Some(text) => listed(text, &id, self.bind.as_deref(), self.join.unwrap_or_default(), sources)?,
            None => Peers::default(),
        };
        let listed = peers.get(&id).map(|peer| peer.address.clone());
        let bind = self.bind.or(listed).ok_or_else(|| missing("bind"))?;
        let group = self.group.into_iter().next().ok_or_else(|| missing("group"))?;
        let cluster = self.cluster.unwrap_or_else(|| Config::new(id.clone(), bind.clone()).cluster);
        Ok(OwnNode { id, group, cluster, address: from_here(&bind, sources)? })
    }

    /// The node's configuration.
    pub(crate) fn into_config(self, sources: &Sources) -> Result<Config, Failure> {
        let id = self.id.ok_or_else(|| missing("id"))?;
        let (join, single) = (self.join.unwrap_or_default(), self.single.unwrap_or_default());
        let peers = match &self.peers {
            Some(text) => listed(text, &id, self.bind.as_deref(), join, sources)?,
            None if self.bind.is_none() && (join || single) => return Err(missing("bind")),
            None if self.bind.is_none() => {
                let ways = "--peers is missing: give it with the nodes the cluster is formed of, or give --bind and \
                            --join (a cluster that exists) or --single (a cluster of this node alone). A node that is \
                            a member already needs --bind alone";
                return Err(usage(ways));
            }
            None => Peers::default(),
        };
        let own = peers.get(&id).map(|peer| peer.address.clone());
        let bind = self.bind.or(own).ok_or_else(|| missing("bind"))?;
        if self.advertise.is_none() && bind.rsplit_once(':').is_some_and(|(_, port)| port.parse() == Ok(0_u16)) {
            return Err(usage(format_args!(
                "--bind {bind} takes any free port, and another one at the next start: the members would look for the \
                 node where it was first. Name a port, or say with --advertise HOST:PORT what leads to it"
            )));
        }
        let mut config = Config::new(id, bind);
        if self.group.is_empty() {
            return Err(missing("group"));
        }
        config.groups = self.group;
        config.peers = peers;
        (config.join, config.single) = (join, single);
        config.data_dir = self.data_dir.ok_or_else(|| missing("data-dir"))?;
        config.advertise = self.advertise;
        config.cluster = self.cluster.unwrap_or(config.cluster);
        config.durability = self.durability.unwrap_or(config.durability);
        config.repair = self.repair.unwrap_or(config.repair);
        (config.strict, config.stay) = (self.strict.unwrap_or_default(), self.stay.unwrap_or_default());
        set_sizes(&mut config, self.segment_size, self.max_record, sources)?;
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
        config.validate().map_err(|error| sources.refused(&error))?;
        Ok(config)
    }
}

/// Sets the sizes that are given and those that follow from them: a batch holds at least one record, two batches fit
/// into a segment, and the budget of bytes in flight holds at least one batch.
fn set_sizes(
    config: &mut Config,
    segment: Option<ByteSize>,
    record: Option<ByteSize>,
    sources: &Sources,
) -> Result<(), Failure> {
    config.segment_size = segment.map_or(config.segment_size, |size| size.as_u64());
    let half = usize::try_from(config.segment_size / 2)?;
    let record = match record {
        Some(ByteSize(size)) => usize::try_from(size)?,
        None => config.max_record_bytes.min(half),
    };
    if record > half {
        let (most, segment) = (ByteSize(half as u64).display().iec(), ByteSize(config.segment_size).display().iec());
        let why = format!(
            "--max-record = {record}: expected at most {most}, half of --segment-size ({segment}): give a smaller \
             record, or a larger segment"
        );
        return Err(sources.told(why, &["max-record", "segment-size"]));
    }
    config.max_record_bytes = record;
    config.max_batch_bytes = config.max_batch_bytes.min(half).max(record);
    config.max_inflight_bytes = config.max_inflight_bytes.max(config.max_batch_bytes);
    Ok(())
}

/// The peer list that names this node. With `--bind` the list may lack the node: one that joins needs no list and may
/// see the one that clients use; one that is a member already knows the others from its directory.
fn listed(text: &str, own: &NodeId, at: Option<&str>, join: bool, sources: &Sources) -> Result<Peers, Failure> {
    let without = || text.parse::<Peers>().ok().filter(|list| at.is_some() && list.get(own).is_none());
    match Peers::parse_for(text, own) {
        Err(error) => match without() {
            Some(_) if join => Ok(Peers::default()),
            // Whether it is a member its directory knows.
            Some(list) if matches!(error, PeersError::OwnIdMissing { .. }) => Ok(list),
            _ => Err(sources.told(error, &["peers", "id"])),
        },
        Ok(list) => Ok(list),
    }
}

/// A node, as a program on the same machine reaches it.
pub(crate) struct OwnNode {
    pub(crate) id: NodeId,
    /// One of its ledgers.
    pub(crate) group: Group,
    pub(crate) cluster: ClusterName,
    /// `host:port`.
    pub(crate) address: String,
}

fn missing(option: &str) -> Failure {
    let variable = format!("DLEDGER_{}", option.replace('-', "_").to_uppercase());
    usage(format!("--{option} is missing: give it, set {variable}, or set it in the --config file"))
}

/// The address at which a program on the same machine reaches a node that listens at `bind`: the loopback, if the
/// node listens on all addresses.
fn from_here(bind: &str, sources: &Sources) -> Result<String, Failure> {
    let (host, port) = bind.rsplit_once(':').unwrap_or((bind, ""));
    if port == "0" {
        let why = format!("--bind {bind} takes any free port, which nobody else knows: name a port");
        return Err(sources.told(why, &["bind", "peers"]));
    }
    match host {
        "0.0.0.0" => Ok(format!("127.0.0.1:{port}")),
        "[::]" => Ok(format!("[::1]:{port}")),
        _ => Ok(bind.to_owned()),
    }
}

#[cfg(test)]
mod tests;
