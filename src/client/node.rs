//! Reads from one node.

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use tokio::time::timeout;

use crate::client::cluster::connections::CallSlot;
use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::settings::at_most;
use crate::types::{Consistency, OpenRange, ReadLimit, Record, Status};
use crate::wire::client::millis;
use crate::wire::pb;

/// One node and no other: what it says and what it stores.
#[derive(Clone)]
pub struct NodeClient {
    topology: Arc<Topology>,
    address: String,
    timeout: Duration,
}

impl fmt::Debug for NodeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeClient").field(&self.address).finish()
    }
}

/// Records in index order without holes. After an error it ends.
pub struct RecordStream(BoxStream<'static, Result<Record, ClientError>>);

impl RecordStream {
    pub(super) fn new(records: impl Stream<Item = Result<Record, ClientError>> + Send + 'static) -> Self {
        Self(records.boxed())
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordStream")
    }
}

impl Stream for RecordStream {
    type Item = Result<Record, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// The records of a range that has an end. If the node has none of them, it has committed only up to `from`: the range
/// asked for more.
fn explained(records: RecordStream, from: u64) -> RecordStream {
    let first = async move {
        let mut records = records.peekable();
        match Pin::new(&mut records).peek().await {
            Some(_) => records.left_stream(),
            None => stream::iter([Err(ClientError::NotYet { index: from, committed: from })]).right_stream(),
        }
    };
    RecordStream::new(stream::once(first).flatten())
}

impl NodeClient {
    pub(super) fn new(topology: Arc<Topology>, address: String, timeout: Duration) -> Self {
        Self { topology, address, timeout }
    }

    /// The same node with another timeout for its calls; see [`Client::with_timeout`](crate::Client::with_timeout).
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: at_most(timeout), ..self.clone() }
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// `host:port` of the node.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn failed(&self, status: tonic::Status) -> ClientError {
        ClientError::from_status(&self.address, &status)
    }

    /// Waits for an answer for as long as the client's timeout says.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, ClientError> {
        let within = self.timeout;
        match timeout(within, call).await {
            Ok(answer) => answer.map_err(|status| self.failed(status)),
            Err(_) => Err(ClientError::silent(&self.address, within)),
        }
    }

    /// What the node knows of the ledger, as [`Ledger::status`](crate::Ledger::status) says it there.
    ///
    /// # Errors
    /// [`ClientError::Broken`] if it cannot be reached; [`ClientError::UnknownGroup`], [`ClientError::WrongCluster`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.told_status().await?.try_into().map_err(|what| self.malformed(what))
    }

    /// The same as it was told.
    pub(super) async fn told_status(&self) -> Result<pb::StatusResponse, ClientError> {
        self.topology.status(&self.address, self.timeout).await
    }

    /// The records that can be read from the node now; see [`Ledger::range`](crate::Ledger::range).
    ///
    /// # Errors
    /// As [`NodeClient::status`], and [`ClientError::Closed`].
    pub async fn range(&self) -> Result<Range<u64>, ClientError> {
        let status = self.status().await?;
        match status.role.final_reason() {
            Some(reason) => Err(ClientError::Closed { reason: reason.to_owned() }),
            None => Ok(status.first..status.committed),
        }
    }

    /// One record that the node has and knows to be committed.
    ///
    /// # Errors
    /// [`ClientError::NotYet`], [`ClientError::Removed`], [`ClientError::Damaged`], [`ClientError::Broken`].
    pub async fn get(&self, index: u64) -> Result<Record, ClientError> {
        self.get_with(index, Consistency::Local).await
    }

    /// The same, with a promise of what it sees. Every node can keep it: one that is not the master asks the master.
    ///
    /// # Errors
    /// As [`NodeClient::get`], and [`ClientError::Unconfirmed`].
    pub async fn get_with(&self, index: u64, consistency: Consistency) -> Result<Record, ClientError> {
        let record = self.get_one(pb::GetRequest { index, ..Default::default() }, consistency).await?;
        match record {
            Some(record) if record.index == index => Ok(record.into()),
            other => Err(self.malformed(format!("{:?} for index {index}", other.map(|record| record.index)))),
        }
    }

    /// The record that begins at a position, which is the same on all nodes.
    ///
    /// # Errors
    /// [`ClientError::NoRecordAt`], and as [`NodeClient::get_with`].
    pub async fn get_at_position(&self, position: u64, consistency: Consistency) -> Result<Record, ClientError> {
        let request = pb::GetRequest { position: Some(position), ..Default::default() };
        match self.get_one(request, consistency).await? {
            Some(record) if record.position == position => Ok(record.into()),
            other => Err(self.malformed(format!("{:?} for position {position}", other.map(|record| record.position)))),
        }
    }

    async fn get_one(
        &self,
        request: pb::GetRequest,
        consistency: Consistency,
    ) -> Result<Option<pb::Record>, ClientError> {
        let request = pb::GetRequest {
            cluster: self.topology.cluster(),
            group: self.topology.group(),
            consistency: pb::Consistency::from(consistency).into(),
            timeout_ms: self.timeout_ms(),
            ..request
        };
        let (mut service, _place) = self.topology.read(&self.address)?;
        Ok(self.answer(service.get(request)).await?.into_inner().record)
    }

    /// Index of the first record with this timestamp (milliseconds since 1970) or a later one; the committed end if
    /// there is none. See [`Ledger::index_at`](crate::Ledger::index_at).
    ///
    /// # Errors
    /// As [`NodeClient::get_with`].
    pub async fn index_at(&self, timestamp: u64, consistency: Consistency) -> Result<u64, ClientError> {
        let request = pb::IndexAtRequest {
            cluster: self.topology.cluster(),
            group: self.topology.group(),
            timestamp,
            consistency: pb::Consistency::from(consistency).into(),
            timeout_ms: self.timeout_ms(),
        };
        let (mut service, _place) = self.topology.read(&self.address)?;
        Ok(self.answer(service.index_at(request)).await?.into_inner().index)
    }

    /// Makes sure that the node has what a read of this consistency must see, and returns the end of what is committed
    /// there: what was acknowledged before the call lies below it. The same as
    /// [`Ledger::barrier`](crate::Ledger::barrier).
    ///
    /// # Errors
    /// As [`NodeClient::get_with`].
    pub async fn barrier(&self, consistency: Consistency) -> Result<u64, ClientError> {
        // No record bears the last timestamp there is, so the search ends at the committed end.
        self.index_at(u64::MAX, consistency).await
    }

    /// The node's part of the timeout. Shorter than the client's, so that the node says why it has no answer before the
    /// client gives up.
    fn timeout_ms(&self) -> u64 {
        // 0 would mean the node's default.
        millis(self.timeout * 4 / 5).max(1)
    }

    /// Committed records of `indexes`, up to the limit, as the node has them. An open range begins at the first record
    /// stored there and ends at what is committed; see [`Ledger::read`](crate::Ledger::read).
    ///
    /// # Errors
    /// As [`NodeClient::get`]; none are returned then.
    pub async fn read(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> Result<Vec<Record>, ClientError> {
        self.read_stream(indexes, limit).await?.try_collect().await
    }

    /// The same as a stream, for more than fits into memory. The end is what is committed when it begins.
    /// `ReadLimit { records: usize::MAX, bytes: usize::MAX }` is no limit.
    ///
    /// # Errors
    /// As [`NodeClient::get`], here and from the stream.
    pub async fn read_stream(
        &self,
        indexes: impl RangeBounds<u64>,
        limit: ReadLimit,
    ) -> Result<RecordStream, ClientError> {
        self.read_stream_with(indexes, limit, Consistency::Local).await
    }

    /// The same, with a promise of what it sees.
    ///
    /// # Errors
    /// As [`NodeClient::get_with`], here and from the stream.
    pub async fn read_stream_with(
        &self,
        indexes: impl RangeBounds<u64>,
        limit: ReadLimit,
        consistency: Consistency,
    ) -> Result<RecordStream, ClientError> {
        self.stream_of(OpenRange::new(&indexes), limit, consistency).await
    }

    pub(super) async fn stream_of(
        &self,
        OpenRange { start, end }: OpenRange,
        limit: ReadLimit,
        consistency: Consistency,
    ) -> Result<RecordStream, ClientError> {
        let from = match start {
            Some(start) => start,
            None => self.range().await?.start,
        };
        let wanted = end.map_or(u64::MAX, |end| end.saturating_sub(from));
        let most = limit.records.min(usize::try_from(wanted).unwrap_or(usize::MAX));
        if most == 0 || limit.bytes == 0 {
            return Ok(RecordStream::new(stream::empty()));
        }
        let on_wire = |limit: usize| if limit == usize::MAX { 0 } else { limit as u64 };
        let request = pb::ReadRequest {
            cluster: self.topology.cluster(),
            group: self.topology.group(),
            from,
            max_records: on_wire(most),
            max_bytes: on_wire(limit.bytes),
            consistency: pb::Consistency::from(consistency).into(),
            timeout_ms: self.timeout_ms(),
        };
        let (mut service, place) = self.topology.stream(&self.address)?;
        let batches = self.answer(service.read(request)).await?.into_inner();
        let records = self.records(batches, place, from, Some(self.timeout));
        Ok(if end.is_some() { explained(records, from) } else { records })
    }

    /// Committed records from `from` on, waiting for more, from this node only: ends with an error when it fails.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::UnknownGroup`], [`ClientError::WrongCluster`]; the stream, also those of
    /// [`NodeClient::get`].
    pub async fn tail(&self, from: u64) -> Result<RecordStream, ClientError> {
        self.tail_while(from, None).await
    }

    /// The same; the stream also ends with an error when the node is a member no more, or has known of no master for
    /// `master_timeout`.
    pub(super) async fn tail_while(
        &self,
        from: u64,
        master_timeout: Option<Duration>,
    ) -> Result<RecordStream, ClientError> {
        let request = pb::TailRequest {
            cluster: self.topology.cluster(),
            group: self.topology.group(),
            from,
            // 0 would mean for ever.
            master_timeout_ms: master_timeout.map_or(0, |timeout| millis(timeout).max(1)),
        };
        let (mut service, place) = self.topology.stream(&self.address)?;
        let batches = self.answer(service.tail(request)).await?.into_inner();
        Ok(self.records(batches, place, from, None))
    }

    /// The records of the batches, each checked to be the one that is due. `within`: longest wait for a batch.
    fn records(
        &self,
        batches: tonic::Streaming<pb::RecordBatch>,
        place: CallSlot,
        from: u64,
        within: Option<Duration>,
    ) -> RecordStream {
        let state = (self.clone(), batches, place, from);
        let checked = stream::try_unfold(state, move |(node, mut batches, place, next)| async move {
            let answer = match within {
                Some(within) => {
                    timeout(within, batches.message()).await.map_err(|_| ClientError::silent(&node.address, within))?
                }
                None => batches.message().await,
            };
            let Some(batch) = answer.map_err(|status| node.failed(status))? else { return Ok(None) };
            let Some(end) = next.checked_add(batch.records.len() as u64) else {
                return Err(node.malformed(format!("{} records at index {next}", batch.records.len())));
            };
            let due = (next..end).zip(&batch.records).find(|(due, record)| *due != record.index);
            if let Some((due, found)) = due {
                return Err(node.malformed(format!("index {} where {due} was due", found.index)));
            }
            let next = end;
            let records = stream::iter(batch.records.into_iter().map(|record| Ok(Record::from(record))));
            Ok(Some((records, (node, batches, place, next))))
        });
        RecordStream::new(checked.try_flatten())
    }

    pub(super) fn malformed(&self, what: String) -> ClientError {
        ClientError::Malformed { address: self.address.clone(), what }
    }
}
