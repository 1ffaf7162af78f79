//! Times that follow from the configured ones.

use std::time::Duration;

use super::{Config, ConfigError, Durability, refused};
use crate::types::Span;

impl Config {
    pub(super) fn check_times(&self) -> Result<(), ConfigError> {
        let (low, high) = self.election_timeout;
        // The upper bound comes first, so that no later multiplication or addition overflows.
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
            return refused("durability", format!("interval of {}", Span(every)), "from 1 ms to 60 s");
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

    /// How long a leader may answer lease reads, from when it sent a heartbeat that a quorum answered.
    pub(crate) fn lease_window(&self) -> Duration {
        // Longer than a heartbeat interval, so that an answer still counts when it comes. Not much longer, because
        // followers hold on to the leader for a fifth more than this, also to one that has died.
        self.heartbeat_interval * 5 / 4
    }

    /// How long a follower holds on to a leader after it has answered a heartbeat, because that leader may serve lease
    /// reads on the strength of the answer.
    pub(crate) fn follower_patience(&self) -> Duration {
        patience(self.lease_window())
    }

    /// How long a leader that no quorum answers falls silent, so that the followers which hear it elect another.
    pub(crate) fn leader_silence(&self) -> Duration {
        self.election_timeout.1 * 2
    }

    /// Time within which a node that has started hears of a leader that reaches it: the leader may be silent at first,
    /// and then has to find out that the node is back.
    pub(crate) fn reminded_by(&self) -> Duration {
        self.leader_silence() + self.election_timeout.1
    }
}

/// How long a follower holds on to a leader that may answer lease reads for `window`. The fifth on top is the most by
/// which the speeds of the two clocks may differ.
pub(crate) fn patience(window: Duration) -> Duration {
    window + window / 5
}

/// Timeouts of calls between nodes, derived from the heartbeat interval and the election timeout: a configuration for
/// nodes that are far apart stretches these as well. Each method says its value under the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    heartbeat: Duration,
    election: Duration,
}

impl Timing {
    /// The timeouts that follow from `config`.
    pub(crate) fn of(config: &Config) -> Self {
        Self { heartbeat: config.heartbeat_interval, election: config.election_timeout.0 }
    }

    /// Before a question to a leader, which may have to ask a quorum first, is repeated: 500 ms.
    pub(crate) fn first_try(self) -> Duration {
        self.heartbeat * 5
    }

    /// To find out that no process listens at an address: 200 ms, and never less.
    pub(crate) fn probe(self) -> Duration {
        (self.heartbeat * 2).max(Duration::from_millis(200))
    }

    /// For a few round trips (connecting, a call that connects first, catching up with the last entries): 1 s, and
    /// never less.
    pub(crate) fn call(self) -> Duration {
        (self.heartbeat * 10).max(Duration::from_secs(1))
    }

    /// To hand the leadership over (the entries in flight, the request, and an election): 2 s, and never less.
    pub(crate) fn hand_over(self) -> Duration {
        (self.election * 5).max(Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::{key, ms};
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

    #[test]
    fn what_crosses_the_network_has_the_time_that_the_configured_ones_say() {
        let millis = Duration::from_millis;
        let times = |timing: Timing| [timing.first_try(), timing.probe(), timing.call(), timing.hand_over()];
        let near = Config::new(NodeId::new(0), "h:1");
        assert_eq!(times(Timing::of(&near)), [500, 200, 1_000, 2_000].map(millis));
        let far = Config {
            heartbeat_interval: millis(1_200),
            election_timeout: (millis(4_800), millis(9_600)),
            ..near.clone()
        };
        assert_eq!(times(Timing::of(&far)), [6_000, 2_400, 12_000, 24_000].map(millis));
        let close = Config { heartbeat_interval: millis(10), election_timeout: (millis(30), millis(60)), ..near };
        assert_eq!(times(Timing::of(&close)), [50, 200, 1_000, 2_000].map(millis));
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
}
