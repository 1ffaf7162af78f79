//! The index file beside a sealed segment: where its entries are.
//!
//! A cache: it is rebuilt from the segment whenever it is missing or does not fit, and nothing trusts it further than
//! its checksum and the header of the last entry it names.
//!
//! ```text
//!    0  magic "DLEDGIDX"
//!    8  version         crc of everything else
//!   16  position of the segment
//!   24  entries         chain value of the last entry
//!   32  entries × ( u32 offset in the file | 1 for a membership, u32 index less the segment's first )
//! ```

use super::FORMAT_VERSION;
use super::fields::{put_u32, put_u64, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"DLEDGIDX";
const HEADER: usize = 32;
const UNIT: usize = 8;

/// Where one entry of a segment is. Eight bytes per entry, in memory as on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    place: u32,
    /// Index of the entry's first record, less the segment's first index.
    pub(crate) index: u32,
}

impl Unit {
    /// Entries lie at multiples of eight, so the lowest bit is free to mark memberships.
    pub(crate) fn new(offset: u32, index: u32, membership: bool) -> Self {
        debug_assert_eq!(offset % 8, 0);
        Self { place: offset | u32::from(membership), index }
    }

    /// Offset of the entry in the file.
    pub(crate) fn offset(&self) -> usize {
        (self.place & !7) as usize
    }

    /// Whether the entry is a membership.
    pub(crate) fn is_membership(&self) -> bool {
        self.place & 1 == 1
    }
}

/// The index file of the segment at `position`, whose last entry has the chain value `chain`.
pub(crate) fn encode(position: u64, chain: u32, units: &[Unit]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER + units.len() * UNIT];
    bytes[..8].copy_from_slice(&MAGIC);
    put_u32(&mut bytes, 8, FORMAT_VERSION);
    put_u64(&mut bytes, 16, position);
    // A segment holds fewer than 2^31 / 80 entries.
    put_u32(&mut bytes, 24, units.len() as u32);
    put_u32(&mut bytes, 28, chain);
    for (slot, unit) in bytes[HEADER..].chunks_exact_mut(UNIT).zip(units) {
        put_u32(slot, 0, unit.place);
        put_u32(slot, 4, unit.index);
    }
    let crc = checksum(&bytes);
    put_u32(&mut bytes, 12, crc);
    bytes
}

/// The chain value and the units of the segment at `position`; `None` if the file cannot be used.
pub(crate) fn decode(bytes: &[u8], position: u64) -> Option<(u32, Vec<Unit>)> {
    let usable = bytes.len() >= HEADER
        && bytes[..8] == MAGIC
        && u32_at(bytes, 8) == FORMAT_VERSION
        && u32_at(bytes, 12) == checksum(bytes)
        && u64_at(bytes, 16) == position
        && bytes.len() == HEADER + u32_at(bytes, 24) as usize * UNIT;
    let unit = |slot: &[u8]| Unit { place: u32_at(slot, 0), index: u32_at(slot, 4) };
    usable.then(|| (u32_at(bytes, 28), bytes[HEADER..].chunks_exact(UNIT).map(unit).collect()))
}

/// The version of an index that is whole but not of this program's version.
pub(crate) fn other_version(bytes: &[u8]) -> Option<u32> {
    let whole = bytes.len() >= HEADER && bytes[..8] == MAGIC && u32_at(bytes, 12) == checksum(bytes);
    (whole && u32_at(bytes, 8) != FORMAT_VERSION).then(|| u32_at(bytes, 8))
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented layout, byte by byte. The checksum was computed by another program.
    #[test]
    fn the_layout_is_the_documented_one() {
        let units = [Unit::new(80, 0, false), Unit::new(160, 1, true), Unit::new(240, 1, false)];
        #[rustfmt::skip]
        assert_eq!(encode(4096, 77, &units), [
            b'D', b'L', b'E', b'D', b'G', b'I', b'D', b'X',  // magic
            1, 0, 0, 0, 0xfe, 0x1f, 0x78, 0xa8,              // version, CRC of all but these 4 bytes
            0, 0x10, 0, 0, 0, 0, 0, 0,                       // position of the segment
            3, 0, 0, 0, 77, 0, 0, 0,                         // entries, chain of the last
            80, 0, 0, 0, 0, 0, 0, 0,                         // offset, index less the segment's first
            161, 0, 0, 0, 1, 0, 0, 0,                        // offset and the mark of a membership, index
            240, 0, 0, 0, 1, 0, 0, 0,                        // offset, index
        ]);
    }

    #[test]
    fn an_index_survives_its_bytes_and_any_damage_makes_it_unusable() {
        let units = vec![Unit::new(80, 0, false), Unit::new(160, 1, true), Unit::new(240, 1, false)];
        let bytes = encode(4096, 77, &units);
        assert_eq!(decode(&bytes, 4096), Some((77, units.clone())));
        assert!(units[1].is_membership() && units[1].offset() == 160);
        assert_eq!(decode(&bytes, 8192), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, 4096), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes[..bytes.len() - 1], 4096), None);
    }
}
