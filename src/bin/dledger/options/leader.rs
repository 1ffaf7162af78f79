//! How leaders are found, kept and given up, from flags, environment and TOML alike.

use std::time::Duration;

use clap::Args;
use dledger::{Config, NodeId};
use serde::Deserialize;

use super::values::{boolean, time, time_text};

/// All nodes need the same values, except for the preferred leaders, which some nodes may go without.
#[derive(Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct LeaderOptions {
    /// Nodes that should lead, the most wanted first, like `n2,n0`. A master hands over to a node that comes before
    /// it in this list once that node has caught up. TOML: `preferred-leaders = ["n2", "n0"]`.
    #[arg(long, env = "DLEDGER_PREFERRED_LEADERS", value_delimiter = ',', value_name = "IDS")]
    preferred_leaders: Vec<NodeId>,
    /// Elect a successor before the lease is over when the master's process is dead. Default true.
    #[arg(long, env = "DLEDGER_FAST_FAILOVER", value_name = "BOOL", value_parser = boolean)]
    fast_failover: Option<bool>,
    /// Interval between the heartbeats of a master. Default 100ms.
    #[arg(long, env = "DLEDGER_HEARTBEAT", value_parser = time, value_name = "TIME")]
    #[serde(deserialize_with = "time_text")]
    heartbeat: Option<Duration>,
    /// How long a node stays with a silent master. It then waits a random time, between half of this and all of it,
    /// before it calls an election. Default 800ms.
    #[arg(long, env = "DLEDGER_ELECTION_TIMEOUT", value_parser = time, value_name = "TIME")]
    #[serde(deserialize_with = "time_text")]
    election_timeout: Option<Duration>,
    /// A master hands over when its disk has synced nothing for this long. Default 2s.
    #[arg(long, env = "DLEDGER_DISK_STALL", value_parser = time, value_name = "TIME")]
    #[serde(deserialize_with = "time_text")]
    disk_stall: Option<Duration>,
}

impl LeaderOptions {
    /// These options; where one is missing, that of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        let preferred =
            if self.preferred_leaders.is_empty() { other.preferred_leaders } else { self.preferred_leaders };
        Self {
            preferred_leaders: preferred,
            fast_failover: self.fast_failover.or(other.fast_failover),
            heartbeat: self.heartbeat.or(other.heartbeat),
            election_timeout: self.election_timeout.or(other.election_timeout),
            disk_stall: self.disk_stall.or(other.disk_stall),
        }
    }

    /// Puts them into a configuration.
    pub(crate) fn apply(self, config: &mut Config) {
        config.preferred_leaders = self.preferred_leaders;
        config.fast_failover = self.fast_failover.unwrap_or(config.fast_failover);
        config.heartbeat_interval = self.heartbeat.unwrap_or(config.heartbeat_interval);
        config.election_timeout = self.election_timeout.map_or(config.election_timeout, |upper| (upper / 2, upper));
        config.disk_stall_timeout = self.disk_stall.unwrap_or(config.disk_stall_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let mut config = Config::new(NodeId::new(0), "h:1");
        let usual = config.clone();
        LeaderOptions::default().apply(&mut config);
        assert_eq!(config, usual);
        let given: LeaderOptions = toml::from_str("heartbeat = \"50ms\"\nelection-timeout = \"1s\"").unwrap();
        let more: LeaderOptions = toml::from_str("heartbeat = \"10ms\"\npreferred-leaders = [\"n2\"]").unwrap();
        given.or(more).apply(&mut config);
        assert_eq!(config.heartbeat_interval, Duration::from_millis(50));
        assert_eq!(config.election_timeout, (Duration::from_millis(500), Duration::from_secs(1)));
        assert_eq!(config.preferred_leaders, [NodeId::new(2)]);
    }
}
