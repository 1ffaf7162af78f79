//! The header at the start of a segment file, and the blank.
//!
//! ```text
//!       0               4               8 (byte)
//!    0  magic "DLEDGSEG"
//!    8  version         chain
//!   16  segment size
//!   24  position
//!   32  number
//!   40  index
//!   48  term
//!   56  timestamp
//!   64  reserved, zero
//!   76  crc
//! ```
//!
//! Everything after `position` describes the log where the segment begins: number of the first entry, index of its
//! first record, and chain value, term and timestamp of the entry before. `crc` is CRC32C of bytes 0..76. The header
//! is equal on every replica.
//!
//! A blank fills what no entry is in: the end of a segment whose next entry would not fit, or the start of the first
//! segment of a log that begins in the middle of it. Its first 16 bytes are
//!
//! ```text
//!    0  magic "DLB\x01" length
//!    8  chain           crc of bytes 0..12
//! ```
//!
//! and the rest is zeros. `length` counts the whole blank; `chain` is that of the entry before.

use serde::{Deserialize, Serialize};

use super::fields::{put_u32, put_u64, u32_at, u64_at};
use super::hard_state::LogPoint;
use super::{ALIGNMENT, FORMAT_VERSION};

/// Bytes of a segment header; the first entry follows.
pub(crate) const SEGMENT_HEADER: usize = 80;
/// Bytes of a blank's own fields: the shortest blank.
pub(crate) const BLANK_HEADER: usize = 16;

const MAGIC: [u8; 8] = *b"DLEDGSEG";
const BLANK_MAGIC: [u8; 4] = *b"DLB\x01";

mod at {
    pub(super) const VERSION: usize = 8;
    pub(super) const CHAIN: usize = VERSION + 4;
    pub(super) const SIZE: usize = CHAIN + 4;
    pub(super) const POSITION: usize = SIZE + 8;
    pub(super) const NUMBER: usize = POSITION + 8;
    pub(super) const INDEX: usize = NUMBER + 8;
    pub(super) const TERM: usize = INDEX + 8;
    pub(super) const TIMESTAMP: usize = TERM + 8;
    pub(super) const RESERVED: usize = TIMESTAMP + 8;
    pub(super) const CRC: usize = RESERVED + 12;
    pub(super) const END: usize = CRC + 4;

    pub(super) const BLANK_LENGTH: usize = 4;
    pub(super) const BLANK_CHAIN: usize = 8;
    pub(super) const BLANK_CRC: usize = 12;
}

const _: () = assert!(at::END == SEGMENT_HEADER && SEGMENT_HEADER.is_multiple_of(ALIGNMENT));
const _: () = assert!(at::BLANK_CRC + 4 == BLANK_HEADER && BLANK_HEADER.is_multiple_of(ALIGNMENT));

/// Where a log, or one of its segments, begins: what the next entry must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Position of the next entry.
    pub(crate) position: u64,
    /// Number of the next entry.
    pub(crate) number: u64,
    /// Index of the next record.
    pub(crate) index: u64,
    /// Term of the entry before.
    pub(crate) term: u64,
    /// Timestamp of the entry before.
    pub(crate) timestamp: u64,
    /// Chain value of the entry before.
    pub(crate) chain: u32,
}

/// No number, index or position is larger: nothing computed from them overflows.
pub(crate) const MAX_PLACE: u64 = u64::MAX / 2;

impl Cursor {
    /// The same place, without the term and the timestamp, which only the next entry needs.
    pub(crate) fn point(&self) -> LogPoint {
        LogPoint { number: self.number, index: self.index, position: self.position, chain: self.chain }
    }

    /// Whether a log with segments of `size` bytes can have its next entry here. A cursor from the network or from a
    /// disk may name a place where that cannot be.
    pub(crate) fn can_begin(&self, size: u64) -> bool {
        let offset = self.position % size;
        let gap = offset.wrapping_sub(SEGMENT_HEADER as u64);
        self.position.is_multiple_of(ALIGNMENT as u64)
            && self.number.max(self.index).max(self.position) <= MAX_PLACE
            && (gap == 0 || (gap < size && gap >= BLANK_HEADER as u64))
            && offset + BLANK_HEADER as u64 <= size
    }
}

/// A decoded segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Size of the file, and of every other segment of the ledger.
    pub(crate) size: u64,
    /// Where the segment begins; `start.position` is the file's first byte, this header, not its first entry.
    pub(crate) start: Cursor,
}

/// Bytes are not a segment header, or not a blank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("nothing written yet: zeros")]
    Absent,
    #[error("cut short: {found} bytes of {expected}")]
    Short { found: usize, expected: usize },
    #[error("mark {found:02x?}, expected {expected:02x?}")]
    Magic { found: Vec<u8>, expected: Vec<u8> },
    #[error("format version {found}, this program reads {FORMAT_VERSION}")]
    Version { found: u32 },
    #[error("checksum {found:#010x}, computed {computed:#010x}")]
    Crc { found: u32, computed: u32 },
    #[error("field {field} is {found}, expected {expected}")]
    Field { field: &'static str, found: u64, expected: u64 },
}

impl SegmentHeader {
    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        put_u32(&mut bytes, at::VERSION, FORMAT_VERSION);
        put_u32(&mut bytes, at::CHAIN, self.start.chain);
        put_u64(&mut bytes, at::SIZE, self.size);
        put_u64(&mut bytes, at::POSITION, self.start.position);
        put_u64(&mut bytes, at::NUMBER, self.start.number);
        put_u64(&mut bytes, at::INDEX, self.start.index);
        put_u64(&mut bytes, at::TERM, self.start.term);
        put_u64(&mut bytes, at::TIMESTAMP, self.start.timestamp);
        let crc = crc32c::crc32c(&bytes[..at::CRC]);
        put_u32(&mut bytes, at::CRC, crc);
        bytes
    }

    /// Decodes and checks a header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER) else {
            return Err(SegmentError::Short { found: bytes.len(), expected: SEGMENT_HEADER });
        };
        if bytes.iter().all(|b| *b == 0) {
            return Err(SegmentError::Absent);
        }
        if bytes[..8] != MAGIC {
            return Err(SegmentError::Magic { found: bytes[..8].to_vec(), expected: MAGIC.to_vec() });
        }
        let (found, computed) = (u32_at(bytes, at::CRC), crc32c::crc32c(&bytes[..at::CRC]));
        if found != computed {
            return Err(SegmentError::Crc { found, computed });
        }
        let version = u32_at(bytes, at::VERSION);
        if version != FORMAT_VERSION {
            return Err(SegmentError::Version { found: version });
        }
        let start = Cursor {
            position: u64_at(bytes, at::POSITION),
            number: u64_at(bytes, at::NUMBER),
            index: u64_at(bytes, at::INDEX),
            term: u64_at(bytes, at::TERM),
            timestamp: u64_at(bytes, at::TIMESTAMP),
            chain: u32_at(bytes, at::CHAIN),
        };
        let largest = start.position.max(start.number).max(start.index);
        if largest > MAX_PLACE {
            return Err(SegmentError::Field { field: "place", found: largest, expected: MAX_PLACE });
        }
        Ok(Self { size: u64_at(bytes, at::SIZE), start })
    }
}

/// The first bytes of a blank of `length` bytes behind an entry with chain value `chain`.
pub(crate) fn encode_blank(length: u32, chain: u32) -> [u8; BLANK_HEADER] {
    let mut bytes = [0; BLANK_HEADER];
    bytes[..4].copy_from_slice(&BLANK_MAGIC);
    put_u32(&mut bytes, at::BLANK_LENGTH, length);
    put_u32(&mut bytes, at::BLANK_CHAIN, chain);
    let crc = crc32c::crc32c(&bytes[..at::BLANK_CRC]);
    put_u32(&mut bytes, at::BLANK_CRC, crc);
    bytes
}

/// Whether `bytes` begin with the mark of a blank.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.starts_with(&BLANK_MAGIC)
}

/// Decodes a blank's first bytes: its length, and the chain value before it.
pub(crate) fn decode_blank(bytes: &[u8]) -> Result<(u32, u32), SegmentError> {
    let Some(bytes) = bytes.get(..BLANK_HEADER) else {
        return Err(SegmentError::Short { found: bytes.len(), expected: BLANK_HEADER });
    };
    if !is_blank(bytes) {
        return Err(SegmentError::Magic { found: bytes[..4].to_vec(), expected: BLANK_MAGIC.to_vec() });
    }
    let (found, computed) = (u32_at(bytes, at::BLANK_CRC), crc32c::crc32c(&bytes[..at::BLANK_CRC]));
    if found != computed {
        return Err(SegmentError::Crc { found, computed });
    }
    let length = u32_at(bytes, at::BLANK_LENGTH);
    if (length as usize) < BLANK_HEADER || !(length as usize).is_multiple_of(ALIGNMENT) {
        let expected = BLANK_HEADER as u64;
        return Err(SegmentError::Field { field: "blank length", found: length.into(), expected });
    }
    Ok((length, u32_at(bytes, at::BLANK_CHAIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let start = Cursor { position: 1 << 20, number: 9, index: 8, term: 2, timestamp: 5, chain: 0xabcd };
        SegmentHeader { size: 1 << 20, start }
    }

    #[test]
    fn a_header_survives_its_bytes_and_every_flipped_bit_is_detected() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit} went unnoticed");
        }
    }

    /// The documented layout, byte by byte. The checksums were computed by another program.
    #[test]
    fn the_layout_is_the_documented_one() {
        let start =
            Cursor { position: 3 << 20, number: 9, index: 8, term: 2, timestamp: 1_700_000_000_000, chain: 0xabcd };
        #[rustfmt::skip]
        assert_eq!(SegmentHeader { size: 1 << 20, start }.encode(), [
            b'D', b'L', b'E', b'D', b'G', b'S', b'E', b'G',  // magic
            1, 0, 0, 0, 0xcd, 0xab, 0, 0,                    // version, chain
            0, 0, 0x10, 0, 0, 0, 0, 0,                       // segment size
            0, 0, 0x30, 0, 0, 0, 0, 0,                       // position
            9, 0, 0, 0, 0, 0, 0, 0,                          // number
            8, 0, 0, 0, 0, 0, 0, 0,                          // index
            2, 0, 0, 0, 0, 0, 0, 0,                          // term
            0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0,        // timestamp
            0, 0, 0, 0, 0, 0, 0, 0,                          // reserved
            0, 0, 0, 0, 0xfb, 0x76, 0x45, 0x67,              // reserved, CRC of bytes 0..76
        ]);
        #[rustfmt::skip]
        assert_eq!(encode_blank(64, 0x1234), [
            b'D', b'L', b'B', 1, 64, 0, 0, 0,                // magic, length
            0x34, 0x12, 0, 0, 0x3f, 0xc3, 0x50, 0x39,        // chain, CRC of bytes 0..12
        ]);
    }

    #[test]
    fn the_next_version_is_refused_by_name() {
        let mut bytes = header().encode();
        put_u32(&mut bytes, at::VERSION, FORMAT_VERSION + 1);
        let crc = crc32c::crc32c(&bytes[..at::CRC]);
        put_u32(&mut bytes, at::CRC, crc);
        assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentError::Version { found: 2 }));
    }

    #[test]
    fn a_blank_survives_its_bytes_and_every_flipped_bit_is_detected() {
        let bytes = encode_blank(64, 0x1234);
        assert_eq!(decode_blank(&bytes), Ok((64, 0x1234)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_blank(&bad).is_err(), "bit {bit} went unnoticed");
        }
    }
}
