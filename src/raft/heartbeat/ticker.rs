//! One clock for all ledgers of a node.
//!
//! openraft ticks every core about fifty times a second, to see whether a heartbeat is due or a leader is silent. With
//! a hundred idle ledgers that is nearly all that a node does. A pacer strikes once per heartbeat interval instead, for
//! all ledgers together: those that lead send their heartbeats, which so fall due at one moment and travel in one call
//! per peer; those that have heard of their leader need nothing. A leader of a ledger where nothing happens sends one
//! at every fourth strike only, the same ones for all ledgers, as long as they are answered. Only where nobody is heard
//! does openraft's own ticking go on.
//!
//! Why that is sound: ticks decide *when* an election is tried, never who wins it, and heartbeats that are not sent
//! extend no lease. A follower ticks again once it has heard nothing for [`QUIET`] strikes, which is before openraft
//! would begin an election anyway (`Config::validate`: both bounds of the election timeout are three intervals at
//! least).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, ServerState};
use parking_lot::{Mutex, MutexGuard};

use super::idle::{IdleHeartbeats, idle_ticks_per_heartbeat};
use crate::config::Config;
use crate::raft::Raft;
use crate::raft::type_config::Metrics;
use crate::raft::type_config::Runtime;

/// Ticks without a call of the leader after which openraft's own clock takes over.
pub(crate) const SILENT_TICKS: u32 = 5;

/// Strikes for the ledgers of a node. Costs nothing while there is none.
pub(crate) struct Ticker {
    every: Duration,
    idle_ticks_per_heartbeat: u32,
    state: Arc<Mutex<TickerState>>,
}

#[derive(Default)]
struct TickerState {
    ledgers: Vec<Weak<dyn Ticked>>,
    running: bool,
}

/// How often a ledger has heard of its leader; told by the peer server.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaderCalls(Arc<AtomicU64>);

impl LeaderCalls {
    /// The leader has sent something that Raft took.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A ledger as the pacer sees it.
pub(crate) trait Ticked: Send + Sync {
    /// The clock strikes, for the `number`th time. False if Raft has ended.
    fn tick(&self, number: u64) -> bool;
}

impl Ticker {
    /// Strikes every heartbeat interval.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            every: config.heartbeat_interval,
            idle_ticks_per_heartbeat: idle_ticks_per_heartbeat(config),
            state: Arc::default(),
        }
    }

    /// Has the clock strike for `raft` as long as the returned value lives.
    pub(crate) fn pace<R: Runtime>(&self, raft: Raft<R>, heard: LeaderCalls) -> Arc<dyn Ticked> {
        let rest = IdleHeartbeats::new(self.idle_ticks_per_heartbeat, self.every);
        // Until it has heard something, openraft's clock goes on.
        let state = Mutex::new(TickedState { known: 0, quiet: SILENT_TICKS, ticks: true, rest });
        let paced: Arc<dyn Ticked> = Arc::new(TickedReplica { metrics: raft.metrics(), raft, heard, state });
        let mut state = lock(&self.state);
        state.ledgers.push(Arc::downgrade(&paced));
        if !std::mem::replace(&mut state.running, true) {
            // It ends by itself when there is no ledger left.
            drop(R::spawn(run::<R>(self.every, self.state.clone())));
        }
        paced
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock()
}

async fn run<R: Runtime>(every: Duration, state: Arc<Mutex<TickerState>>) {
    let mut next = R::Instant::now();
    for number in 0.. {
        // From strike to strike, however long one takes; what was slept through is not made up for.
        next = R::Instant::now().max(next + every);
        R::sleep_until(next).await;
        let ledgers = lock(&state).ledgers.clone();
        for ledger in &ledgers {
            if ledger.upgrade().is_some_and(|ledger| ledger.tick(number)) {
                continue;
            }
            lock(&state).ledgers.retain(|other| !Weak::ptr_eq(other, ledger));
        }
        let mut state = lock(&state);
        if state.ledgers.is_empty() {
            state.running = false;
            return;
        }
    }
}

struct TickedReplica<R: Runtime> {
    raft: Raft<R>,
    metrics: Metrics<R>,
    heard: LeaderCalls,
    state: Mutex<TickedState<R::Instant>>,
}

struct TickedState<I> {
    /// What had been heard at the last strike.
    known: u64,
    /// Strikes since anything was heard.
    quiet: u32,
    /// Whether openraft's own clock goes.
    ticks: bool,
    rest: IdleHeartbeats<I>,
}

impl<R: Runtime> Ticked for TickedReplica<R> {
    fn tick(&self, number: u64) -> bool {
        let (leads, seen, acked) = {
            let metrics = self.metrics.borrow_watched();
            if metrics.running_state.is_err() {
                return false;
            }
            let seen = (metrics.last_log_index, metrics.local_committed.map(|id| id.index));
            (metrics.state == ServerState::Leader, seen, metrics.last_quorum_acked.map(|acked| *acked))
        };
        let mut state = lock(&self.state);
        let heard = self.heard.count();
        state.quiet = if state.known == heard { state.quiet.saturating_add(1) } else { 0 };
        state.known = heard;
        let ticks = if !leads {
            state.quiet >= SILENT_TICKS
        } else if state.rest.is_due(number, seen, acked, R::Instant::now()) {
            match self.raft.trigger().heartbeat().now_or_never() {
                Some(Ok(())) => false,
                Some(Err(_)) => return false,
                // A core whose queue is full has no place for a command: it goes by its own clock until it has.
                None => true,
            }
        } else {
            false
        };
        if std::mem::replace(&mut state.ticks, ticks) != ticks {
            self.raft.runtime_config().tick(ticks);
        }
        true
    }
}
