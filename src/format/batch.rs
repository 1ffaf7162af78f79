//! The body of a batch: 1..n records, any of them found in O(1).
//!
//! ```text
//!   table   n × u32: where each record ends, counted from the end of the table
//!   data    n × ( u32 length, bytes )
//! ```
//!
//! The position of a record is the position of its length field, so it is unique even for an empty record, and the
//! record can be read from its position alone.

use std::ops::Range;

use super::fields::u32_at;

/// Bytes in front of every record.
pub(crate) const RECORD_HEADER: usize = 4;
/// Bytes of the table for every record.
const TABLE_SLOT: usize = 4;

/// Bytes of the body of a batch of `records` records of `bytes` bytes in all.
pub(crate) const fn body_length(records: usize, bytes: usize) -> usize {
    records * (TABLE_SLOT + RECORD_HEADER) + bytes
}

/// A body is not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch is malformed: {what} of record {record} is {found}, expected {expected}")]
pub(crate) struct BatchError {
    what: &'static str,
    record: usize,
    found: usize,
    expected: usize,
}

/// Writes a batch body into exactly [`body_length`] bytes.
pub(crate) fn encode<R: AsRef<[u8]>>(records: &[R], body: &mut [u8]) {
    let (table, data) = body.split_at_mut(records.len() * TABLE_SLOT);
    let mut end = 0;
    for (slot, record) in table.chunks_exact_mut(TABLE_SLOT).zip(records) {
        let bytes = record.as_ref();
        // Lengths fit: `Config` bounds batches far below u32::MAX / 2 bytes (see `Draft`).
        data[end..end + RECORD_HEADER].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        end += RECORD_HEADER;
        data[end..end + bytes.len()].copy_from_slice(bytes);
        end += bytes.len();
        slot.copy_from_slice(&(end as u32).to_le_bytes());
    }
}

/// A batch body that has been checked, by [`Batch::parse`] or by the checksum of the entry around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    body: &'a [u8],
    records: usize,
}

impl<'a> Batch<'a> {
    /// Checks every record's bounds.
    ///
    /// # Errors
    /// The first that does not fit.
    pub(crate) fn parse(body: &'a [u8], records: usize) -> Result<Self, BatchError> {
        let fail = |what, record, found, expected| Err(BatchError { what, record, found, expected });
        let table = records.saturating_mul(TABLE_SLOT);
        if records == 0 || table > body.len() {
            return fail("table", records, body.len(), table);
        }
        let batch = Self { body, records };
        let data = body.len() - table;
        let mut start = 0;
        for record in 0..records {
            let end = batch.end(record);
            if end > data || end < start + RECORD_HEADER {
                return fail("end", record, end, data);
            }
            let (length, expected) = (u32_at(body, table + start) as usize, end - start - RECORD_HEADER);
            if length != expected {
                return fail("length", record, length, expected);
            }
            start = end;
        }
        if start != data { fail("end", records - 1, start, data) } else { Ok(batch) }
    }

    /// A body whose entry's chain value has been verified: a leader checked it when it was made.
    pub(crate) fn trusted(body: &'a [u8], records: usize) -> Self {
        Self { body, records }
    }

    fn end(&self, record: usize) -> usize {
        u32_at(self.body, record * TABLE_SLOT) as usize
    }

    /// Where record number `record` of the batch lies in the body, length field included; its bytes begin
    /// [`RECORD_HEADER`] further on. `None` past the last record.
    pub(crate) fn locate(&self, record: usize) -> Option<Range<usize>> {
        if record >= self.records {
            return None;
        }
        let table = self.records * TABLE_SLOT;
        let start = if record == 0 { 0 } else { self.end(record - 1) };
        Some(table + start..table + self.end(record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(records: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0; body_length(records.len(), records.iter().map(Vec::len).sum())];
        encode(records, &mut body);
        body
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let body = body(&[b"ab".to_vec(), vec![], b"c".to_vec()]);
        #[rustfmt::skip]
        assert_eq!(body, [
            6, 0, 0, 0,  10, 0, 0, 0,  15, 0, 0, 0, // table
            2, 0, 0, 0, b'a', b'b',                 // record 0
            0, 0, 0, 0,                             // record 1
            1, 0, 0, 0, b'c',                       // record 2
        ]);
    }

    proptest! {
        #[test]
        fn every_record_is_found_where_it_was_put(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..50),
        ) {
            let body = body(&records);
            let batch = Batch::parse(&body, records.len()).unwrap();
            for (i, record) in records.iter().enumerate() {
                let range = batch.locate(i).unwrap();
                prop_assert_eq!(&body[range.start + RECORD_HEADER..range.end], &record[..]);
            }
            prop_assert!(batch.locate(records.len()).is_none());
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), records in 0usize..60) {
            if let Ok(batch) = Batch::parse(&body, records) {
                for i in 0..records {
                    prop_assert!(batch.locate(i).unwrap().end <= body.len());
                }
            }
        }
    }
}
