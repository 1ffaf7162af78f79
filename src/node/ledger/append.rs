//! Appending to a ledger.

use std::time::Duration;

use bytes::Bytes;

use super::Ledger;
use super::appender::Appender;
use crate::error::AppendError;
use crate::node::pending::Pending;
use crate::types::Ack;

impl Ledger {
    /// Appends a record and waits until it is committed. An ack means: the record is where the ledger's durability
    /// setting says, on a quorum, and every node will read it at this index.
    ///
    /// During an election the append waits for this node to become the master, inside the configured
    /// [`append_timeout`](crate::Config::append_timeout). Dropping the future does not take the append back.
    ///
    /// # Errors
    /// [`AppendError::outcome`] tells *refused* (not in the log) from *unknown* (may be in the log).
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, AppendError> {
        self.appender(None).append(record.into()).await
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
        self.appender(None).append_batch(records).await
    }

    /// Waits until there is room for the records, then fixes their place behind everything that this process submitted
    /// before; the returned future resolves to the outcome. In this way many appends can be under way in order.
    ///
    /// What is in the log lies there in the order in which this process submitted it, even where this node lost touch
    /// with its quorum or was elected again: what Raft refuses meanwhile is proposed again inside its deadline, before
    /// anything that was submitted behind it. An append that is refused, or whose outcome is unknown, may be missing.
    ///
    /// `timeout` covers the whole append, from this call on; the default is the node's
    /// [`append_timeout`](crate::Config::append_timeout), the most is an hour.
    ///
    /// # Errors
    /// The records are refused at once: none or too large, no room within the timeout, or the ledger is closed.
    pub async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        self.appender(None).submit(records, timeout).await
    }

    /// As [`Ledger::submit`], but refuses with [`AppendError::Busy`] where that would wait.
    ///
    /// # Errors
    /// As [`Ledger::submit`], and when too many bytes are in flight.
    pub fn try_submit(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        self.appender(None).try_submit(records)
    }

    /// Appends in `term` or not at all; `None`: in any term.
    pub(crate) fn appender(&self, term: Option<u64>) -> Appender<'_> {
        Appender { ledger: self, term }
    }
}
