//! One append that waits for its outcome.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::AppendError;
use crate::types::BatchAck;

/// One append that waits: its records and where its outcome goes. Dropped without an outcome it says so itself.
pub(crate) struct Waiter {
    /// Order of arrival at the proposer.
    pub(crate) sequence: u64,
    pub(crate) records: Vec<Bytes>,
    /// Sum of the records' lengths.
    pub(crate) bytes: usize,
    /// How long it may take in all.
    pub(crate) timeout: Duration,
    /// When that is over, on the proposer's clock.
    pub(crate) deadline: Duration,
    /// Records and bytes of its batch in front of it: others of the batch may give up waiting.
    pub(super) ahead: (u64, u64),
    reply: oneshot::Sender<Result<BatchAck, AppendError>>,
    /// The only term it may be appended in.
    pub(crate) term: Option<u64>,
    /// Gives the bytes back to the ledger's budget when the append is over.
    _permit: OwnedSemaphorePermit,
}

impl Waiter {
    pub(crate) fn new(
        records: Vec<Bytes>,
        timeout: Duration,
        term: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<BatchAck, AppendError>>) {
        let (reply, outcome) = oneshot::channel();
        let bytes = records.iter().map(Bytes::len).sum();
        let waiter = Self {
            sequence: 0,
            records,
            bytes,
            timeout,
            deadline: Duration::MAX,
            ahead: (0, 0),
            reply,
            term,
            _permit: permit,
        };
        (waiter, outcome)
    }

    /// Tells the outcome. That nobody listens any more is the caller's choice.
    pub(crate) fn finish(self, outcome: Result<BatchAck, AppendError>) {
        let _ = self.reply.send(outcome);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "append {} of {} records", self.sequence, self.records.len())
    }
}
