//! Which cluster a node is of, as far as it is told.

use super::{Config, ConfigError, refused};

impl Config {
    /// Whether the configuration says which cluster the node is of: it joins one, is one alone, or `peers` names other
    /// nodes. A list of this node alone says nothing, because it may be what is left of a longer one.
    pub(crate) fn names_a_cluster(&self) -> bool {
        self.join || self.single || self.names_others()
    }

    fn names_others(&self) -> bool {
        self.peers.iter().any(|peer| peer.id != self.id)
    }

    /// Whether `peers` names nodes, and this one is none of them. A member need not be listed: the list only counts
    /// until there is a membership.
    pub(crate) fn is_unlisted(&self) -> bool {
        !self.peers.is_empty() && self.peers.get(&self.id).is_none()
    }

    pub(super) fn check_cluster(&self) -> Result<(), ConfigError> {
        if self.single && self.join {
            return refused("single", "true", "false where `join` is true: a node forms a cluster or joins one");
        }
        if self.single && self.names_others() {
            let expected = format!("false where `peers` names other nodes ({})", self.peers);
            return refused("single", "true", expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{NodeId, Peers};

    #[test]
    fn a_cluster_of_one_is_nothing_else_besides() {
        let peers = |text: &str| text.parse::<Peers>().unwrap();
        let config = |single, join, peers| Config { single, join, peers, ..Config::new(NodeId::new(0), "h:1") };
        let (nobody, myself, both) = (Peers::default(), peers("n0=h:1"), peers("n0=h:1;n1=h:2"));
        for (config, names, usable) in [
            (config(true, false, nobody.clone()), true, true),
            (config(true, false, myself.clone()), true, true),
            (config(true, false, both.clone()), true, false),
            (config(true, true, nobody.clone()), true, false),
            (config(false, true, nobody.clone()), true, true),
            (config(false, false, both), true, true),
            (config(false, false, myself), false, true),
            (config(false, false, nobody), false, true),
        ] {
            assert_eq!(config.names_a_cluster(), names, "{config:?}");
            assert_eq!(config.check_cluster().map_err(|error| error.key), if usable { Ok(()) } else { Err("single") });
        }
    }
}
