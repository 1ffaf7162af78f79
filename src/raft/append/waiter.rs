//! One append that waits for its outcome.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::AppendError;
use crate::types::BatchAck;

/// One append that waits: its records, and where its outcome goes. If it is dropped without one, the caller's receiver
/// sees that.
pub(crate) struct Waiter {
    /// Order of arrival at the proposer.
    pub(crate) sequence: u64,
    pub(crate) records: Vec<Bytes>,
    /// Sum of the records' lengths.
    pub(crate) bytes: usize,
    /// How long the append may take in all.
    pub(crate) timeout: Duration,
    /// When `timeout` is over, on the proposer's clock.
    pub(crate) deadline: Duration,
    /// Records and bytes in front of it in its batch, kept here because the appends in front may give up and go.
    pub(super) ahead: (u64, u64),
    reply: oneshot::Sender<Result<BatchAck, AppendError>>,
    /// The only term in which its records may be appended; `None`: any.
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

    /// Tells the caller the outcome. A caller that has dropped its receiver wants none.
    pub(crate) fn finish(self, outcome: Result<BatchAck, AppendError>) {
        let _ = self.reply.send(outcome);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "append {} of {} records", self.sequence, self.records.len())
    }
}
