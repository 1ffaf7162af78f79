//! What the tests of the room share.

use std::time::Duration;

use super::Config;
use crate::types::NodeId;

/// The defaults, with the one group that they lack.
pub(super) fn valid() -> Config {
    Config { groups: vec!["g".parse().unwrap()], ..Config::new(NodeId::new(0), "127.0.0.1:0") }
}

/// The key that a change of the defaults is refused for.
pub(super) fn key(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
    let mut config = valid();
    change(&mut config);
    let error = config.validate().err()?;
    assert!(error.to_string().starts_with(error.key), "{error}");
    assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error}");
    Some(error.key)
}

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
