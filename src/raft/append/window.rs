//! The batches of one ledger that are in flight, and when the next one may follow.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::inflight::{BatchEvent, InflightBatch};
use super::waiter::Waiter;

/// Batches in flight at once. More hide the latency of a slow peer; fewer make larger batches.
const MAX_IN_FLIGHT: usize = 4;

/// What the proposer knows of its batches: what their events told it, never what it could look up in them. Otherwise it
/// could propose a batch after Raft has refused the one before and before the proposer has heard of that: the refused
/// appends, proposed again, would lie behind later ones.
pub(crate) struct InflightWindow {
    batches: Vec<Weak<InflightBatch>>,
    /// Batches whose last event has not arrived.
    in_flight: usize,
    /// Raft may still refuse the batch that was started last.
    undecided: bool,
    events: mpsc::UnboundedSender<BatchEvent>,
}

impl InflightWindow {
    /// An empty window. Its batches send their events to `events`, in the order in which things happen.
    pub(crate) fn new(events: mpsc::UnboundedSender<BatchEvent>) -> Self {
        Self { batches: Vec::new(), in_flight: 0, undecided: false, events }
    }

    /// Whether the next batch may start. It may not before the one before it has its place in the log: Raft could
    /// refuse that one and, with its lease renewed, take this one.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < MAX_IN_FLIGHT && !self.undecided
    }

    /// Starts a batch whose entry has `length` bytes. Only while there is room.
    pub(crate) fn start(&mut self, length: usize, waiters: Vec<Waiter>) -> Arc<InflightBatch> {
        let inflight = InflightBatch::new(length, waiters, self.events.clone());
        self.batches.push(Arc::downgrade(&inflight));
        self.in_flight += 1;
        self.undecided = true;
        inflight
    }

    /// Takes note of an event. Returns the appends that are to be proposed again.
    pub(crate) fn on_event(&mut self, event: BatchEvent) -> Option<Vec<Waiter>> {
        // Only the last batch can be undecided; a batch that is `Done` may be an older one.
        self.undecided &= matches!(event, BatchEvent::Done);
        let refused = match event {
            BatchEvent::Placed => return None,
            BatchEvent::Done | BatchEvent::Lost => None,
            BatchEvent::Refused(waiters) => Some(waiters),
        };
        self.in_flight -= 1;
        self.batches.retain(|inflight| inflight.strong_count() > 0);
        refused
    }

    /// Bytes that the log will need for the batches that it has not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.all().map(|inflight| inflight.pending()).sum()
    }

    /// Ends the appends whose deadline has come. Returns the next deadline.
    pub(crate) fn expire(&self, now: Duration) -> Option<Duration> {
        self.all().filter_map(|inflight| inflight.expire(now)).min()
    }

    fn all(&self) -> impl Iterator<Item = Arc<InflightBatch>> {
        self.batches.iter().filter_map(Weak::upgrade)
    }
}

/// Puts the appends that Raft refused back where they waited before.
pub(crate) fn put_back(backlog: &mut VecDeque<Waiter>, refused: Vec<Waiter>) {
    #[cfg(feature = "internals")]
    reached::note(!refused.is_empty() && !backlog.is_empty());
    backlog.extend(refused);
    backlog.make_contiguous().sort_by_key(|waiter| waiter.sequence);
}

/// Counts how often a simulation, which runs in one thread, gets to where the order of appends is at stake.
#[cfg(feature = "internals")]
pub(crate) mod reached {
    use std::cell::Cell;

    thread_local! {
        static TIMES: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn note(reached: bool) {
        TIMES.set(TIMES.get() + u64::from(reached));
    }

    /// How often Raft refused, in this thread, a batch behind which other appends waited.
    pub fn times() -> u64 {
        TIMES.get()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::error::AppendError;
    use crate::raft::append::inflight::BatchPlace;
    use crate::types::BatchAck;

    /// Chance, by a seed: xorshift.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 20) % bound
        }
    }

    /// A proposer and its Raft, of which a seed decides who does something next.
    struct Model {
        dice: Dice,
        backlog: VecDeque<Waiter>,
        window: InflightWindow,
        batch_events: mpsc::UnboundedReceiver<BatchEvent>,
        /// Proposed, and not seen by Raft yet.
        proposed: VecDeque<Arc<InflightBatch>>,
        /// Placed, and not committed.
        placed: VecDeque<Arc<InflightBatch>>,
        lease: bool,
        index: u64,
        /// Something was refused that the proposer had not heard of when the lease was renewed, and more waited.
        reached: u64,
    }

    impl Model {
        fn new(seed: u64) -> Self {
            let (events, batch_events) = mpsc::unbounded_channel();
            Self {
                dice: Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                backlog: VecDeque::new(),
                window: InflightWindow::new(events),
                batch_events,
                proposed: VecDeque::new(),
                placed: VecDeque::new(),
                lease: true,
                index: 0,
                reached: 0,
            }
        }

        fn submit(&mut self, sequence: u64) -> oneshot::Receiver<Result<BatchAck, AppendError>> {
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let (mut waiter, outcome) = Waiter::new(vec![Bytes::from_static(b"x")], Duration::MAX, None, permit);
            waiter.sequence = sequence;
            self.backlog.push_back(waiter);
            outcome
        }

        fn step(&mut self) {
            match self.dice.below(6) {
                // The proposer.
                0 => {
                    if let Ok(event) = self.batch_events.try_recv()
                        && let Some(refused) = self.window.on_event(event)
                    {
                        put_back(&mut self.backlog, refused);
                    }
                }
                1 | 2 => {
                    if self.window.has_room()
                        && let Some(waiter) = self.backlog.pop_front()
                    {
                        let inflight = self.window.start(1, vec![waiter]);
                        self.proposed.push_back(inflight);
                    }
                }
                // Raft.
                3 => match self.proposed.pop_front() {
                    Some(inflight) if self.lease => {
                        inflight.place(BatchPlace { first_index: self.index, first_position: 0, term: 1 });
                        self.index += 1;
                        self.placed.push_back(inflight);
                    }
                    Some(inflight) => {
                        inflight.refused();
                        // A heartbeat that is answered at this moment.
                        self.lease = self.dice.below(2) == 0;
                        self.reached += u64::from(self.lease && !self.backlog.is_empty());
                    }
                    None => {}
                },
                4 => self.placed.pop_front().into_iter().for_each(|inflight| inflight.committed()),
                _ => self.lease = self.dice.below(2) == 0,
            }
        }

        fn is_idle(&self) -> bool {
            self.backlog.is_empty()
                && self.proposed.is_empty()
                && self.placed.is_empty()
                && self.batch_events.is_empty()
        }
    }

    #[test]
    fn what_is_refused_is_never_overtaken_whenever_the_proposer_hears_of_it() {
        let mut reached = 0;
        for seed in 0..200 {
            let mut model = Model::new(seed);
            let mut outcomes = Vec::new();
            for sequence in 0..40 {
                outcomes.push(model.submit(sequence));
                for _ in 0..model.dice.below(12) {
                    model.step();
                }
            }
            for _ in 0..100_000 {
                if model.is_idle() {
                    break;
                }
                model.step();
            }
            let index = |outcome: &mut oneshot::Receiver<_>| -> u64 {
                let acked: Result<BatchAck, AppendError> = outcome.try_recv().unwrap();
                acked.unwrap().first_index
            };
            let indexes: Vec<u64> = outcomes.iter_mut().map(index).collect();
            assert!(indexes.is_sorted(), "seed {seed}: {indexes:?}");
            reached += u64::from(model.reached > 0);
        }
        assert!(reached > 150, "{reached} of 200 seeds renewed a lease over what was refused");
    }

    #[test]
    fn one_follows_when_the_one_before_it_is_placed_and_not_when_an_earlier_one_is_done() {
        let mut model = Model::new(0);
        let _outcomes = [model.submit(0), model.submit(1)];
        let start = |model: &mut Model| {
            let waiter = model.backlog.pop_front().unwrap();
            model.window.start(1, vec![waiter])
        };
        let placed = BatchPlace { first_index: 0, first_position: 0, term: 1 };
        let first = start(&mut model);
        assert!(!model.window.has_room());
        first.place(placed);
        model.window.on_event(model.batch_events.try_recv().unwrap());
        assert!(model.window.has_room());
        let second = start(&mut model);
        first.committed();
        model.window.on_event(model.batch_events.try_recv().unwrap());
        assert!(!model.window.has_room());
        // Raft is gone with it: there is nobody to refuse it any more.
        second.committed();
        assert!(matches!(model.batch_events.try_recv(), Ok(BatchEvent::Lost)));
        model.window.on_event(BatchEvent::Lost);
        assert!(model.window.has_room());
    }
}
