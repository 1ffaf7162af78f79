//! Reading a ledger: local reads, reads that promise to be current, and streams.

use std::ops::{Range, RangeBounds};
use std::time::Duration;

use super::barrier::Barrier;
use super::{Ledger, LedgerInner, MAX_TIMEOUT};
use crate::error::ReadError;
use crate::log::progress::Pointers;
use crate::node::read_stream::ReadStream;
use crate::node::tail::Tail;
use crate::types::{Consistency, OpenRange, ReadLimit, Record};

impl Ledger {
    /// Waits until this node has all that a read of this consistency must see, whichever node it is. Local reads
    /// ([`Ledger::get`], [`Ledger::read`], a new [`Ledger::tail`]) that begin afterwards see at least that, however
    /// many they are.
    ///
    /// Returns the committed end (the index after the last committed record) as this node has it then. The wait is
    /// bounded as an append is, by the configured [`append_timeout`](crate::Config::append_timeout).
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
        let LedgerInner { replica, transport, .. } = &*self.inner;
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

    /// The committed record `index`, as this node has it ("local" read): a record that is served is committed, but this
    /// node may not know of the newest records yet.
    ///
    /// # Errors
    /// Not committed here yet, removed by retention, damaged, or the ledger is closed.
    pub async fn get(&self, index: u64) -> Result<Record, ReadError> {
        self.check_open()?;
        self.inner.replica.log.record(index)
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

    /// Committed records of `indexes`, up to `limit`, as this node has them. An open range ends at the last record
    /// committed here; an empty answer to a range that begins there means that there is nothing more yet.
    ///
    /// # Errors
    /// As [`Ledger::get`], for the first record of the range.
    pub async fn read(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> Result<Vec<Record>, ReadError> {
        self.check_open()?;
        self.inner.replica.log.records(self.bounded(indexes), limit)
    }

    /// [`Ledger::read`] as a stream, for more records than should be in memory at once: it reads about 256 KiB at a
    /// time, when its reader asks for more. An open range ends at what is committed here now.
    pub fn read_stream(&self, indexes: impl RangeBounds<u64>, limit: ReadLimit) -> ReadStream {
        let range = self.bounded(indexes);
        ReadStream::new(self.inner.replica.log.clone(), self.inner.replica.role.clone(), range, limit)
    }

    /// Committed records from `from` on, waiting for more. However slowly it is read, a tail costs the node no more
    /// than about 256 KiB read ahead, and holds nobody up. What it has read ahead are slices: a segment that retention
    /// removes meanwhile keeps its place on the disk until they are taken or dropped.
    pub fn tail(&self, from: u64) -> Tail {
        Tail::new(self.inner.replica.log.clone(), self.inner.replica.role.clone(), from)
    }

    /// The records that can be read here now: from the lowest index still stored to the end of what is committed, as
    /// far as this node knows. Every node has its own range: each removes records by itself, and hears of a commit a
    /// little later than the master. [`Ledger::barrier`] gives an end that nothing acknowledged lies behind.
    pub fn range(&self) -> Range<u64> {
        let Pointers { first, committed, .. } = self.inner.replica.log.progress().in_order();
        first..committed.index
    }

    /// Index of the first committed record with this timestamp (milliseconds since 1970) or a later one, as this node
    /// has them; the committed end if there is none; never below the first record stored.
    ///
    /// Timestamps are set by the masters' clocks and never fall from one record to the next: where a master's clock is
    /// behind its predecessor's, its records carry the predecessor's last timestamp until its clock has caught up. So
    /// every record below the returned index is of an earlier time, and every record from there on, also of those to
    /// come, is of this time or a later one; unless the index is the committed end: then some to come may be earlier.
    ///
    /// # Errors
    /// Damaged, or the ledger is closed.
    pub async fn index_at(&self, timestamp: u64) -> Result<u64, ReadError> {
        self.check_open()?;
        self.inner.replica.log.index_at(timestamp)
    }

    /// `indexes` without open ends: an open start is the first record stored, an open end the committed end.
    fn bounded(&self, indexes: impl RangeBounds<u64>) -> Range<u64> {
        let progress = self.inner.replica.log.progress();
        let OpenRange { start, end } = OpenRange::new(&indexes);
        let start = start.unwrap_or_else(|| progress.first());
        start..end.unwrap_or_else(|| progress.committed().max(start))
    }

    fn check_open(&self) -> Result<(), ReadError> {
        match self.inner.replica.role.borrow().final_reason() {
            Some(reason) => Err(ReadError::Closed { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }
}
