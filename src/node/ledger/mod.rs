//! One replicated log.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | [`Ledger`]: append, get, read, tail, role |
//! | [`barrier`] | waits until this node has all that a read must see |
//! | [`status`] | what a ledger is at one moment |
//! | [`members`] | the members, and changes of them |

mod barrier;
mod members;
mod status;

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, watch};

use self::barrier::Barrier;
use crate::config::{Config, Retention};
use crate::error::{AppendError, ReadError};
use crate::log::progress::Pointers;
use crate::node::pending::Pending;
use crate::node::read_stream::ReadStream;
use crate::node::tail::Tail;
use crate::raft;
use crate::raft::append::inflight::Waiter;
use crate::transport::Transport;
use crate::types::{Ack, BatchAck, Consistency, Group, RECORD_OVERHEAD, ReadLimit, Record, Role};

/// What an append costs of the budget besides its bytes: many tiny records must not take memory without bound.
const RECORD_COST: usize = 64;
/// Longest an append may take: far beyond any use, far below what clocks overflow at.
pub(in crate::node) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// One replicated log on this node. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    replica: raft::replica::Replica,
    transport: Arc<dyn Transport>,
    /// Where peers reach this node.
    advertised: String,
    limits: Limits,
}

struct Limits {
    record: usize,
    batch: usize,
    inflight: usize,
    timeout: Duration,
    /// From when on the disk hangs.
    stall: Duration,
    retention: Option<Retention>,
}

/// A handle that does not keep the ledger.
pub(crate) struct WeakLedger(Weak<Inner>);

impl Ledger {
    pub(in crate::node) fn new(
        replica: raft::replica::Replica,
        transport: Arc<dyn Transport>,
        advertised: &str,
        config: &Config,
    ) -> Self {
        let limits = Limits {
            record: config.max_record_bytes,
            batch: config.max_batch_bytes,
            inflight: config.max_inflight_bytes,
            timeout: config.append_timeout,
            stall: config.disk_stall_timeout,
            retention: config.retention,
        };
        Self { inner: Arc::new(Inner { replica, transport, advertised: advertised.to_owned(), limits }) }
    }

    /// Whether both are handles of one ledger of one node.
    pub(in crate::node) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(in crate::node) fn downgrade(&self) -> WeakLedger {
        WeakLedger(Arc::downgrade(&self.inner))
    }

    pub(in crate::node) fn configured_retention(&self) -> Option<Retention> {
        self.inner.limits.retention
    }

    pub(crate) fn replica(&self) -> &raft::replica::Replica {
        &self.inner.replica
    }

    pub(in crate::node) fn transport(&self) -> &dyn Transport {
        &*self.inner.transport
    }

    /// Where peers reach this node.
    pub(in crate::node) fn advertised(&self) -> &str {
        &self.inner.advertised
    }

    /// For how long the disk has not got on with what it was given, if it hangs; and with what, in words.
    pub(in crate::node) fn hangs(&self) -> Option<(Duration, String)> {
        self.inner.replica.log.hangs(self.inner.limits.stall)
    }

    /// The ledger's group.
    pub fn group(&self) -> &Group {
        &self.inner.replica.identity.group
    }

    /// Appends a record and waits until it is committed. An ack means: it is where the ledger's durability setting
    /// says, on a quorum, and will be read at this index on every node.
    ///
    /// During an election it waits for this node to become the master, inside the configured
    /// [`append_timeout`](crate::Config::append_timeout). Dropping the future does not take the append back.
    ///
    /// # Errors
    /// [`AppendError::outcome`] tells *refused* (not in the log) from *unknown* (may be in the log).
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, AppendError> {
        self.append_in(None, record.into()).await
    }

    /// As [`Ledger::append`]; in no other term than `term`.
    pub(in crate::node) async fn append_in(&self, term: Option<u64>, record: Bytes) -> Result<Ack, AppendError> {
        let ack = self.submit_in(term, vec![record], None).await?.await?;
        Ok(Ack { index: ack.first_index, position: ack.first_position, term: ack.term })
    }

    /// Appends records atomically: all or none, with consecutive indexes. Else as [`Ledger::append`].
    ///
    /// # Errors
    /// As [`Ledger::append`]; also if there is no record.
    pub async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, AppendError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        self.append_batch_in(None, records.into_iter().map(Into::into).collect()).await
    }

    /// As [`Ledger::append_batch`]; in no other term than `term`.
    pub(in crate::node) async fn append_batch_in(
        &self,
        term: Option<u64>,
        records: Vec<Bytes>,
    ) -> Result<Vec<Ack>, AppendError> {
        let lengths: Vec<usize> = records.iter().map(Bytes::len).collect();
        let ack = self.submit_in(term, records, None).await?.await?;
        Ok(spread(&ack, &lengths))
    }

    /// Waits until there is room for the records, then fixes their place behind everything this process submitted
    /// before; the outcome comes from the returned future. So many appends can be under way in order.
    ///
    /// What is in the log lies there in the order in which it was submitted. That is so also where this node was out
    /// of touch with a quorum, or was elected again: what Raft refuses meanwhile is proposed again inside its deadline,
    /// before anything that was submitted behind it. An append that is refused, or whose outcome is unknown, may be
    /// missing.
    ///
    /// `timeout` is for the whole append, from here on; the default is the node's
    /// [`append_timeout`](crate::Config::append_timeout), the most is an hour.
    ///
    /// # Errors
    /// If the records are refused at once: empty, too large, no room within the timeout, or the ledger is closed.
    pub async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        self.submit_in(None, records, timeout).await
    }

    /// As [`Ledger::submit`]; in no other term than `term`.
    pub(crate) async fn submit_in(
        &self,
        term: Option<u64>,
        records: Vec<Bytes>,
        timeout: Option<Duration>,
    ) -> Result<Pending, AppendError> {
        let cost = self.check(&records)?;
        let timeout = timeout.unwrap_or(self.inner.limits.timeout).min(MAX_TIMEOUT);
        let budget = self.inner.replica.budget.clone();
        let (permit, left) = match budget.clone().try_acquire_many_owned(cost) {
            Ok(permit) => (permit, timeout),
            Err(_) => {
                let waited = self.inner.replica.timed(timeout, budget.acquire_many_owned(cost).map(Result::ok)).await;
                match waited {
                    Some((Some(permit), took)) => (permit, timeout.saturating_sub(took)),
                    Some((None, _)) => return Err(self.closed()),
                    None => return Err(self.busy()),
                }
            }
        };
        self.enqueue(records, left, term, permit)
    }

    /// As [`Ledger::submit`], but refuses with [`AppendError::Busy`] where that would wait.
    ///
    /// # Errors
    /// As [`Ledger::submit`], and when too many bytes are in flight.
    pub fn try_submit(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        self.try_submit_in(None, records)
    }

    /// As [`Ledger::try_submit`]; in no other term than `term`.
    pub(in crate::node) fn try_submit_in(
        &self,
        term: Option<u64>,
        records: Vec<Bytes>,
    ) -> Result<Pending, AppendError> {
        let cost = self.check(&records)?;
        let permit = self.inner.replica.budget.clone().try_acquire_many_owned(cost).map_err(|_| self.busy())?;
        self.enqueue(records, self.inner.limits.timeout, term, permit)
    }

    /// Waits until this node has all that a read of this consistency must see, on whichever node it is. Local reads
    /// ([`Ledger::get`], [`Ledger::read`], a new [`Ledger::tail`]) that begin after it see at least that, however many.
    ///
    /// Returns the committed end (the index after the last committed record) as it is here then. The wait is bounded
    /// as an append is, by the configured [`append_timeout`](crate::Config::append_timeout).
    ///
    /// ```no_run
    /// # async fn example(ledger: dledger::Ledger) -> Result<(), dledger::ReadError> {
    /// use dledger::Consistency;
    ///
    /// let end = ledger.barrier(Consistency::Linearizable).await?;
    /// let newest = ledger.get(end - 1).await?; // nothing was acknowledged behind it when the barrier was asked for
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError::Unconfirmed`] if it cannot be made sure in time, [`ReadError::Closed`].
    pub async fn barrier(&self, consistency: Consistency) -> Result<u64, ReadError> {
        self.barrier_within(consistency, self.inner.limits.timeout).await
    }

    /// [`Ledger::barrier`] with a timeout of its own, of an hour at most.
    ///
    /// # Errors
    /// As [`Ledger::barrier`].
    pub async fn barrier_within(&self, consistency: Consistency, timeout: Duration) -> Result<u64, ReadError> {
        self.check_open()?;
        let Inner { replica, transport, .. } = &*self.inner;
        Barrier { replica, transport: transport.as_ref(), timeout: timeout.min(MAX_TIMEOUT) }.pass(consistency).await?;
        Ok(replica.log.progress().committed())
    }

    /// [`Ledger::get`] behind a [`Ledger::barrier`]: [`ReadError::NotYet`] then means that nobody had an ack for this
    /// index when the read began.
    ///
    /// # Errors
    /// As both.
    pub async fn get_with(&self, index: u64, consistency: Consistency) -> Result<Record, ReadError> {
        self.barrier(consistency).await?;
        self.get(index).await
    }

    /// [`Ledger::read`] behind a [`Ledger::barrier`].
    ///
    /// # Errors
    /// As both.
    pub async fn read_with(
        &self,
        indexes: impl RangeBounds<u64>,
        limit: ReadLimit,
        consistency: Consistency,
    ) -> Result<Vec<Record>, ReadError> {
        self.barrier(consistency).await?;
        self.read(indexes, limit).await
    }

    /// The committed record `index`, as this node has it ("local" read): a record that is served is committed, but the
    /// newest records may not be known here yet.
    ///
    /// # Errors
    /// Not committed here yet, removed by retention, damaged, or the ledger is closed.
    pub async fn get(&self, index: u64) -> Result<Record, ReadError> {
        self.check_open()?;
        self.inner.replica.log.record(index)
    }

    /// Committed records of `indexes`, up to `limit`, as this node has them. An open range ends at the last record
    /// committed here; an empty answer to a range that begins there says that there is nothing more yet.
    ///
    /// # Errors
    /// As [`Ledger::get`], for the first record of the range.
    pub async fn read(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> Result<Vec<Record>, ReadError> {
        self.check_open()?;
        let range = self.bounded(indexes);
        self.inner.replica.log.records(range, limit)
    }

    /// The records that can be read here now: from the lowest index still stored to the end of what is committed, as
    /// far as this node knows. Every node has its own: each removes records by itself, and hears of a commit a little
    /// later than the master. [`Ledger::barrier`] gives an end that nothing acknowledged lies behind.
    pub fn range(&self) -> Range<u64> {
        let Pointers { first, committed, .. } = self.inner.replica.log.progress().in_order();
        first..committed.index
    }

    /// An open end is the committed one.
    fn bounded(&self, indexes: impl RangeBounds<u64>) -> Range<u64> {
        let start = match indexes.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => self.inner.replica.log.progress().first(),
        };
        let end = match indexes.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.inner.replica.log.progress().committed().max(start),
        };
        start..end
    }

    /// [`Ledger::read`] as a stream, for more than is to be in memory at once: it reads about 256 KiB at a time, when
    /// it is asked for more. An open range ends at what is committed here now.
    pub fn read_stream(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> ReadStream {
        let range = self.bounded(indexes);
        ReadStream::new(self.inner.replica.log.clone(), self.inner.replica.role.clone(), range, limit)
    }

    /// Index of the first committed record with this timestamp (milliseconds since 1970) or a later one, as this node
    /// has them; the committed end if there is none; never below the first one stored.
    ///
    /// Timestamps are set by the masters' clocks and never fall from one record to the next: where a master's clock is
    /// behind its predecessor's, its records carry the predecessor's last one until it has caught up. So every record
    /// below the index that is returned is of an earlier time, and every one from there on, also of those to come, is
    /// of this time or a later one; unless the index is the committed end: then some to come may be earlier.
    ///
    /// # Errors
    /// Damaged, or the ledger is closed.
    pub async fn index_at(&self, timestamp: u64) -> Result<u64, ReadError> {
        self.check_open()?;
        self.inner.replica.log.index_at(timestamp)
    }

    /// The committed record that begins at `position`, as this node has it. Positions are equal on all nodes.
    ///
    /// # Errors
    /// [`ReadError::NoRecordAt`] if none begins there, with the nearest positions at which one does; damaged, or the
    /// ledger is closed.
    pub async fn get_at_position(&self, position: u64) -> Result<Record, ReadError> {
        self.check_open()?;
        self.inner.replica.log.record_at_position(position)
    }

    /// Committed records from `from` on, waiting for more. It costs the node no more than about 256 KiB that it has
    /// read ahead, however slowly it is read, and holds nobody up. What it has read ahead are slices: a segment that
    /// retention removes meanwhile keeps its place on the disk until they are taken or dropped.
    pub fn tail(&self, from: u64) -> Tail {
        Tail::new(self.inner.replica.log.clone(), self.inner.replica.role.clone(), from)
    }

    /// What this node is for the ledger, as it changes. A program that embeds the ledger takes its broker role from
    /// here.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.inner.replica.role.clone()
    }

    /// Checks a batch against the limits. Returns its cost.
    fn check(&self, records: &[Bytes]) -> Result<u32, AppendError> {
        let limits = &self.inner.limits;
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
        // The budget is at most u32::MAX and at least one batch (`Config::validate`).
        Ok((size + records.len() * RECORD_COST).min(limits.inflight) as u32)
    }

    fn enqueue(
        &self,
        records: Vec<Bytes>,
        timeout: Duration,
        term: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Pending, AppendError> {
        let (waiter, outcome) = Waiter::new(records, timeout, term, permit);
        self.inner.replica.proposals.send(waiter).map_err(|_| self.closed())?;
        Ok(Pending { outcome })
    }

    fn check_open(&self) -> Result<(), ReadError> {
        match self.inner.replica.role.borrow().final_reason() {
            Some(reason) => Err(ReadError::Closed { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    fn busy(&self) -> AppendError {
        AppendError::Busy { inflight_limit: self.inner.limits.inflight }
    }

    pub(in crate::node) fn closed(&self) -> AppendError {
        let role = self.inner.replica.role.borrow();
        AppendError::Closed { reason: role.final_reason().unwrap_or("the node is shutting down").to_owned() }
    }
}

/// One ack per record.
pub(crate) fn spread(ack: &BatchAck, lengths: &[usize]) -> Vec<Ack> {
    let mut position = ack.first_position;
    let acks = lengths.iter().zip(ack.first_index..).map(|(length, index)| {
        let this = Ack { index, position, term: ack.term };
        position += *length as u64 + RECORD_OVERHEAD;
        this
    });
    acks.collect()
}

impl WeakLedger {
    pub(in crate::node) fn upgrade(&self) -> Option<Ledger> {
        self.0.upgrade().map(|inner| Ledger { inner })
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.group())
    }
}
