//! One clock for all ledgers of a node.
//!
//! openraft ticks every core about fifty times a second, to see whether a heartbeat is due or a leader is silent. With
//! a hundred idle ledgers that is nearly all that a node does. A [`Ticker`] ticks once per heartbeat interval instead,
//! for all ledgers together. Leaders send their heartbeats at the tick, so that those of all ledgers travel in one call
//! per peer. Followers that have heard of their leader do nothing. The leader of an idle ledger sends a heartbeat at
//! every fourth tick only, as long as the followers answer ([`IdleHeartbeats`]). openraft's own ticks go on only where
//! a follower hears no leader.
//!
//! Why that is sound: ticks decide *when* a node stands for election, never who wins, and a heartbeat that is not sent
//! extends no lease. A follower turns openraft's ticks on again after [`SILENT_TICKS`] without a call of the leader,
//! which is before openraft would begin an election anyway (`Config::validate`: both bounds of the election timeout are
//! at least three intervals).

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

/// Ticks for the ledgers of a node. Costs nothing while there is none.
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

/// How often a ledger has heard of its leader; the peer server counts.
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

/// A ledger as the [`Ticker`] sees it.
pub(crate) trait Ticked: Send + Sync {
    /// The ticker's `number`th tick. False if Raft has ended.
    fn tick(&self, number: u64) -> bool;
}

impl Ticker {
    /// A ticker that ticks once per heartbeat interval.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            every: config.heartbeat_interval,
            idle_ticks_per_heartbeat: idle_ticks_per_heartbeat(config),
            state: Arc::default(),
        }
    }

    /// Ticks for `raft` as long as the returned value lives.
    pub(crate) fn pace<R: Runtime>(&self, raft: Raft<R>, heard: LeaderCalls) -> Arc<dyn Ticked> {
        let idle = IdleHeartbeats::new(self.idle_ticks_per_heartbeat, self.every);
        // openraft ticks by itself until the ledger has heard a leader.
        let state = Mutex::new(TickedState { known: 0, quiet: SILENT_TICKS, ticks: true, idle });
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
        // One interval after the last tick, however long that took; ticks that were slept through are not made up for.
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
    /// Calls of the leader, counted at the last tick.
    known: u64,
    /// Ticks since the leader last called.
    quiet: u32,
    /// Whether openraft ticks by itself.
    ticks: bool,
    idle: IdleHeartbeats<I>,
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
        } else if state.idle.is_due(number, seen, acked, R::Instant::now()) {
            match self.raft.trigger().heartbeat().now_or_never() {
                Some(Ok(())) => false,
                Some(Err(_)) => return false,
                // A core whose queue is full takes no command: it ticks by itself until it does.
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
