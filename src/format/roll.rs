//! Where an entry has its place: the rule of the roll.
//!
//! The rule depends on the end of the entry before and on the entry's length and kind, and on nothing else, so that
//! every replica rolls at the same place. No other file repeats the rule.

use super::entry::EntryKind;
use super::segment::{BLANK_HEADER, SEGMENT_HEADER};

/// Whether an entry of `length` bytes has its place at `position`, right behind the one before it or where its
/// segment's entries begin. If not, it is the first of the next segment. `size`: that of the segments.
///
/// Behind every entry there is room for a blank, so every segment but the last ends with one and a reader always knows
/// that it is complete.
pub(crate) fn stays(position: u64, length: usize, kind: EntryKind, size: u64) -> bool {
    let offset = position % size;
    match kind {
        EntryKind::Roll => offset == SEGMENT_HEADER as u64,
        EntryKind::Blank | EntryKind::Membership | EntryKind::Batch => {
            offset + length as u64 + BLANK_HEADER as u64 <= size
        }
    }
}

/// The place of an entry of `length` bytes, if the one before it ends at `position`.
pub(crate) fn place(position: u64, length: usize, kind: EntryKind, size: u64) -> u64 {
    let next = || (position / size + 1) * size + SEGMENT_HEADER as u64;
    if stays(position, length, kind, size) { position } else { next() }
}

/// Bytes of the largest entry that segments of `size` bytes take.
pub(crate) const fn largest(size: u64) -> u64 {
    size - (SEGMENT_HEADER + BLANK_HEADER) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::entry_length;

    const SIZE: u64 = 8192;

    #[test]
    fn an_entry_rolls_when_it_does_not_fit_and_a_roll_wherever_it_is_not_first() {
        let first = 3 * SIZE + SEGMENT_HEADER as u64;
        for kind in [EntryKind::Blank, EntryKind::Membership, EntryKind::Batch] {
            for (room, rolls) in [(96, false), (88, true), (16, true), (200, false)] {
                let end = 4 * SIZE - room;
                assert_eq!(place(end, 80, kind, SIZE), if rolls { first + SIZE } else { end }, "{room} bytes left");
            }
            assert_eq!(place(first, largest(SIZE) as usize, kind, SIZE), first);
        }
        let roll = |end| place(end, entry_length(0), EntryKind::Roll, SIZE);
        assert_eq!(roll(first), first);
        for end in [first + 80, first + 16, 4 * SIZE - 96, 4 * SIZE - 16] {
            assert_eq!(roll(end), first + SIZE);
        }
        assert_eq!(roll(SEGMENT_HEADER as u64), SEGMENT_HEADER as u64);
    }
}
