//! A tail that goes on at another node when its node fails, is a member no more, or has known of no master for the
//! client's timeout.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::client::backoff::paused;
use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::error::timed_out::Wanted;
use crate::client::node::{NodeClient, RecordStream};
use crate::client::try_each::Attempt;
use crate::types::Record;

/// How long a stream must hold for its node to count as within reach, though no record came.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

struct FollowingTail {
    topology: Arc<Topology>,
    timeout: Duration,
    next: u64,
    /// The node read from, and its records; `None` while there is none.
    source: Option<TailSource>,
    /// The node that failed last, which is tried last.
    failed_last: Option<String>,
    /// Since when no node has given anything. Kept over connects: a node that takes a tail only to fail it is no better
    /// than one that takes none.
    fruitless_since: Option<Instant>,
    ended: bool,
}

struct TailSource {
    address: String,
    records: RecordStream,
    since: Instant,
}

/// Committed records from `from` on, from whichever node answers.
pub(super) fn follow(topology: Arc<Topology>, from: u64, timeout: Duration) -> RecordStream {
    let state = FollowingTail {
        topology,
        timeout,
        next: from,
        source: None,
        failed_last: None,
        fruitless_since: None,
        ended: false,
    };
    RecordStream::new(stream::unfold(state, |mut follow| async move {
        if follow.ended {
            return None;
        }
        let record = follow.record().await;
        follow.ended = record.is_err();
        Some((record, follow))
    }))
}

impl FollowingTail {
    async fn record(&mut self) -> Result<Record, ClientError> {
        self.topology.in_runtime()?;
        let timeout = self.timeout;
        loop {
            let mut current = match self.source.take() {
                Some(current) => current,
                None => self.connect().await?,
            };
            let error = match current.records.next().await {
                Some(Ok(record)) => {
                    self.next = record.index + 1;
                    self.fruitless_since = None;
                    self.source = Some(current);
                    return Ok(record);
                }
                Some(Err(ClientError::Removed { first, .. })) => return self.try_others(first, &current.address).await,
                Some(Err(error)) if !passes(&error) => return Err(error),
                Some(Err(error)) => error,
                None => ended(&current.address),
            };
            tracing::debug!(address = current.address, %error, next = self.next, "tail goes on elsewhere");
            self.topology.note_refusal(&current.address, &error);
            self.failed_last = Some(current.address);
            if current.since.elapsed() >= PROVEN_AFTER.min(timeout) {
                self.fruitless_since = None;
            }
            // If records came, the next node is asked without a pause.
            if let Some(since) = self.fruitless_since
                && !paused(since, since + timeout).await
            {
                return Err(self.topology.timed_out(Wanted::Node, since));
            }
        }
    }

    /// Asks the other nodes for the next record, which the node at `address` has removed. A node that is behind and
    /// waits for the record gets its share of the timeout, as does a silent one.
    ///
    /// # Errors
    /// [`ClientError::Removed`] if no node gives it, with the lowest index that any of them still stores.
    async fn try_others(&mut self, first: u64, address: &str) -> Result<Record, ClientError> {
        let timeout = self.timeout;
        let (index, deadline) = (self.next, Instant::now() + timeout);
        let mut addresses = self.topology.by_preference();
        addresses.retain(|other| other != address);
        let first_record = move |node: NodeClient| async move {
            let mut records = node.tail_while(index, Some(timeout)).await?;
            let record = match records.next().await {
                Some(record) => record?,
                None => return Err(ended(node.address())),
            };
            Ok((record, TailSource { address: node.address().to_owned(), records, since: Instant::now() }))
        };
        let nodes = Attempt { topology: &self.topology, timeout, deadline, vet_anew: false };
        let lowest = match nodes.try_each(addresses, |_| true, first_record).await {
            Some(Ok((record, current))) => {
                self.next = record.index + 1;
                (self.fruitless_since, self.source) = (None, Some(current));
                return Ok(record);
            }
            Some(Err(ClientError::Removed { first: other, .. })) => first.min(other),
            Some(Err(_)) | None => first,
        };
        Err(ClientError::Removed { index, first: lowest })
    }

    /// A tail at the first node that gives one.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] after the client's timeout.
    async fn connect(&mut self) -> Result<TailSource, ClientError> {
        let timeout = self.timeout;
        let started = *self.fruitless_since.get_or_insert_with(Instant::now);
        let deadline = started + timeout;
        loop {
            let mut addresses = self.topology.by_preference();
            addresses.sort_by_key(|address| self.failed_last.as_ref() == Some(address));
            let next = self.next;
            let call = move |node: NodeClient| async move {
                let records = node.tail_while(next, Some(timeout)).await?;
                Ok(TailSource { address: node.address().to_owned(), records, since: Instant::now() })
            };
            // Another node may run at an address by now.
            let nodes = Attempt { topology: &self.topology, timeout, deadline, vet_anew: true };
            if let Some(current) = nodes.try_each(addresses, passes, call).await {
                return current;
            }
            if !paused(started, deadline).await {
                return Err(self.topology.timed_out(Wanted::Node, started));
            }
        }
    }
}

fn ended(address: &str) -> ClientError {
    ClientError::Broken { address: address.to_owned(), reason: "the node ended the stream".into(), reached: true }
}

/// Whether another node may do better, which is also so where this one has damaged bytes.
fn passes(error: &ClientError) -> bool {
    error.is_transient() || matches!(error, ClientError::Damaged { .. })
}
