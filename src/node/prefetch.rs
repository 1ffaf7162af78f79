//! A bounded number of records read ahead of their reader.

use std::collections::VecDeque;

use crate::error::ReadError;
use crate::log::reader::LogReader;
use crate::types::{ReadLimit, Record};

/// Bytes read from the log in one go, unless one record alone is larger. The records are slices, not copies: they hold
/// the mapping of their segment.
const READ_BYTES: usize = 256 << 10;
/// Records read in one go: the description of a small record takes more memory than the record.
const READ_RECORDS: usize = 4096;

/// A place in the log and the records read from there on. It reads when its reader asks and it has none left, and not
/// before: a reader that does not ask costs nothing more.
pub(super) struct Prefetch {
    log: LogReader,
    next: u64,
    ready: VecDeque<Record>,
}

impl Prefetch {
    pub(super) fn new(log: LogReader, from: u64) -> Self {
        Self { log, next: from, ready: VecDeque::new() }
    }

    /// The next record below `end`; `None` if it is not committed yet, or `limit` allows none.
    ///
    /// # Errors
    /// As [`LogReader::records`].
    pub(super) fn next(&mut self, end: u64, limit: ReadLimit) -> Result<Option<Record>, ReadError> {
        if self.ready.is_empty() && self.next < end.min(self.log.progress().committed()) {
            let (records, bytes) = (limit.records.min(READ_RECORDS), limit.bytes.min(READ_BYTES));
            self.ready = self.log.records(self.next..end, ReadLimit { records, bytes })?.into();
        }
        let record = self.ready.pop_front();
        if let Some(record) = &record {
            self.next = record.index + 1;
        }
        Ok(record)
    }

    /// The next record.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn next_or_error(&mut self) -> Result<Record, ReadError> {
        let record = self.log.record(self.next)?;
        self.next = record.index + 1;
        Ok(record)
    }

    /// Whether the next one has to be read from the log.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::alone;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_is_not_asked_holds_its_buffer_and_nothing_more() {
        let (_dir, node, ledger) = alone().await;
        let log = ledger.replica().log.clone();
        let mut slow = Prefetch::new(log.clone(), 0);
        let everything = ReadLimit::bytes(usize::MAX);
        assert_eq!(slow.next(u64::MAX, everything), Ok(None));
        let largest = 64 << 10;
        for n in 0..64 {
            ledger.append(vec![n; largest]).await.unwrap();
            ledger.append_batch(vec![vec![n]; 500]).await.unwrap();
            // It has read something, and nobody asks it any more.
            if n == 0 {
                assert!(slow.next(u64::MAX, everything).unwrap().is_some());
            }
        }
        assert_eq!(slow.ready.len(), 500, "it reads though nobody asks");
        // All of it was committed without waiting for the reader; it finds the rest in pieces, each within the bound.
        let mut taken = 1;
        while let Some(record) = slow.next(u64::MAX, everything).unwrap() {
            assert_eq!(record.index, taken);
            taken += 1;
            let held: usize = slow.ready.iter().map(|record| record.body.len()).sum();
            assert!(held <= READ_BYTES + largest && slow.ready.len() < READ_RECORDS, "{held} bytes are held");
        }
        assert_eq!(taken, 64 * 501);
        node.shutdown().await;
    }
}
