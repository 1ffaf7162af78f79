//! The names and addresses that a node is told.

use super::{Config, ConfigError, refused};
use crate::types::{checked_address, checked_bind};

impl Config {
    pub(super) fn check_names(&self) -> Result<(), ConfigError> {
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::{key, valid};
    use super::*;
    use crate::types::NodeId;

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
}
