//! How long a node that has just started keeps away from elections.

use std::time::Duration;

use super::Config;

impl Config {
    /// As long as a follower holds on to a leader that may read on the strength of its answer: a fifth longer than
    /// [`Config::lease_window`], which is what clocks may differ by.
    pub(crate) fn follower_patience(&self) -> Duration {
        self.lease_window() * 6 / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    #[test]
    fn a_vote_that_is_held_back_is_answered_before_it_is_given_up() {
        let config = Config::new(NodeId::new(0), "h:1");
        assert!(config.lease_window() < config.follower_patience());
        assert!(config.follower_patience() * 2 < config.election_timeout.0);
        // `Config::validate` keeps the heartbeat at a third of the lower election timeout at most.
        let longest = Config { heartbeat_interval: config.election_timeout.0 / 3, ..config };
        assert_eq!(longest.validate().err().map(|error| error.key), Some("groups"));
        assert!(longest.follower_patience() < longest.election_timeout.0);
    }
}
