//! Whether the others can reach a node where it says that it is.

use super::{Config, ConfigError, refused};
use crate::types::checked_address;

impl Config {
    /// Refuses an address that leads nowhere: the membership keeps the advertised address, also in a cluster of one.
    pub(super) fn check_reach(&self) -> Result<(), ConfigError> {
        if self.advertise.is_some() {
            return Ok(());
        }
        let any_port = self.bind.rsplit_once(':').is_some_and(|(_, port)| port.parse() == Ok(0_u16));
        match self.peers.get(&self.id) {
            // A node that was told of no cluster hears of that mistake first.
            Some(listed) if any_port && self.names_a_cluster() => {
                let expected = format!(
                    "the port at which the others find this node: the peer list has {}. Or advertise what leads to it",
                    listed.address
                );
                refused("bind", format!("{:?}", self.bind), expected)
            }
            None if is_everywhere(&self.bind) => {
                let expected = format!(
                    "host:port that others reach this node at, because it listens on {}, which is every address of the \
                     machine",
                    self.bind
                );
                refused("advertise", "none", expected)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether `bind` says where to listen, but not where to be reached.
fn is_everywhere(bind: &str) -> bool {
    bind.rsplit_once(':').is_some_and(|(host, _)| checked_address(&format!("{host}:1")).is_err())
}

#[cfg(test)]
mod tests {
    use super::super::kit::key;
    use super::*;

    #[test]
    fn a_node_says_where_it_is_reached_also_one_that_is_alone() {
        for join in [false, true] {
            let at = |bind: &'static str, advertise: Option<&'static str>| {
                move |c: &mut Config| (c.join, c.bind, c.advertise) = (join, bind.into(), advertise.map(String::from))
            };
            for everywhere in ["0.0.0.0:40911", "[::]:40911", "0.0.0.0:0", "[::ffff:0.0.0.0]:1"] {
                assert_eq!(key(at(everywhere, None)), Some("advertise"), "{everywhere}");
                assert_eq!(key(at(everywhere, Some("n3.example:1"))), None, "{everywhere}");
            }
            assert_eq!(key(at("127.0.0.1:0", None)), None);
            assert_eq!(key(at("broker-3.brokers:40911", None)), None);
        }
    }

    #[test]
    fn a_node_of_a_list_does_not_listen_where_nobody_looks() {
        let at = |bind: &'static str, advertise: Option<&'static str>| {
            move |c: &mut Config| {
                c.peers = "n0=10.0.0.1:40911;n1=10.0.0.2:40911".parse().unwrap();
                (c.bind, c.advertise) = (bind.into(), advertise.map(String::from));
            }
        };
        assert_eq!(key(at("0.0.0.0:40911", None)), None);
        assert_eq!(key(at("0.0.0.0:0", None)), Some("bind"));
        assert_eq!(key(at("10.0.0.1:00", None)), Some("bind"));
        assert_eq!(key(at("0.0.0.0:0", Some("proxy.example:1"))), None);
    }
}
