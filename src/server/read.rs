//! Batches of bounded size for read and tail.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::error::ReadError;
use crate::node::Ledger;
use crate::types::{ReadLimit, Record, Role, Span};
use crate::wire::client::{CHUNK_BYTES, CHUNK_RECORDS, failure, millis, to_status};
use crate::wire::pb::{self, failure::Code};

/// What is left of a range that a client reads.
struct RangeReader {
    ledger: Ledger,
    next: u64,
    end: u64,
    limit: ReadLimit,
}

/// The committed records that `request` asks for, up to the end as it is now.
///
/// # Errors
/// [`ReadError::NotYet`] if the first index lies past the committed end. At the end there are just no records.
pub(super) fn range(
    ledger: Ledger,
    request: &pb::ReadRequest,
) -> Result<BoxStream<'static, Result<pb::RecordBatch, Status>>, ReadError> {
    let end = ledger.status().committed;
    if request.from > end {
        return Err(ReadError::NotYet { index: request.from, committed: end });
    }
    let limit = ReadLimit { records: or_unlimited(request.max_records), bytes: or_unlimited(request.max_bytes) };
    let rest = RangeReader { ledger, next: request.from, end, limit };
    let batches =
        stream::try_unfold(rest, |rest| async move { rest.batch().await.map_err(|error| to_status(&(&error).into())) });
    Ok(batches.boxed())
}

/// 0 means no limit on the wire.
fn or_unlimited(limit: u64) -> usize {
    if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) }
}

impl RangeReader {
    async fn batch(mut self) -> Result<Option<(pb::RecordBatch, Self)>, ReadError> {
        if self.next >= self.end || self.limit.records == 0 || self.limit.bytes == 0 {
            return Ok(None);
        }
        let limit =
            ReadLimit { records: self.limit.records.min(CHUNK_RECORDS), bytes: self.limit.bytes.min(CHUNK_BYTES) };
        let records = self.ledger.read(self.next..self.end, limit).await?;
        let Some(last) = records.last() else { return Ok(None) };
        self.next = last.index + 1;
        self.limit.records = self.limit.records.saturating_sub(records.len());
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        self.limit.bytes = self.limit.bytes.saturating_sub(bytes);
        Ok(Some((pb::RecordBatch { records: records.into_iter().map(Into::into).collect() }, self)))
    }
}

/// `records`, and behind them why there are no more, so that a client goes on at another node when this one stops.
pub(super) fn with_close_reason(
    records: impl Stream<Item = Result<Record, ReadError>>,
    role: watch::Receiver<Role>,
) -> impl Stream<Item = Result<Record, ReadError>> {
    records.chain(stream::once(async move {
        let reason = role.borrow().final_reason().unwrap_or("the node is shutting down").to_owned();
        Err(ReadError::Closed { reason })
    }))
}

/// `batches`, until the node is no longer a member, or has known of no master for `timeout`: other nodes may have more.
pub(super) fn until_masterless(
    batches: BoxStream<'static, Result<pb::RecordBatch, Status>>,
    role: watch::Receiver<Role>,
    timeout: Duration,
) -> BoxStream<'static, Result<pb::RecordBatch, Status>> {
    let over = stream::once(async move { Err(to_status(&masterless(role, timeout).await)) });
    let all = stream::select(batches, over.boxed());
    // The first error ends the stream.
    let until_error = stream::unfold(Some(all), |all| async move {
        let mut all = all?;
        let batch = all.next().await?;
        let rest = batch.is_ok().then_some(all);
        Some((batch, rest))
    });
    until_error.boxed()
}

/// Waits until the client should expect nothing more from this node, and says why.
async fn masterless(mut role: watch::Receiver<Role>, timeout: Duration) -> pb::Failure {
    let mut since = None;
    loop {
        let until = match &*role.borrow_and_update() {
            Role::Removed { reason, .. } => return failure(Code::NoMaster, reason),
            // A new term is not yet a new master.
            Role::Electing { .. } => Some(*since.get_or_insert_with(Instant::now) + timeout),
            // The records end with the reason.
            Role::Master { .. } | Role::Slave { .. } | Role::Stopped | Role::Closed { .. } => None,
        };
        if until.is_none() {
            since = None;
        }
        let sleep = sleep_until(until.unwrap_or_else(Instant::now));
        tokio::select! {
            biased;
            changed = role.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
            () = sleep, if until.is_some() => {
                let message = format!("the node has known of no master for {}", Span(timeout));
                return pb::Failure { found: millis(timeout), ..failure(Code::NoMaster, message) };
            }
        }
    }
}

/// Puts the records that are ready into one batch; a lone record goes at once.
pub(super) struct RecordBatches<S> {
    records: Option<S>,
    /// An error that came behind records, which go first.
    failed: Option<ReadError>,
}

impl<S> RecordBatches<S> {
    pub(super) fn new(records: S) -> Self {
        Self { records: Some(records), failed: None }
    }
}

impl<S: Stream<Item = Result<Record, ReadError>> + Unpin> Stream for RecordBatches<S> {
    type Item = Result<pb::RecordBatch, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(to_status(&(&error).into()))));
        }
        let (mut ready, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK_BYTES && ready.len() < CHUNK_RECORDS {
            let Some(records) = &mut self.records else { break };
            match records.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(record))) => {
                    bytes += record.body.len();
                    ready.push(record.into());
                }
                Poll::Ready(Some(Err(error))) => {
                    self.records = None;
                    if ready.is_empty() {
                        return Poll::Ready(Some(Err(to_status(&(&error).into()))));
                    }
                    self.failed = Some(error);
                }
                Poll::Ready(None) => self.records = None,
                Poll::Pending if ready.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!ready.is_empty()).then_some(Ok(pb::RecordBatch { records: ready })))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::channel::mpsc;

    use super::*;

    fn record(index: u64, size: usize) -> Result<Record, ReadError> {
        Ok(Record { index, position: 0, term: 1, timestamp: 0, body: vec![0; size].into() })
    }

    fn sizes(batches: Vec<Result<pb::RecordBatch, Status>>) -> Vec<usize> {
        batches.into_iter().map(|batch| batch.unwrap().records.len()).collect()
    }

    #[tokio::test]
    async fn a_lone_record_goes_at_once_and_waiting_ones_together() {
        let (records, receiver) = mpsc::unbounded();
        let mut batches = RecordBatches::new(receiver);
        assert!(futures::poll!(batches.next()).is_pending());
        records.unbounded_send(record(0, 1)).unwrap();
        assert_eq!(batches.next().await.unwrap().unwrap().records.len(), 1);
        (1..4).for_each(|i| records.unbounded_send(record(i, 1)).unwrap());
        drop(records);
        assert_eq!(sizes(batches.collect().await), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tail_ends_where_nobody_leads_any_more_and_not_before() {
        let (roles, role) = watch::channel(Role::Electing { term: 1 });
        let (records, receiver) = mpsc::unbounded();
        let timeout = Duration::from_secs(10);
        let mut tail = until_masterless(RecordBatches::new(receiver).boxed(), role, timeout);
        // Another term does not begin the wait anew; a master does.
        assert!(tokio::time::timeout(timeout / 2, tail.next()).await.is_err());
        roles.send_replace(Role::Electing { term: 2 });
        assert!(tokio::time::timeout(timeout / 4, tail.next()).await.is_err());
        roles.send_replace(Role::Master { term: 2 });
        assert!(tokio::time::timeout(timeout * 100, tail.next()).await.is_err());
        records.unbounded_send(record(0, 1)).unwrap();
        assert_eq!(tail.next().await.unwrap().unwrap().records.len(), 1);
        roles.send_replace(Role::Electing { term: 2 });
        assert!(tokio::time::timeout(timeout / 2, tail.next()).await.is_err());
        let end = tokio::time::timeout(timeout, tail.next()).await.expect("it waits on");
        assert!(end.unwrap().unwrap_err().message().contains("no master"));
        assert!(tail.next().await.is_none());
    }

    #[tokio::test]
    async fn a_tail_ends_at_once_on_a_node_that_was_removed() {
        let (_roles, role) = watch::channel(Role::Removed { term: 1, reason: "n1 says so".into() });
        let mut tail = until_masterless(stream::pending().boxed(), role, Duration::from_secs(3600));
        let end = tail.next().now_or_never().expect("it waits on");
        assert_eq!(end.unwrap().unwrap_err().message(), "n1 says so");
        assert!(tail.next().await.is_none());
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_bytes_and_records() {
        let large = stream::iter((0..4).map(|i| record(i, CHUNK_BYTES / 2)));
        assert_eq!(sizes(RecordBatches::new(large).collect().await), [2, 2]);
        let small = stream::iter((0..CHUNK_RECORDS as u64 + 1).map(|i| record(i, 0)));
        assert_eq!(sizes(RecordBatches::new(small).collect().await), [CHUNK_RECORDS, 1]);
        let huge = stream::iter([record(0, 5 * CHUNK_BYTES), record(1, 1)]);
        assert_eq!(sizes(RecordBatches::new(huge).collect().await), [1, 1]);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_records_before_it_and_ends_the_stream() {
        let closed = ReadError::Closed { reason: "disk".into() };
        let records = stream::iter([record(0, 1), Err(closed), record(1, 1)]);
        let batches: Vec<_> = RecordBatches::new(records).collect().await;
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].as_ref().unwrap().records.len(), 1);
        assert_eq!(batches[1].as_ref().unwrap_err().message(), "disk");
    }
}
