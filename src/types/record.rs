//! Records and their places in the log: what an append returns, and what a read returns.

use bytes::Bytes;

/// A record was appended: it is committed, durable as the ledger's durability setting defines it, and will be read at
/// this index and position on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Number of the record in its ledger; without holes.
    pub index: u64,
    /// Byte offset of the record in the ledger's address space; equal on every replica.
    pub position: u64,
    /// Term of the master that appended it.
    pub term: u64,
}

/// A batch was appended: as [`Ack`], for records that follow each other without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAck {
    /// Index of the first record.
    pub first_index: u64,
    /// Position of the first record. Each later one lies [`RECORD_OVERHEAD`] bytes plus the length of the record
    /// before it further on.
    pub first_position: u64,
    /// Term of the master that appended them.
    pub term: u64,
    /// How many records.
    pub count: u32,
}

/// Bytes between the end of a record and the beginning of the next one's: the distance of two positions in a batch is
/// the length of the first record plus this.
pub const RECORD_OVERHEAD: u64 = 4;

/// A committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of the record in its ledger.
    pub index: u64,
    /// Byte offset of the record in the ledger's address space.
    pub position: u64,
    /// Term of the master that appended it.
    pub term: u64,
    /// When it was appended, by that master's clock, milliseconds since 1970. Never goes back from one record to the
    /// next.
    pub timestamp: u64,
    /// The bytes, a slice of the segment: no copy. As long as it is held, the segment stays mapped.
    pub body: Bytes,
}

/// How much one read may return. At least one record is returned where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most records.
    pub records: usize,
    /// Most bytes of record bodies. The record that exceeds them is still returned, as the last.
    pub bytes: usize,
}

impl ReadLimit {
    /// At most this number of records, and 1 MiB.
    pub fn records(records: usize) -> Self {
        Self { records, ..Self::default() }
    }

    /// About this number of bytes.
    pub fn bytes(bytes: usize) -> Self {
        Self { records: usize::MAX, bytes }
    }
}

impl Default for ReadLimit {
    /// 1 MiB, any number of records.
    fn default() -> Self {
        Self::bytes(1 << 20)
    }
}
