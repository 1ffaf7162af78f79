//! Whether this node hears its leader.

use std::time::Duration;

use openraft::Instant;

use super::standing::Standing;
use crate::raft::type_config::Runtime;

/// Listens for the leader.
pub(super) struct LeaderListener<R: Runtime> {
    standing: Standing,
    silence: Duration,
    /// Appends of leaders up to the last one that was noticed, and when that was.
    heard: u64,
    since: R::Instant,
    pub(super) check_at: R::Instant,
    pub(super) silent: bool,
}

impl<R: Runtime> LeaderListener<R> {
    pub(super) fn new(standing: &Standing, silence: Duration) -> Self {
        let (standing, now) = (standing.clone(), R::Instant::now());
        Self { heard: standing.heard(), standing, silence, since: now, check_at: now + silence, silent: false }
    }

    /// Notes that the leader was heard just now.
    pub(super) fn begin(&mut self) {
        (self.heard, self.since, self.silent) = (self.standing.heard(), R::Instant::now(), false);
    }

    /// Returns when a leader calls.
    pub(super) async fn listen(&self) {
        self.standing.heard_more_than(self.heard).await;
    }

    /// Sets `silent` if no leader has called for `silence`. To be called at `check_at`.
    pub(super) fn check(&mut self) {
        let now = R::Instant::now();
        self.check_at = now + self.silence / 2;
        if self.standing.heard() > self.heard {
            self.begin();
        }
        self.silent = now.saturating_duration_since(self.since) >= self.silence;
    }
}
