//! A batch on its way through Raft, and the appends that wait for it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::waiter::Waiter;
use crate::error::AppendError;
use crate::types::{BatchAck, RECORD_OVERHEAD};

/// Where the log put a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchPlace {
    pub(crate) first_index: u64,
    /// Position of the first record.
    pub(crate) first_position: u64,
    pub(crate) term: u64,
}

/// What the proposer hears of a batch.
#[derive(Debug)]
pub(crate) enum BatchEvent {
    /// The log has taken it, and Raft can refuse it no more. Another event follows.
    Placed,
    /// The log had taken it, and its appends have their outcomes.
    Done,
    /// The log is not known to have taken it; its appends were told that their outcome is unknown.
    Lost,
    /// Raft took nothing of it: its appends can be proposed again.
    Refused(Vec<Waiter>),
}

/// A batch between the proposer and its commit.
#[derive(Debug)]
pub(crate) struct InflightBatch {
    /// Bytes of its entry.
    length: usize,
    placed: OnceLock<BatchPlace>,
    waiters: Mutex<Vec<Waiter>>,
    events: mpsc::UnboundedSender<BatchEvent>,
}

impl InflightBatch {
    /// A batch whose entry has `length` bytes.
    pub(crate) fn new(length: usize, mut waiters: Vec<Waiter>, events: mpsc::UnboundedSender<BatchEvent>) -> Arc<Self> {
        let mut ahead = (0, 0);
        for waiter in &mut waiters {
            waiter.ahead = ahead;
            let records = waiter.records.len() as u64;
            ahead = (ahead.0 + records, ahead.1 + waiter.bytes as u64 + records * RECORD_OVERHEAD);
        }
        Arc::new(Self { length, placed: OnceLock::new(), waiters: Mutex::new(waiters), events })
    }

    /// The log has given the batch its place.
    pub(crate) fn place(&self, placed: BatchPlace) {
        // The log writes a batch once; if it wrote it twice, the first place would count.
        if self.placed.set(placed).is_ok() {
            self.tell(BatchEvent::Placed);
        }
    }

    /// Bytes that the log will still need for it.
    pub(crate) fn pending(&self) -> usize {
        if self.placed.get().is_some() { 0 } else { self.length }
    }

    /// Ends the appends whose deadline has come: their outcome is unknown. Returns the next deadline.
    pub(crate) fn expire(&self, now: Duration) -> Option<Duration> {
        let mut waiters = self.waiters();
        let mut next = None;
        for waiter in std::mem::take(&mut *waiters) {
            if waiter.deadline <= now {
                waiter.finish(Err(unknown("not committed within the deadline; it may be later")));
            } else {
                next = Some(next.map_or(waiter.deadline, |next: Duration| next.min(waiter.deadline)));
                waiters.push(waiter);
            }
        }
        next
    }

    fn waiters(&self) -> parking_lot::MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock()
    }

    fn take(&self) -> Vec<Waiter> {
        std::mem::take(&mut *self.waiters())
    }

    fn tell(&self, event: BatchEvent) {
        // Without a proposer nobody proposes them again: the waiters in the event tell their callers when dropped.
        let _ = self.events.send(event);
    }

    pub(crate) fn committed(&self) {
        match self.placed.get() {
            Some(placed) => acknowledge(self.take(), *placed),
            // Raft commits nothing of this node's that its log has not written. If it did, this would be no ack.
            None => self.fail("the place of the batch is not known"),
        }
        self.end();
    }

    pub(crate) fn refused(&self) {
        self.tell(BatchEvent::Refused(self.take()));
    }

    pub(super) fn lost(&self, why: &str) {
        self.fail(why);
        self.end();
    }

    fn fail(&self, why: &str) {
        for waiter in self.take() {
            waiter.finish(Err(unknown(why)));
        }
    }

    fn end(&self) {
        self.tell(if self.placed.get().is_some() { BatchEvent::Done } else { BatchEvent::Lost });
    }
}

fn acknowledge(waiters: Vec<Waiter>, placed: BatchPlace) {
    for waiter in waiters {
        let (records, bytes) = waiter.ahead;
        let ack = BatchAck {
            first_index: placed.first_index + records,
            first_position: placed.first_position + bytes,
            term: placed.term,
            count: waiter.records.len() as u32,
        };
        waiter.finish(Ok(ack));
    }
}

fn unknown(why: &str) -> AppendError {
    AppendError::Unknown { reason: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::{Semaphore, oneshot};

    use super::super::responder::BatchResponder;
    use super::*;

    fn waiter(records: &[&'static str], deadline: u64) -> (Waiter, oneshot::Receiver<Result<BatchAck, AppendError>>) {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let records = records.iter().map(|record| Bytes::from_static(record.as_bytes())).collect();
        let (mut waiter, outcome) = Waiter::new(records, Duration::ZERO, None, permit);
        waiter.deadline = Duration::from_secs(deadline);
        (waiter, outcome)
    }

    #[test]
    fn an_ack_names_the_right_place_even_if_an_earlier_append_gave_up() {
        let (tx, _events) = mpsc::unbounded_channel();
        let ((one, mut given_up), (two, mut kept)) = (waiter(&["a", "bc"], 1), waiter(&["def"], 9));
        let inflight = InflightBatch::new(0, vec![one, two], tx);
        assert_eq!(inflight.expire(Duration::from_secs(5)), Some(Duration::from_secs(9)));
        inflight.place(BatchPlace { first_index: 100, first_position: 1000, term: 7 });
        inflight.committed();
        assert!(matches!(given_up.try_recv().unwrap(), Err(AppendError::Unknown { .. })));
        let ack = kept.try_recv().unwrap().unwrap();
        assert_eq!(ack, BatchAck { first_index: 102, first_position: 1011, term: 7, count: 1 });
    }

    #[test]
    fn a_batch_that_raft_drops_has_an_unknown_outcome() {
        let (tx, mut events) = mpsc::unbounded_channel();
        let (one, mut outcome) = waiter(&["a"], 1);
        drop(BatchResponder::new(InflightBatch::new(0, vec![one], tx)));
        assert!(matches!(outcome.try_recv().unwrap(), Err(AppendError::Unknown { .. })));
        assert!(matches!(events.try_recv().unwrap(), BatchEvent::Lost));
    }
}
