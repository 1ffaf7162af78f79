//! The task that reads sealed segments, and has damage repaired from the peers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, RepairPolicy, Scrub};
use crate::disk::is_exhausted;
use crate::log::Health;
use crate::log::recheck::ConfirmedDamage;
use crate::log::scrub::ScrubPass as Pass;
use crate::node::closing::run_until_closed;
use crate::node::ledger::WeakLedger;
use crate::node::repair::repair_segment;
use crate::raft::storage::timestamps::Clock;
use crate::raft::{Instant, Runtime};
use crate::transport::Transport;

/// First pause before another attempt to repair a segment; each further one is twice as long.
const RETRY: Duration = Duration::from_secs(1);
/// Longest pause between attempts, so that a peer that comes back is found within half a minute.
const RETRY_AT_MOST: Duration = Duration::from_secs(30);
/// First pause before the log repeats that a peer refuses sound entries; each further one is twice as long.
const REMIND: Duration = Duration::from_secs(60);
/// Longest such pause.
const REMIND_AT_MOST: Duration = Duration::from_secs(3600);
/// Ten years: never.
const LONG: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Watches over the sealed segments of a ledger.
pub(crate) struct Scrubber {
    ledger: WeakLedger,
    scrub: Option<Scrub>,
    /// Addresses to repair from; none where the configuration does not allow repairs.
    peers: Vec<String>,
    transport: Arc<dyn Transport>,
    clock: Clock,
}

impl Scrubber {
    pub(crate) fn new(ledger: WeakLedger, config: &Config, transport: Arc<dyn Transport>, clock: Clock) -> Self {
        let peers = match config.repair {
            RepairPolicy::Refuse => Vec::new(),
            RepairPolicy::FromPeers => config.other_peers(),
        };
        Self { ledger, scrub: config.scrub, peers, transport, clock }
    }

    /// Runs until the ledger is closed.
    pub(crate) async fn run<R: Runtime>(self) {
        let Some(ledger) = self.ledger.upgrade() else { return };
        let (health, role) = (ledger.replica().health.clone(), ledger.role());
        drop(ledger);
        if !self.peers.is_empty() {
            health.mend();
        }
        run_until_closed(role, self.watch::<R>(health)).await;
    }

    async fn watch<R: Runtime>(&self, health: Arc<Health>) {
        let (mut pass, mut next) = (health.scrub(), R::Instant::now());
        let (mut tried, mut sound) = (BTreeMap::new(), SoundReports::default());
        loop {
            let again = self.repair::<R>(&health, &mut tried).await;
            if next <= R::Instant::now() {
                let rest = match self.scrub {
                    Some(scrub) => {
                        let (read, rest) = self.step::<R>(pass, &health, scrub).await;
                        pass = read;
                        rest.min(LONG)
                    }
                    None => LONG,
                };
                next = R::Instant::now() + rest;
            }
            let rest = next.saturating_duration_since(R::Instant::now()).min(again);
            tokio::select! {
                // In this order, so that a seed of a simulation determines which is first.
                biased;
                () = health.damage_found() => {}
                numbers = health.doubted() => self.look_again::<R>(&health, numbers, &mut sound).await,
                () = R::sleep(rest) => {}
            }
        }
    }

    /// Reads one piece. Returns the pass that goes on, and how long to wait before its next piece.
    async fn step<R: Runtime>(&self, mut pass: Pass, health: &Arc<Health>, scrub: Scrub) -> (Pass, Duration) {
        let now = (self.clock)();
        let read = R::spawn_blocking(move || {
            let read = pass.step(now);
            (pass, read)
        });
        match read.await {
            Ok((pass, Ok(Some(bytes)))) => {
                (pass, Duration::from_secs_f64(bytes as f64 / scrub.bytes_per_second.max(1) as f64))
            }
            Ok((_, Ok(None))) => (health.scrub(), scrub.every),
            // The exhaustion passes; the pass goes on where it was.
            Ok((pass, Err(error))) if is_exhausted(&error) => (pass, RETRY_AT_MOST),
            Ok((_, Err(error))) | Err(error) => {
                tracing::warn!(group = %health.group(), %error, "cannot read the sealed segments");
                (health.scrub(), scrub.every)
            }
        }
    }

    /// Checks entries that a peer refuses as damaged. Damage that cannot be repaired while the log is open closes it.
    async fn look_again<R: Runtime>(
        &self,
        health: &Arc<Health>,
        numbers: Range<u64>,
        sound: &mut SoundReports<R::Instant>,
    ) {
        let (looks, range) = (health.clone(), numbers.clone());
        let found = match R::spawn_blocking(move || looks.recheck(range)).await {
            Ok(found) => found,
            // A simulation has no threads.
            Err(_) => health.recheck(numbers.clone()),
        };
        match found {
            Ok(None) if sound.is_news(numbers.start, R::Instant::now()) => tracing::warn!(
                group = %health.group(),
                first = numbers.start,
                end = numbers.end,
                "a peer refuses entries that are sound here: something on the way damages them, or the peer has \
                 another history (its own log and status say so then)"
            ),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(group = %health.group(), first = numbers.start, end = numbers.end, %error,
                    "a peer refuses entries as damaged, and they cannot be read here")
            }
            // The damage is among what `repair` mends.
            Ok(Some(ConfirmedDamage { damage, repairable: true })) if !self.peers.is_empty() => {
                tracing::error!(group = %health.group(), %damage, "a peer refuses damaged entries of this node");
            }
            Ok(Some(ConfirmedDamage { damage, .. })) => {
                if let Some(ledger) = self.ledger.upgrade() {
                    ledger.close_damaged(&damage).await;
                }
            }
        }
    }

    /// Repairs what is damaged. Returns how long to wait at most before the next attempt.
    async fn repair<R: Runtime>(
        &self,
        health: &Arc<Health>,
        tried: &mut BTreeMap<u64, RepairAttempt<R::Instant>>,
    ) -> Duration {
        let damaged = health.damaged();
        if self.peers.is_empty() || damaged.is_empty() {
            tried.clear();
            return LONG;
        }
        let mut again = LONG;
        for (position, damage) in damaged {
            let now = R::Instant::now();
            let wait = match tried.get(&position) {
                Some(attempt) if now < attempt.due => {
                    again = again.min(attempt.due.saturating_duration_since(now));
                    continue;
                }
                Some(attempt) => (attempt.wait * 2).min(RETRY_AT_MOST),
                None => RETRY,
            };
            match repair_segment::<R>(health, position, &self.peers, self.transport.as_ref()).await {
                Ok(report) => {
                    tried.remove(&position);
                    for range in report.ranges {
                        tracing::warn!(group = %health.group(), %range, "repaired");
                    }
                }
                Err(error) => {
                    tracing::error!(group = %health.group(), %damage, %error, "cannot repair the segment now");
                    tried.insert(position, RepairAttempt { due: R::Instant::now() + wait, wait });
                    again = again.min(wait);
                }
            }
        }
        again
    }
}

/// A segment that no peer could repair.
struct RepairAttempt<I> {
    /// When to try again.
    due: I,
    wait: Duration,
}

/// How the log tells of sound entries that a peer refuses: once, and then ever more seldom.
struct SoundReports<I> {
    /// The first of these entries, and when the log repeats it.
    told: Option<(u64, I)>,
    wait: Duration,
}

impl<I> Default for SoundReports<I> {
    fn default() -> Self {
        Self { told: None, wait: REMIND }
    }
}

impl<I: Instant> SoundReports<I> {
    fn is_news(&mut self, first: u64, now: I) -> bool {
        match self.told {
            Some((told, due)) if told == first && now < due => return false,
            Some((told, _)) if told == first => self.wait = (self.wait * 2).min(REMIND_AT_MOST),
            _ => self.wait = REMIND,
        }
        self.told = Some((first, now + self.wait));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::TokioRuntime;

    #[test]
    fn what_a_peer_refuses_again_and_again_is_told_ever_more_seldom() {
        fn now<R: Runtime>() -> R::Instant {
            R::Instant::now()
        }
        let (mut sound, began) = (SoundReports::default(), now::<TokioRuntime>());
        let mut news = |first, seconds| sound.is_news(first, began + Duration::from_secs(seconds));
        let told: Vec<_> = (0..2 * 3600).filter(|second| news(7, *second)).collect();
        assert_eq!(told, [0, 60, 180, 420, 900, 1860, 3780]);
        // Other entries are news.
        assert!(news(8, 3801) && !news(8, 3802));
    }
}
