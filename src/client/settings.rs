//! The settings that all parts of a client share.

use std::time::Duration;

use crate::types::{ClusterName, Group};

/// Longest timeout: far beyond any use, far below what clocks overflow at.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The settings that all parts of a client share.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: Group,
    pub(super) cluster: Option<ClusterName>,
    pub(super) timeout: Duration,
    pub(super) max_inflight_bytes: usize,
}

impl Settings {
    pub(super) fn new(group: Group) -> Self {
        Self { group, cluster: None, timeout: Duration::from_secs(10), max_inflight_bytes: 32 << 20 }
    }
}

/// `timeout`, or the longest there is.
pub(super) fn at_most(timeout: Duration) -> Duration {
    timeout.min(MAX_TIMEOUT)
}
