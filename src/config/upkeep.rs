//! What is done against damage: finding it, and repairing it.

use std::time::Duration;

/// What is done about a ledger whose stored bytes are damaged where they may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepairPolicy {
    /// The ledger stays closed ([`Config::strict`](crate::Config::strict): the node does not start): the operator
    /// decides.
    #[default]
    Refuse,
    /// The damaged ranges, and only those, are taken from the peers before the ledger starts. If they cannot be had, it
    /// stays closed, as above.
    FromPeers,
}

/// How the stored bytes are read again and again, so that damage is found while other replicas are still good.
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
