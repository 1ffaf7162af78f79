//! How long a leader may read on the strength of what it heard, and how long a follower keeps away from elections.
//!
//! One number is nothing without the other: `docs/invariants.md`, section *Reads*.

use std::time::Duration;

use super::Config;

impl Config {
    /// A quorum's acknowledgement serves for reads so long after its request was *sent*: 1.5 heartbeats.
    pub(crate) fn lease_read_window(&self) -> Duration {
        self.heartbeat_interval * 3 / 2
    }

    /// No follower gives up its leader, or helps another to its place, so soon after it *received* the leader's last
    /// request: 1.8 heartbeats. That it is a fifth more than [`Config::lease_read_window`] is what clocks may differ
    /// by.
    pub(crate) fn follower_patience(&self) -> Duration {
        self.heartbeat_interval * 9 / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    #[test]
    fn a_lease_ends_before_any_follower_gives_up_the_leader() {
        let config = Config::new(NodeId::new(0), "h:1");
        assert_eq!(config.lease_read_window(), Duration::from_millis(150));
        assert_eq!(config.follower_patience(), Duration::from_millis(180));
        assert_eq!(config.lease_read_window() * 6 / 5, config.follower_patience());
        // Whatever `Config::validate` lets through, a vote that is held back is answered before it is given up.
        assert!(config.follower_patience() < config.election_timeout.0);
    }
}
