//! A range of committed records, a bounded part at a time.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::watch;

use super::prefetch::Prefetch;
use crate::error::ReadError;
use crate::log::reader::LogReader;
use crate::types::{ReadLimit, Record, Role};

/// A stream of the committed records of a range. It never waits, and ends at the end of the range, at its limit, at
/// what is committed, or with an error: damaged, removed ([`ReadError::Removed`] says where to go on), or the ledger
/// is closed.
pub struct ReadStream {
    records: Prefetch,
    role: watch::Receiver<Role>,
    range: Range<u64>,
    left: ReadLimit,
    /// The stream has given no record yet: if there is none, it must say why.
    first: bool,
    over: bool,
}

impl ReadStream {
    pub(super) fn new(log: LogReader, role: watch::Receiver<Role>, range: Range<u64>, limit: ReadLimit) -> Self {
        Self { records: Prefetch::new(log, range.start), role, range, left: limit, first: true, over: false }
    }

    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        if self.records.is_empty()
            && let Some(reason) = self.role.borrow().final_reason()
        {
            return Err(ReadError::Closed { reason: reason.to_owned() });
        }
        if self.left.records == 0 || self.left.bytes == 0 {
            return Ok(None);
        }
        let record = match self.records.next(self.range.end, self.left)? {
            None if self.first && !self.range.is_empty() => Some(self.records.next_or_error()?),
            record => record,
        };
        self.first = false;
        if let Some(record) = &record {
            self.left.records -= 1;
            self.left.bytes = self.left.bytes.saturating_sub(record.body.len());
        }
        Ok(record)
    }
}

impl Stream for ReadStream {
    type Item = Result<Record, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = self.next_record().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl fmt::Debug for ReadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadStream").field("range", &self.range).field("left", &self.left).finish_non_exhaustive()
    }
}
