//! One clock for all ledgers of a node.
//!
//! openraft ticks every core about fifty times a second, to see whether a heartbeat is due or a leader is silent. With a
//! hundred idle ledgers that is nearly all that a node does. A pacer strikes once per heartbeat interval instead, for all
//! ledgers together: those that lead send their heartbeats, which so fall due at one moment and travel in one call per
//! peer; those that have heard of their leader need nothing. Only where neither is so does openraft's own ticking go on.
//!
//! Why that is sound: ticks decide *when* an election is tried, never who wins it. A follower ticks again once it has heard
//! nothing for [`QUIET`] strikes; `Config::validate` has the lease of a leader last longer than that, and before it ends
//! openraft would start no election anyway.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, ServerState};

use super::config::{Raft, Runtime};

/// After so many strikes without a word of the leader, openraft's own clock takes over.
const QUIET: u32 = 3;

/// Strikes for the ledgers of a node. Costs nothing while there is none.
pub(crate) struct Pacer {
    every: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    ledgers: Vec<Weak<dyn Paced>>,
    running: bool,
}

/// How often a ledger has heard of its leader; told by the peer server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The leader has sent something that Raft took.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A ledger as the pacer sees it.
pub(super) trait Paced: Send + Sync {
    /// The clock strikes. False if Raft has ended.
    fn strike(&self) -> bool;
}

impl Pacer {
    /// Strikes `every` heartbeat interval.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, state: Arc::default() }
    }

    /// Has the clock strike for `raft` as long as the returned value lives.
    pub(super) fn pace<R: Runtime>(&self, raft: Raft<R>, heard: Heard) -> Arc<dyn Paced> {
        let paced: Arc<dyn Paced> =
            Arc::new(Pace { raft, heard, known: AtomicU64::new(0), quiet: AtomicU32::new(QUIET) });
        let mut state = lock(&self.state);
        state.ledgers.push(Arc::downgrade(&paced));
        if !std::mem::replace(&mut state.running, true) {
            // It ends by itself when there is no ledger left.
            drop(R::spawn(run::<R>(self.every, self.state.clone())));
        }
        paced
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run<R: Runtime>(every: Duration, state: Arc<Mutex<State>>) {
    let mut next = R::Instant::now();
    loop {
        // From strike to strike, however long one takes; what was slept through is not made up for.
        next = R::Instant::now().max(next + every);
        R::sleep_until(next).await;
        let ledgers = lock(&state).ledgers.clone();
        for ledger in &ledgers {
            if ledger.upgrade().is_some_and(|ledger| ledger.strike()) {
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

struct Pace<R: Runtime> {
    raft: Raft<R>,
    heard: Heard,
    /// What had been heard at the last strike.
    known: AtomicU64,
    /// Strikes since anything was heard.
    quiet: AtomicU32,
}

impl<R: Runtime> Paced for Pace<R> {
    fn strike(&self) -> bool {
        let leads = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.running_state.is_err() {
                return false;
            }
            metrics.state == ServerState::Leader
        };
        let heard = self.heard.count();
        let quiet = if self.known.swap(heard, Ordering::Relaxed) == heard {
            self.quiet.load(Ordering::Relaxed).saturating_add(1)
        } else {
            0
        };
        self.quiet.store(quiet, Ordering::Relaxed);
        // A core whose queue is full has no place for a command: it goes by its own clock until it has.
        let led = match leads.then(|| self.raft.trigger().heartbeat().now_or_never()).flatten() {
            Some(Ok(())) => true,
            Some(Err(_)) => return false,
            None => false,
        };
        self.raft.runtime_config().tick(!led && (leads || quiet >= QUIET));
        true
    }
}
