//! The client as its users hold it.

use std::ops::{Range, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::append::driver::AppendDriver;
use crate::client::append::queue::{AppendJob, Records};
use crate::client::backoff::paused;
use crate::client::cluster::search::Search;
use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::error::timed_out::Wanted;
use crate::client::masters::{Masters, POLL_INTERVAL};
use crate::client::node::{NodeClient, RecordStream};
use crate::client::settings::at_most;
use crate::client::tail;
use crate::client::try_each::Attempt;
use crate::config::MAX_RECORD_BYTES;
use crate::types::{Ack, BatchAck, Consistency, Group, NodeId, OpenRange, ReadLimit, Record, Status};
use crate::wire::client::{MAX_REQUEST_RECORDS, RECORD_OVERHEAD};

/// Largest batch, bytes: it must fit into one message, and the largest record into it.
const MAX_BATCH: usize = MAX_RECORD_BYTES;
/// Bytes in flight that an append counts for besides its records, because an empty record costs memory too.
const APPEND_OVERHEAD: usize = 64;
/// How long a read without a known master searches for one before it takes any node. Short: only a follower's lag is at
/// stake.
const PREFER_MASTER: Duration = Duration::from_millis(250);

/// A client of one ledger on a cluster that runs elsewhere. Cheap to clone; clones share connections, order and limits.
///
/// Appends travel over one stream to the master, which the client finds and follows by itself. Appends made one after
/// the other get indexes in that order, unless one of them was refused in between: those that were refused keep their
/// order among themselves.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Longest duration of each call of this handle.
    timeout: Duration,
    /// The only term in which appends of this handle may be taken.
    term: Option<u64>,
}

struct Shared {
    topology: Arc<Topology>,
    /// Bytes that may still be put in flight.
    room: Arc<Semaphore>,
    /// Appends on their way to the `AppendDriver`, which the first append starts: a client may be made outside of a
    /// runtime.
    jobs: Mutex<Option<mpsc::UnboundedSender<AppendJob>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.topology.settings).finish_non_exhaustive()
    }
}

/// An append that has its place in the client's order. Await it for the outcome; dropping it does not take the append
/// back.
#[derive(Debug)]
#[must_use = "only awaiting the append tells its outcome"]
pub struct PendingAppend(oneshot::Receiver<Result<BatchAck, ClientError>>);

impl Future for PendingAppend {
    /// Place of the first record and number of records. Each record has the next index and lies 4 bytes plus the
    /// length of the record before it further on.
    type Output = Result<BatchAck, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| {
            let gone = || ClientError::Unknown { reason: "the runtime that the client was first used on ended".into() };
            outcome.unwrap_or_else(|_| Err(gone()))
        })
    }
}

impl Client {
    pub(super) fn topology(&self) -> &Arc<Topology> {
        &self.shared.topology
    }

    pub(super) fn new(topology: Arc<Topology>) -> Self {
        let room = Arc::new(Semaphore::new(topology.settings.max_inflight_bytes));
        let timeout = topology.settings.timeout;
        Self { shared: Arc::new(Shared { topology, room, jobs: Mutex::default() }), timeout, term: None }
    }

    /// The same client with another timeout than the builder's: the longest that an append, a read or a change of the
    /// members of this handle takes. An hour at most. Making such a handle costs nothing, so each call can have its
    /// own:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(client: dledger::Client) -> Result<(), dledger::ClientError> {
    /// client.with_timeout(Duration::from_millis(300)).append("soon or not at all").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: at_most(timeout), ..self.clone() }
    }

    /// The same client, whose appends are taken in this term or not at all. So a decision based on what the master of
    /// that term had written never lands behind what a later master has written. The bound holds through every retry
    /// and every master that the client finds. The term comes from an [`Ack`] or a status. Programs that embed the
    /// ledger use a [`Leadership`](crate::Leadership) for the same.
    ///
    /// Once the term is over, appends fail with [`ClientError::Fenced`].
    pub fn in_term(&self, term: u64) -> Self {
        Self { term: Some(term), ..self.clone() }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Appends a record. The ack means that it is committed, and durable as the cluster's durability setting says.
    ///
    /// # Errors
    /// See [`ClientError`]; its [`outcome`](ClientError::outcome) tells whether the record can be in the log.
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, ClientError> {
        let ack = self.enqueue(Records::One(record.into())).await?.await?;
        Ok(Ack { index: ack.first_index, position: ack.first_position, term: ack.term })
    }

    /// Appends all records or none, at consecutive indexes. At most 65 536 of them.
    ///
    /// # Errors
    /// As [`Client::append`], and [`ClientError::EmptyBatch`].
    pub async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, ClientError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        let records: Vec<Bytes> = records.into_iter().map(Into::into).collect();
        let sizes: Vec<u64> = records.iter().map(|record| record.len() as u64).collect();
        let ack = self.submit(records).await?.await?;
        let mut position = ack.first_position;
        let acks = sizes.into_iter().zip(ack.first_index..).map(|(size, index)| {
            let here = Ack { index, position, term: ack.term };
            position += RECORD_OVERHEAD + size;
            here
        });
        Ok(acks.collect())
    }

    /// Waits for room in flight (back-pressure), then fixes the place of `records` in the order of this client's
    /// appends; the outcome comes from what is returned. Many may be in flight.
    ///
    /// The order is that of the appends which are acknowledged. One whose outcome is *unknown* may still be on its way,
    /// in the buffers of a connection that was cut, and lie behind what was submitted after it.
    ///
    /// # Errors
    /// What the client knows before it sends: [`ClientError::EmptyBatch`], [`ClientError::TooLarge`].
    pub async fn submit(&self, records: Vec<Bytes>) -> Result<PendingAppend, ClientError> {
        let records = match <[Bytes; 1]>::try_from(records) {
            Ok([record]) => Records::One(record),
            Err(records) if records.is_empty() => return Err(ClientError::EmptyBatch),
            Err(records) => Records::Many(records),
        };
        self.enqueue(records).await
    }

    async fn enqueue(&self, records: Records) -> Result<PendingAppend, ClientError> {
        self.shared.topology.in_runtime()?;
        let size = records.bytes();
        if size > MAX_BATCH {
            let message =
                format!("{size} bytes are over the limit of {MAX_BATCH}: split the batch; no record may be that large");
            return Err(ClientError::TooLarge { size: size as u64, limit: MAX_BATCH as u64, message });
        }
        if records.count() > MAX_REQUEST_RECORDS {
            let (size, limit) = (records.count() as u64, MAX_REQUEST_RECORDS as u64);
            let message = format!("{size} records are over the limit of {limit} for a batch: split it");
            return Err(ClientError::TooLarge { size, limit, message });
        }
        let settings = &self.shared.topology.settings;
        let since = Instant::now();
        let deadline = since + self.timeout;
        // An append that is larger than all the room takes all of it. Fits 32 bits: `max_inflight_bytes` is clamped.
        let takes = (size + APPEND_OVERHEAD).min(settings.max_inflight_bytes) as u32;
        let full = || self.shared.topology.no_room(since, settings.max_inflight_bytes);
        let room = match timeout_at(deadline, self.shared.room.clone().acquire_many_owned(takes)).await {
            Ok(room) => room.map_err(|_| full())?,
            Err(_) => return Err(full()),
        };
        let (reply, outcome) = oneshot::channel();
        self.send(AppendJob { order: 0, records, since, deadline, term: self.term, alone: false, reply, _room: room });
        Ok(PendingAppend(outcome))
    }

    /// Hands a job to the driver. Starts a driver if there is none, or if the last one went down with its runtime.
    fn send(&self, job: AppendJob) {
        let mut jobs = self.shared.jobs.lock();
        let job = match &*jobs {
            Some(sender) => match sender.send(job) {
                Ok(()) => return,
                Err(mpsc::error::SendError(job)) => job,
            },
            None => job,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(AppendDriver::new(self.shared.topology.clone(), receiver).run());
        // The receiver lives in the task just made.
        let _ = sender.send(job);
        *jobs = Some(sender);
    }

    /// The ledger.
    pub fn group(&self) -> &Group {
        &self.shared.topology.settings.group
    }

    /// Who the master is, as this client learns it: the present master, then every change. For programs that follow the
    /// master and are no node, like a proxy in front of brokers.
    ///
    /// ```no_run
    /// # async fn example(client: dledger::Client) -> Result<(), dledger::ClientError> {
    /// use futures::TryStreamExt;
    ///
    /// let mut masters = client.masters();
    /// while let Some(master) = masters.try_next().await? {
    ///     match master {
    ///         Some(master) => println!("{} leads in term {}", master.member.id, master.term),
    ///         None => println!("nobody leads: hold back what is for the master"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// How fresh it is: the client asks the master every 250 ms whether it still is master, and at once when one of the
    /// client's appends finds out that it is not. It gives up a master that no longer answers when the connection
    /// breaks, or after an eighth of the builder's timeout, a second at least. So two clients may name different
    /// masters for a moment, and a named master may have been deposed: use [`Client::in_term`] for what two must not
    /// do.
    ///
    /// Terms do not go back. A stream that is not polled asks the nodes nothing; the next poll gives the newest master
    /// and skips those between. The first `None` comes when nobody was master for the timeout of this handle, a later
    /// one as soon as the present master is master no more. The stream ends with an error where no waiting helps:
    /// [`ClientError::TwoClusters`], or what all nodes refuse with, like [`ClientError::UnknownGroup`].
    pub fn masters(&self) -> Masters {
        Masters::new(self.shared.topology.clone(), self.timeout, POLL_INTERVAL)
    }

    /// One node and no other, by its id in the list: for reads from that very replica, and for its status.
    ///
    /// # Errors
    /// [`ClientError::UnknownNode`].
    pub fn node(&self, node: &NodeId) -> Result<NodeClient, ClientError> {
        let address = self.shared.topology.address_of(node)?;
        Ok(NodeClient::new(self.shared.topology.clone(), address, self.timeout))
    }

    /// What a node of the list knows of the ledger.
    ///
    /// # Errors
    /// [`ClientError::UnknownNode`], or that of [`NodeClient::status`].
    pub async fn status(&self, node: &NodeId) -> Result<Status, ClientError> {
        self.node(node)?.status().await
    }

    /// A node that answers: the master if there is one, else the first of the list that does.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with all addresses tried.
    pub async fn any_node(&self) -> Result<NodeClient, ClientError> {
        self.any(move |node| async move { node.told_status().await.map(|_| node) }).await
    }

    /// The records that can be read now, as the master says if it is known, else any node that answers; see
    /// [`Ledger::range`](crate::Ledger::range). [`Client::barrier`] gives an end that nothing acknowledged lies behind.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with all addresses tried.
    pub async fn range(&self) -> Result<Range<u64>, ClientError> {
        self.any(move |node| async move { node.range().await }).await
    }

    /// One committed record, from the master if it is known, else from any node that answers. Each node removes old
    /// records by itself: if the first node has removed the record, the client asks the others.
    ///
    /// # Errors
    /// [`ClientError::NotYet`], [`ClientError::Damaged`], or [`ClientError::Unreachable`] with all addresses tried.
    /// [`ClientError::Removed`] when a node has removed the record and no other node gave it. Its `first` is the lowest
    /// index that any of the nodes that removed it still stores.
    pub async fn get(&self, index: u64) -> Result<Record, ClientError> {
        self.any(move |node| async move { node.get(index).await }).await
    }

    /// Committed records of `indexes`, up to the limit; see [`Ledger::read`](crate::Ledger::read). All come from one
    /// node, which has the first of them.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn read(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> Result<Vec<Record>, ClientError> {
        self.read_with(indexes, limit, Consistency::Local).await
    }

    /// [`Client::get`] with a promise of what it sees: [`ClientError::NotYet`] then means that nobody had an ack for
    /// this index when the read began. Every node can keep it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get_with(&self, index: u64, consistency: Consistency) -> Result<Record, ClientError> {
        self.any(move |node| async move { node.get_with(index, consistency).await }).await
    }

    /// The end of what is committed, as far as a read of this consistency must see it: what was acknowledged before the
    /// call lies below it. By the master if it is known, else any node; see
    /// [`Ledger::barrier`](crate::Ledger::barrier).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn barrier(&self, consistency: Consistency) -> Result<u64, ClientError> {
        self.any(move |node| async move { node.barrier(consistency).await }).await
    }

    /// The record that begins at a position, which is the same on all nodes.
    ///
    /// # Errors
    /// [`ClientError::NoRecordAt`], and as [`Client::get`].
    pub async fn get_at_position(&self, position: u64, consistency: Consistency) -> Result<Record, ClientError> {
        self.any(move |node| async move { node.get_at_position(position, consistency).await }).await
    }

    /// Index of the first record with this timestamp (milliseconds since 1970) or a later one; the committed end if
    /// there is none. See [`Ledger::index_at`](crate::Ledger::index_at).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn index_at(&self, timestamp: u64, consistency: Consistency) -> Result<u64, ClientError> {
        self.any(move |node| async move { node.index_at(timestamp, consistency).await }).await
    }

    /// [`Client::read`] with a promise of what it sees.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn read_with(
        &self,
        indexes: impl RangeBounds<u64>,
        limit: ReadLimit,
        consistency: Consistency,
    ) -> Result<Vec<Record>, ClientError> {
        let indexes = OpenRange::new(&indexes);
        self.any(move |node| async move { node.stream_of(indexes, limit, consistency).await?.try_collect().await })
            .await
    }

    /// Committed records from `from` on, waiting for more. Survives the loss of the node it reads from: it goes on at
    /// another node with the next index, so that every record comes once and in order. It leaves a node that falls
    /// silent within five seconds: where nothing is appended, the silence of the connection is the only sign of it.
    ///
    /// Ends with an error when for the client's timeout no node was within reach, or every one that was failed without
    /// giving a record (its ledger is closed, its bytes are damaged); also when retention overtakes it: with
    /// [`ClientError::Removed`], when no other node gave within the timeout what the one it read from has removed. With
    /// [`ClientError::TwoClusters`] when the node it is to go on at is of another cluster.
    pub fn tail(&self, from: u64) -> RecordStream {
        tail::follow(self.shared.topology.clone(), from, self.timeout)
    }

    /// The answer of whichever node has one, the master first.
    async fn any<T, F>(&self, call: impl Fn(NodeClient) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let topology = &self.shared.topology;
        topology.in_runtime()?;
        let started = Instant::now();
        let deadline = started + self.timeout;
        if topology.master().is_none() || topology.check_one_cluster().is_err() {
            let mut search = Search::new(topology, started);
            // A read does without the master: any node will do, though a follower may lag.
            if timeout(PREFER_MASTER.min(self.timeout), search.master()).await.is_err() {
                search.take_unheard();
            }
            topology.recheck_one_cluster().await?;
        }
        let nodes = Attempt { topology, timeout: self.timeout, deadline, vet_anew: false };
        loop {
            let addresses = topology.by_preference();
            if let Some(answer) = nodes.try_each(addresses, ClientError::is_transient, &call).await {
                return answer;
            }
            if !paused(started, deadline).await {
                return Err(topology.timed_out(Wanted::Node, started));
            }
        }
    }
}
