//! What all who take part in a simulation share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dledger::{Ack, Record};
use dledger_history::{Acked, Hash, Item, Recorder, What};
use dledger_sim::{self as sim, SimCluster};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::Outcome;
use super::evidence::Live;
use super::plan::Plan;

/// What all who take part in a simulation share. Cheap to clone.
#[derive(Clone)]
pub(super) struct World {
    pub(super) cluster: SimCluster,
    pub(super) recorder: Recorder,
    pub(super) plan: Plan,
    /// Held by a read that promises something: one at a time. `tokio::sync::watch` wakes those who wait for the same
    /// change in an order that no seed determines, and such reads send messages when they are woken.
    pub(super) promised: Arc<tokio::sync::Mutex<()>>,
    /// Records acknowledged so far.
    pub(super) acked: watch::Sender<u64>,
    outcome: Arc<Mutex<Outcome>>,
    over: Arc<AtomicBool>,
    /// Per node: whether it is being started, and why it did not start the last time.
    starts: Arc<Mutex<Vec<(bool, String)>>>,
    /// Rot that nobody has mended yet, by number of the fault.
    rotten: Arc<Mutex<Vec<(usize, Live)>>>,
}

impl World {
    pub(super) fn new(cluster: SimCluster, recorder: Recorder, plan: Plan) -> Self {
        let starts = vec![(false, String::new()); cluster.size()];
        Self {
            cluster,
            recorder,
            plan,
            promised: Arc::default(),
            acked: watch::Sender::new(0),
            outcome: Arc::default(),
            over: Arc::default(),
            starts: Arc::new(Mutex::new(starts)),
            rotten: Arc::default(),
        }
    }

    /// What has been counted so far.
    pub(super) fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock()
    }

    pub(super) fn count(&self, what: &'static str, n: u64) {
        self.outcome().count(what, n);
    }

    /// Whether clients are to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn rotten(&self) -> MutexGuard<'_, Vec<(usize, Live)>> {
        self.rotten.lock()
    }

    fn starts(&self) -> MutexGuard<'_, Vec<(bool, String)>> {
        self.starts.lock()
    }

    pub(super) fn is_starting(&self, i: usize) -> bool {
        self.starts()[i].0
    }

    /// Why node `i` did not start the last time.
    pub(super) fn why_not(&self, i: usize) -> String {
        self.starts()[i].1.clone()
    }

    /// Begins to start node `i`, if it is down and nobody has. A start may take long: it may wait for peers.
    ///
    /// # Panics
    /// If it fails, and nothing that was done to it can be why.
    pub(super) fn try_start(&self, i: usize) {
        if self.cluster.ledger(i).is_some() || std::mem::replace(&mut self.starts()[i].0, true) {
            return;
        }
        let world = self.clone();
        drop(sim::spawn(async move {
            let started = world.cluster.start(i).await;
            if let Err(error) = started {
                let excused = world.plan.disks_fail || world.rotten().iter().any(|(_, live)| live.nodes.contains(&i));
                assert!(excused, "node {i} does not start any more: {error}");
                world.starts()[i].1 = error.to_string();
                world.cluster.kill(i);
            }
            world.starts()[i].0 = false;
        }));
    }

    /// For people who read the history.
    pub(super) fn note(&self, text: String) {
        self.recorder.record(What::Note { text });
    }
}

/// A node's name in the history: its id.
pub(super) fn name(i: usize) -> String {
    format!("n{i}")
}

pub(super) fn acked(ack: &Ack) -> Acked {
    Acked { index: ack.index, position: ack.position, term: ack.term }
}

pub(super) fn item(record: &Record) -> Item {
    let Record { index, position, term, ref body, .. } = *record;
    Item { index, position, term, hash: Hash::of(body) }
}
