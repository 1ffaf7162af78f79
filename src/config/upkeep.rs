//! What is done against damage: finding it, and repairing it.

use std::time::Duration;

use super::{Config, ConfigError, refused};

/// What is done about a ledger whose stored bytes are damaged where they may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepairPolicy {
    /// The ledger stays closed until an operator acts; with [`Config::strict`](crate::Config::strict) the node does not
    /// start.
    #[default]
    Refuse,
    /// The node fetches the damaged ranges, and only those, from its peers before the ledger starts. If it cannot get
    /// them, the ledger stays closed, as above.
    FromPeers,
}

/// How a node reads its stored bytes again and again, to find damage while other replicas are still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// Bytes read per second, about. Default 8 MiB.
    pub bytes_per_second: u64,
    /// From the end of a pass to the beginning of the next. Default 1 h.
    pub every: Duration,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { bytes_per_second: 8 << 20, every: Duration::from_secs(3600) }
    }
}

impl Config {
    pub(super) fn check_upkeep(&self) -> Result<(), ConfigError> {
        if let Some(scrub) = &self.scrub
            && (scrub.bytes_per_second == 0 || scrub.every < Duration::from_secs(1))
        {
            return refused("scrub", format!("{scrub:?}"), "at least a byte per second, and a second between passes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::{key, ms};
    use super::*;

    #[test]
    fn scrubbing_moves_on_and_rests() {
        let scrub = |bytes_per_second, every| Some(Scrub { bytes_per_second, every: ms(every) });
        assert_eq!(key(|c| c.scrub = None), None);
        assert_eq!(key(|c| c.scrub = scrub(1, 1000)), None);
        assert_eq!(key(|c| c.scrub = scrub(0, 1000)), Some("scrub"));
        assert_eq!(key(|c| c.scrub = scrub(1, 999)), Some("scrub"));
    }
}
