//! What goes on in a family of simulations.

use std::time::Duration;

use dledger::Durability;

use super::schedule::Kind;

/// What goes on in a family of simulations.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub(super) durability: Durability,
    /// Nodes that form the cluster.
    pub(super) nodes: usize,
    /// Nodes that are there to join it.
    pub(super) spares: usize,
    /// What goes wrong, each as likely as another; named twice, twice as likely.
    pub(super) kinds: &'static [Kind],
    /// Steps of the schedule.
    pub(super) steps: u64,
    /// Every node keeps three segments.
    pub(super) retention: bool,
    /// Disks fail: a node may close by itself, and refuse to start.
    pub(super) disks_fail: bool,
}

const NETWORK: &[Kind] = &[
    Kind::Isolate,
    Kind::OneWay,
    Kind::Mute,
    Kind::Deaf,
    Kind::Ring,
    Kind::Bridge,
    Kind::Loss,
    Kind::SlowLink,
    Kind::Duplicates,
    Kind::Disorder,
    Kind::PowerLoss,
    Kind::PowerLossAtAck,
    Kind::Kill,
    Kind::Stop,
    Kind::Jump,
    Kind::Transfer,
];

/// Power fails, processes die, links are cut, messages get lost; every ack is on the disks of a quorum.
pub(super) const POWER_LOSS: Plan = Plan {
    durability: Durability::Sync,
    nodes: 3,
    spares: 0,
    kinds: &[
        Kind::Isolate,
        Kind::OneWay,
        Kind::Mute,
        Kind::Loss,
        Kind::PowerLoss,
        Kind::PowerLoss,
        Kind::PowerLossAtAck,
        Kind::PowerLossAtAck,
        Kind::PowerLossAtAck,
        Kind::Kill,
        Kind::Stop,
        Kind::Jump,
    ],
    steps: 10,
    retention: false,
    disks_fail: false,
};

/// All that a network can do, and a little of the rest.
pub(super) const PARTITIONS: Plan = Plan { kinds: NETWORK, nodes: 5, ..POWER_LOSS };

/// Disks fail, fill up, hang and are slow.
pub(super) const FAILING_DISKS: Plan = Plan {
    kinds: &[
        Kind::SyncFails,
        Kind::WriteFails,
        Kind::ReadFails,
        Kind::Full,
        Kind::Hang,
        Kind::SlowDisk,
        Kind::Isolate,
        Kind::PowerLoss,
        Kind::PowerLossAtAck,
        Kind::Kill,
    ],
    disks_fail: true,
    ..POWER_LOSS
};

/// Bits rot on one disk at a time.
pub(super) const BIT_ROT: Plan =
    Plan { kinds: &[Kind::Rot, Kind::Rot, Kind::Isolate, Kind::Kill, Kind::PowerLoss, Kind::Loss], ..POWER_LOSS };

/// Processes die, and no ack waits for a sync.
pub(super) const KILLS_INTERVAL: Plan = Plan {
    durability: Durability::Interval(Duration::from_millis(100)),
    kinds: &[
        Kind::Isolate,
        Kind::OneWay,
        Kind::Deaf,
        Kind::Loss,
        Kind::Duplicates,
        Kind::Kill,
        Kind::Kill,
        Kind::KillAtAck,
        Kind::Stop,
        Kind::Jump,
    ],
    ..POWER_LOSS
};

/// Every node removes old segments, and is asked to remove more.
pub(super) const RETENTION: Plan = Plan {
    kinds: &[
        Kind::RemoveBelow,
        Kind::RemoveBelow,
        Kind::Isolate,
        Kind::Mute,
        Kind::Loss,
        Kind::PowerLoss,
        Kind::PowerLossAtAck,
        Kind::Kill,
        Kind::Stop,
        Kind::Jump,
    ],
    retention: true,
    steps: 14,
    ..POWER_LOSS
};

/// The same, and disks fail and fill up.
pub(super) const RETENTION_FAILING_DISKS: Plan = Plan {
    kinds: &[
        Kind::RemoveBelow,
        Kind::SyncFails,
        Kind::WriteFails,
        Kind::ReadFails,
        Kind::Full,
        Kind::Isolate,
        Kind::PowerLoss,
        Kind::Kill,
    ],
    disks_fail: true,
    ..RETENTION
};

/// Disks are lost and replaced, and the leadership is handed about.
pub(super) const LOST_DISKS: Plan = Plan {
    kinds: &[Kind::Wipe, Kind::Transfer, Kind::Isolate, Kind::OneWay, Kind::Loss, Kind::PowerLoss, Kind::Kill],
    ..POWER_LOSS
};

/// Members come and go, from three to five and back, while the rest goes wrong.
pub(super) const MEMBERS: Plan = Plan {
    kinds: &[
        Kind::Grow,
        Kind::Grow,
        Kind::Shrink,
        Kind::Transfer,
        Kind::Isolate,
        Kind::OneWay,
        Kind::Loss,
        Kind::PowerLoss,
        Kind::Kill,
    ],
    spares: 2,
    steps: 14,
    ..POWER_LOSS
};
