//! openraft's settings for ours.

use std::time::Duration;

use openraft::{Config as RaftConfig, SnapshotPolicy};

use crate::config::Config;

/// openraft's settings for ours. Reasons: `docs/architecture.md`.
pub(super) fn raft_config(config: &Config) -> Result<RaftConfig, String> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let (low, high) = config.election_timeout;
    RaftConfig {
        cluster_name: config.cluster.to_string(),
        heartbeat_interval: millis(config.heartbeat_interval),
        election_timeout_min: millis(low),
        election_timeout_max: millis(high),
        install_snapshot_timeout: 5_000,
        max_payload_entries: 4096,
        max_append_entries: Some(4096),
        // Snapshots are built at the purge point only, when `Purger` asks, and openraft does not purge by itself.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // The role task allows elections, once it knows that this disk is the one the membership means.
        enable_elect: false,
        enable_pre_vote: Some(true),
        // A leader without a quorum falls silent for this long, so that the members that still hear it elect another.
        quorum_loss_probe_interval: Some(millis(config.leader_silence())),
        backoff: "20ms".into(),
        // A restarted leader must be elected anew: it may not know any more what it applied before.
        enable_leader_restore: Some(false),
        // A follower that comes back without what it had acknowledged counts for what it has, and is brought up to
        // date. With `Sync` that is an alarm (`acks`): its disk was lost or set back.
        allow_log_reversion: Some(true),
        ..RaftConfig::default()
    }
    .validate()
    .map_err(|error| error.to_string())
}
