//! Every append: in whichever term this node is the master, or in one term only.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use super::{Ledger, MAX_TIMEOUT};
use crate::config::Config;
use crate::error::AppendError;
use crate::node::pending::Pending;
use crate::raft::append::waiter::Waiter;
use crate::types::{Ack, BatchAck, RECORD_OVERHEAD};

/// Bytes of the budget that a record costs besides its own: what this process keeps of each record in flight, so that
/// many tiny records cannot take memory without bound.
const RECORD_COST: usize = 64;

/// What the node's configuration allows an append.
pub(super) struct AppendLimits {
    record: usize,
    batch: usize,
    inflight: usize,
    pub(super) timeout: Duration,
}

impl AppendLimits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            record: config.max_record_bytes,
            batch: config.max_batch_bytes,
            inflight: config.max_inflight_bytes,
            timeout: config.append_timeout,
        }
    }
}

/// Appends for a [`Ledger`] (any term) and for a [`Leadership`](crate::Leadership) (its own term).
pub(crate) struct Appender<'a> {
    pub(super) ledger: &'a Ledger,
    /// Raft takes the records in this term or not at all; `None`: in any.
    pub(super) term: Option<u64>,
}

impl Appender<'_> {
    /// See [`Ledger::append`].
    pub(in crate::node) async fn append(&self, record: Bytes) -> Result<Ack, AppendError> {
        let ack = self.submit(vec![record], None).await?.await?;
        Ok(Ack { index: ack.first_index, position: ack.first_position, term: ack.term })
    }

    /// See [`Ledger::append_batch`].
    pub(in crate::node) async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, AppendError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        let records: Vec<Bytes> = records.into_iter().map(Into::into).collect();
        let lengths: Vec<usize> = records.iter().map(Bytes::len).collect();
        let ack = self.submit(records, None).await?.await?;
        Ok(ack_per_record(&ack, &lengths))
    }

    /// See [`Ledger::submit`].
    pub(crate) async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        let cost = self.check(&records)?;
        let timeout = timeout.unwrap_or(self.ledger.inner.limits.timeout).min(MAX_TIMEOUT);
        let replica = self.ledger.replica();
        let budget = replica.budget.clone();
        let (permit, left) = match budget.clone().try_acquire_many_owned(cost) {
            Ok(permit) => (permit, timeout),
            Err(_) => match replica.timed(timeout, budget.acquire_many_owned(cost).map(Result::ok)).await {
                Some((Some(permit), took)) => (permit, timeout.saturating_sub(took)),
                Some((None, _)) => return Err(self.ledger.closed()),
                None => return Err(self.busy()),
            },
        };
        self.enqueue(records, left, permit)
    }

    /// See [`Ledger::try_submit`].
    pub(in crate::node) fn try_submit(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        let cost = self.check(&records)?;
        let budget = self.ledger.replica().budget.clone();
        let permit = budget.try_acquire_many_owned(cost).map_err(|_| self.busy())?;
        self.enqueue(records, self.ledger.inner.limits.timeout, permit)
    }

    /// Checks a batch against the limits. Returns its cost.
    fn check(&self, records: &[Bytes]) -> Result<u32, AppendError> {
        let limits = &self.ledger.inner.limits;
        if records.is_empty() {
            return Err(AppendError::EmptyBatch);
        }
        let too_large = |what, size, limit| Err(AppendError::TooLarge { what, size, limit });
        if let Some(record) = records.iter().find(|record| record.len() > limits.record) {
            return too_large("record", record.len(), limits.record);
        }
        // Framing counts too: a batch of empty records is not free.
        let framing = records.len() * RECORD_OVERHEAD as usize * 2;
        let size = records.iter().map(Bytes::len).sum::<usize>() + framing;
        if size > limits.batch + RECORD_OVERHEAD as usize * 2 {
            return too_large("batch", size, limits.batch);
        }
        // `Config::validate` keeps the budget between one batch and u32::MAX.
        Ok((size + records.len() * RECORD_COST).min(limits.inflight) as u32)
    }

    fn enqueue(
        &self,
        records: Vec<Bytes>,
        timeout: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Result<Pending, AppendError> {
        let (waiter, outcome) = Waiter::new(records, timeout, self.term, permit);
        self.ledger.replica().proposals.send(waiter).map_err(|_| self.ledger.closed())?;
        Ok(Pending { outcome })
    }

    fn busy(&self) -> AppendError {
        AppendError::Busy { inflight_limit: self.ledger.inner.limits.inflight }
    }
}

/// The acks of the records of one batch, whose lengths are `lengths`.
fn ack_per_record(ack: &BatchAck, lengths: &[usize]) -> Vec<Ack> {
    let mut position = ack.first_position;
    let acks = lengths.iter().zip(ack.first_index..).map(|(length, index)| {
        let this = Ack { index, position, term: ack.term };
        position += *length as u64 + RECORD_OVERHEAD;
        this
    });
    acks.collect()
}
