//! The header in front of every entry.
//!
//! ```text
//!       0               4               8 (byte)
//!    0  magic "DLE\x01" length
//!    8  position
//!   16  number
//!   24  term
//!   32  index
//!   40  committed
//!   48  timestamp
//!   56  records         kind flags reserved
//!   64  body length     previous
//!   72  header crc      chain
//!   80  body, padded with zeros to a multiple of 8
//! ```
//!
//! `header crc` is CRC32C of bytes 0..72. `chain` is CRC32C of bytes 0..72, the body and the padding, seeded with
//! `previous`, which is the chain value of the entry before. So one entry can be checked alone, and (index, chain)
//! names a whole prefix. `header crc` is no part of the chain: the CRC of bytes followed by their own CRC is the same
//! for all bytes, so the fields before it would not count.

use crate::error::Mismatch;

use super::fields::{put_u32, put_u64, u32_at, u64_at};
use super::segment::MAX_PLACE;
use super::{ALIGNMENT, aligned, batch};

/// Bytes of an entry header.
pub(crate) const ENTRY_HEADER: usize = 80;
const MAGIC: [u8; 4] = *b"DLE\x01";

mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const LENGTH: usize = MAGIC + 4;
    pub(super) const POSITION: usize = LENGTH + 4;
    pub(super) const NUMBER: usize = POSITION + 8;
    pub(super) const TERM: usize = NUMBER + 8;
    pub(super) const INDEX: usize = TERM + 8;
    pub(super) const COMMITTED: usize = INDEX + 8;
    pub(super) const TIMESTAMP: usize = COMMITTED + 8;
    pub(super) const RECORDS: usize = TIMESTAMP + 8;
    pub(super) const KIND: usize = RECORDS + 4;
    pub(super) const FLAGS: usize = KIND + 1;
    pub(super) const RESERVED: usize = FLAGS + 1;
    pub(super) const BODY: usize = RESERVED + 2;
    pub(super) const PREVIOUS: usize = BODY + 4;
    pub(super) const HEADER_CRC: usize = PREVIOUS + 4;
    pub(super) const CHAIN: usize = HEADER_CRC + 4;
    pub(super) const END: usize = CHAIN + 4;
}

const _: () = assert!(at::END == ENTRY_HEADER);
const _: () = assert!(ENTRY_HEADER.is_multiple_of(ALIGNMENT));
const _: () = assert!(at::POSITION.is_multiple_of(8) && at::TIMESTAMP.is_multiple_of(8) && at::CHAIN == 76);

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum EntryKind {
    /// Nothing: a leader's first entry.
    Blank = 1,
    /// A Raft membership.
    Membership = 2,
    /// One or more records.
    Batch = 3,
    /// Nothing: it begins a segment, wherever the entry before it ends.
    Roll = 4,
}

impl EntryKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Blank, Self::Membership, Self::Batch, Self::Roll].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A decoded entry header. All of it was decided by the leader and is equal on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    /// Where the entry begins in the ledger's address space.
    pub(crate) position: u64,
    /// Its Raft log number.
    pub(crate) number: u64,
    /// Term of the leader that proposed it.
    pub(crate) term: u64,
    /// Index of its first record; without records, of the next one.
    pub(crate) index: u64,
    /// The leader's committed index when it wrote the entry: everything below is known to be committed.
    pub(crate) committed: u64,
    /// The leader's clock, milliseconds since 1970; never less than that of the entry before.
    pub(crate) timestamp: u64,
    /// How many records.
    pub(crate) records: u32,
    /// What it holds.
    pub(crate) kind: EntryKind,
    /// Bytes of the body, without padding.
    pub(crate) body: u32,
    /// Chain value of the entry before.
    pub(crate) previous: u32,
    /// Chain value of this entry.
    pub(crate) chain: u32,
}

/// Bytes are not the entry they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// Nothing was ever written here.
    #[error("no entry: zeros")]
    Absent,
    /// Fewer bytes than the entry needs.
    #[error("entry cut short: {found} bytes of {expected}")]
    Short { found: usize, expected: usize },
    /// Not the mark of an entry of a known version.
    #[error("entry mark {found:02x?}, expected {MAGIC:02x?}")]
    Magic { found: [u8; 4] },
    /// The header's own checksum does not fit.
    #[error("header checksum {found:#010x}, computed {computed:#010x}")]
    HeaderCrc { found: u32, computed: u32 },
    /// A field of a well checksummed header makes no sense.
    #[error("entry field {field} is {found}")]
    Field { field: &'static str, found: u64 },
    /// The chain value does not fit the bytes.
    #[error("chain value {found:#010x}, computed {computed:#010x}")]
    Chain { found: u32, computed: u32 },
}

impl EntryError {
    /// What is there, and what should be.
    pub(crate) fn mismatch(&self, what: &'static str) -> Mismatch {
        match self {
            Self::HeaderCrc { found, computed } | Self::Chain { found, computed } => {
                let expected = format!("{computed:#010x}, computed from the bytes");
                Mismatch::new(what, format!("{found:#010x}"), expected)
            }
            Self::Magic { found } => Mismatch::new(what, format!("{found:02x?}"), format!("{MAGIC:02x?}")),
            other => Mismatch::new(what, other, "an entry"),
        }
    }
}

impl EntryHeader {
    /// Bytes of the whole entry: header, body, padding.
    pub(crate) fn length(&self) -> usize {
        entry_length(self.body as usize)
    }

    /// Position after the entry.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.length() as u64
    }

    /// Whether `bytes` begin with the mark of an entry.
    pub(crate) fn is_marked(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Decodes and checks a header; the body is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let Some(bytes) = bytes.get(..ENTRY_HEADER) else {
            return Err(EntryError::Short { found: bytes.len(), expected: ENTRY_HEADER });
        };
        if bytes.iter().all(|b| *b == 0) {
            return Err(EntryError::Absent);
        }
        if bytes[at::MAGIC..at::LENGTH] != MAGIC {
            return Err(EntryError::Magic { found: [bytes[0], bytes[1], bytes[2], bytes[3]] });
        }
        let (found, computed) = (u32_at(bytes, at::HEADER_CRC), crc32c::crc32c(&bytes[..at::HEADER_CRC]));
        if found != computed {
            return Err(EntryError::HeaderCrc { found, computed });
        }
        let Some(kind) = EntryKind::from_byte(bytes[at::KIND]) else {
            return Err(EntryError::Field { field: "kind", found: bytes[at::KIND].into() });
        };
        let rest = u64::from(bytes[at::FLAGS]) | u64::from(bytes[at::RESERVED]) | u64::from(bytes[at::RESERVED + 1]);
        if rest != 0 {
            return Err(EntryError::Field { field: "flags", found: rest });
        }
        let header = Self {
            position: u64_at(bytes, at::POSITION),
            number: u64_at(bytes, at::NUMBER),
            term: u64_at(bytes, at::TERM),
            index: u64_at(bytes, at::INDEX),
            committed: u64_at(bytes, at::COMMITTED),
            timestamp: u64_at(bytes, at::TIMESTAMP),
            records: u32_at(bytes, at::RECORDS),
            kind,
            body: u32_at(bytes, at::BODY),
            previous: u32_at(bytes, at::PREVIOUS),
            chain: u32_at(bytes, at::CHAIN),
        };
        header.check(u32_at(bytes, at::LENGTH))?;
        Ok(header)
    }

    /// Checks that the fields fit each other, so that nothing computed from them can overflow.
    fn check(&self, length: u32) -> Result<(), EntryError> {
        let fail = |field, found| Err(EntryError::Field { field, found });
        if self.body > u32::MAX / 2 {
            return fail("body length", self.body.into());
        }
        if length as usize != self.length() {
            return fail("length", length.into());
        }
        if self.position > MAX_PLACE || !self.position.is_multiple_of(ALIGNMENT as u64) {
            return fail("position", self.position);
        }
        if self.number > MAX_PLACE || self.index > MAX_PLACE {
            return fail("number or index", self.number.max(self.index));
        }
        // A leader cannot know more records to be committed than its log has.
        if self.committed > self.index {
            return fail("committed", self.committed);
        }
        if (self.kind == EntryKind::Batch) != (self.records > 0) {
            return fail("records", self.records.into());
        }
        if self.kind == EntryKind::Roll && self.body > 0 {
            return fail("body length", self.body.into());
        }
        // So the indexes of a segment's entries lie within 32 bits, as its index file stores them.
        if batch::body_length(self.records as usize, 0) > self.body as usize {
            return fail("records", self.records.into());
        }
        Ok(())
    }

    /// Writes the header into the first [`ENTRY_HEADER`] bytes of `entry`, which already holds body and padding, and
    /// computes both checksums. Returns the chain value.
    pub(crate) fn seal(&self, entry: &mut [u8]) -> u32 {
        let length = self.length();
        debug_assert_eq!(entry.len(), length);
        entry[..ENTRY_HEADER].fill(0);
        entry[at::MAGIC..at::LENGTH].copy_from_slice(&MAGIC);
        // The length fits: `Config` bounds bodies far below u32::MAX / 2 (see `Draft`).
        put_u32(entry, at::LENGTH, length as u32);
        put_u64(entry, at::POSITION, self.position);
        put_u64(entry, at::NUMBER, self.number);
        put_u64(entry, at::TERM, self.term);
        put_u64(entry, at::INDEX, self.index);
        put_u64(entry, at::COMMITTED, self.committed);
        put_u64(entry, at::TIMESTAMP, self.timestamp);
        put_u32(entry, at::RECORDS, self.records);
        entry[at::KIND] = self.kind as u8;
        put_u32(entry, at::BODY, self.body);
        put_u32(entry, at::PREVIOUS, self.previous);
        let header_crc = crc32c::crc32c(&entry[..at::HEADER_CRC]);
        put_u32(entry, at::HEADER_CRC, header_crc);
        let chain = chain_value(self.previous, entry);
        put_u32(entry, at::CHAIN, chain);
        chain
    }

    /// Checks a whole entry against its chain value.
    pub(crate) fn verify(&self, entry: &[u8]) -> Result<(), EntryError> {
        let Some(entry) = entry.get(..self.length()) else {
            return Err(EntryError::Short { found: entry.len(), expected: self.length() });
        };
        let (found, computed) = (u32_at(entry, at::CHAIN), chain_value(self.previous, entry));
        if found == computed { Ok(()) } else { Err(EntryError::Chain { found, computed }) }
    }
}

/// Bytes of an entry with a body of `body` bytes.
pub(crate) const fn entry_length(body: usize) -> usize {
    aligned(ENTRY_HEADER + body)
}

/// CRC32C over everything but the two checksums, seeded with the chain value before.
fn chain_value(previous: u32, entry: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(previous, &entry[..at::HEADER_CRC]);
    crc32c::crc32c_append(head, &entry[ENTRY_HEADER..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (EntryHeader, Vec<u8>) {
        let mut header = EntryHeader {
            position: 0x50,
            number: 7,
            term: 3,
            index: 40,
            committed: 39,
            timestamp: 1_700_000_000_000,
            records: 1,
            kind: EntryKind::Batch,
            body: 13,
            previous: 0xdead_beef,
            chain: 0,
        };
        let mut entry = vec![0; header.length()];
        entry[ENTRY_HEADER..ENTRY_HEADER + 13].copy_from_slice(b"thirteen byte");
        header.chain = header.seal(&mut entry);
        (header, entry)
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let (header, entry) = sample();
        assert_eq!(EntryHeader::decode(&entry), Ok(header));
        assert_eq!(header.verify(&entry), Ok(()));
    }

    /// The documented layout, byte by byte.
    #[test]
    fn the_layout_is_the_documented_one() {
        let (_, entry) = sample();
        #[rustfmt::skip]
        let expected: [u8; 72] = [
            b'D', b'L', b'E', 1, 96, 0, 0, 0,                // magic, length
            0x50, 0, 0, 0, 0, 0, 0, 0,                       // position
            7, 0, 0, 0, 0, 0, 0, 0,                          // number
            3, 0, 0, 0, 0, 0, 0, 0,                          // term
            40, 0, 0, 0, 0, 0, 0, 0,                         // index
            39, 0, 0, 0, 0, 0, 0, 0,                         // committed
            0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0,        // timestamp
            1, 0, 0, 0, 3, 0, 0, 0,                          // records, kind, flags, reserved
            13, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde,             // body length, previous
        ];
        assert_eq!(entry[..72], expected);
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let (_, entry) = sample();
        for bit in 0..entry.len() * 8 {
            let mut bad = entry.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let verdict = EntryHeader::decode(&bad).and_then(|header| header.verify(&bad));
            assert!(verdict.is_err(), "bit {bit} went unnoticed");
        }
    }

    /// The CRC of bytes followed by that CRC is the same for all bytes: the header's own must not be in the chain.
    #[test]
    fn every_field_of_a_header_moves_the_chain_value() {
        let (header, entry) = sample();
        let others = [
            EntryHeader { position: 0x58, ..header },
            EntryHeader { number: 8, ..header },
            EntryHeader { term: 4, ..header },
            EntryHeader { index: 41, ..header },
            EntryHeader { committed: 38, ..header },
            EntryHeader { timestamp: 1, ..header },
            EntryHeader { previous: 1, ..header },
            EntryHeader { records: 0, kind: EntryKind::Membership, ..header },
        ];
        for other in others {
            assert_ne!(other.seal(&mut entry.clone()), header.chain, "{other:?}");
        }
    }

    #[test]
    fn more_records_than_the_body_has_room_for_are_refused() {
        let (header, mut entry) = sample();
        EntryHeader { records: 2, ..header }.seal(&mut entry);
        assert_eq!(EntryHeader::decode(&entry), Err(EntryError::Field { field: "records", found: 2 }));
    }

    #[test]
    fn zeros_are_no_entry_and_short_input_is_short() {
        assert_eq!(EntryHeader::decode(&[0; 200]), Err(EntryError::Absent));
        assert_eq!(EntryHeader::decode(&[0; 79]), Err(EntryError::Short { found: 79, expected: 80 }));
        let (header, entry) = sample();
        assert!(matches!(header.verify(&entry[..90]), Err(EntryError::Short { found: 90, .. })));
    }
}
