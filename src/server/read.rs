//! Batches of bounded size for read and tail.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream, Stream, StreamExt};
use tonic::Status;

use crate::error::ReadError;
use crate::node::Ledger;
use crate::rpc::client_wire::{CHUNK_BYTES, CHUNK_RECORDS, to_status};
use crate::rpc::pb;
use crate::types::{ReadLimit, Record};

/// What is left of a read.
struct Rest {
    ledger: Ledger,
    next: u64,
    end: u64,
    limit: ReadLimit,
}

/// The committed records that `request` asks for, up to the end as it is now.
///
/// # Errors
/// [`ReadError::NotYet`] if the first index lies past the committed end; at the end, there are just no records.
pub(super) fn range(
    ledger: Ledger,
    request: &pb::ReadRequest,
) -> Result<BoxStream<'static, Result<pb::RecordBatch, Status>>, ReadError> {
    let end = ledger.status().committed;
    if request.from > end {
        return Err(ReadError::NotYet { index: request.from, committed: end });
    }
    let limit = ReadLimit { records: or_unlimited(request.max_records), bytes: or_unlimited(request.max_bytes) };
    let rest = Rest { ledger, next: request.from, end, limit };
    let batches =
        stream::try_unfold(rest, |rest| async move { rest.batch().await.map_err(|error| to_status(&(&error).into())) });
    Ok(batches.boxed())
}

/// 0 means no limit on the wire.
fn or_unlimited(limit: u64) -> usize {
    if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) }
}

impl Rest {
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

/// Puts the records that are ready into one batch; a lone one goes at once.
pub(super) struct Batched<S> {
    records: Option<S>,
    /// Found behind records that had to go first.
    failed: Option<ReadError>,
}

impl<S> Batched<S> {
    pub(super) fn new(records: S) -> Self {
        Self { records: Some(records), failed: None }
    }
}

impl<S: Stream<Item = Result<Record, ReadError>> + Unpin> Stream for Batched<S> {
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
        let mut batches = Batched::new(receiver);
        assert!(futures::poll!(batches.next()).is_pending());
        records.unbounded_send(record(0, 1)).unwrap();
        assert_eq!(batches.next().await.unwrap().unwrap().records.len(), 1);
        (1..4).for_each(|i| records.unbounded_send(record(i, 1)).unwrap());
        drop(records);
        assert_eq!(sizes(batches.collect().await), [3]);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_bytes_and_records() {
        let large = stream::iter((0..4).map(|i| record(i, CHUNK_BYTES / 2)));
        assert_eq!(sizes(Batched::new(large).collect().await), [2, 2]);
        let small = stream::iter((0..CHUNK_RECORDS as u64 + 1).map(|i| record(i, 0)));
        assert_eq!(sizes(Batched::new(small).collect().await), [CHUNK_RECORDS, 1]);
        let huge = stream::iter([record(0, 5 * CHUNK_BYTES), record(1, 1)]);
        assert_eq!(sizes(Batched::new(huge).collect().await), [1, 1]);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_records_before_it_and_ends_the_stream() {
        let closed = ReadError::Closed { reason: "disk".into() };
        let records = stream::iter([record(0, 1), Err(closed), record(1, 1)]);
        let batches: Vec<_> = Batched::new(records).collect().await;
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].as_ref().unwrap().records.len(), 1);
        assert_eq!(batches[1].as_ref().unwrap_err().message(), "disk");
    }
}
