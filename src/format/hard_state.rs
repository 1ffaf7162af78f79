//! The hard-state file: the vote, which must never be lost, and the progress, which saves work at a start.
//!
//! Four slots of 256 bytes, 4096 bytes apart, so that no two share a disk block: two for the vote, two for how far the
//! node's own log was known to be committed and to be durable. Of each pair the valid slot with the higher sequence
//! counts; a write goes to the other one. The vote is synced before it counts. The progress is written without a sync:
//! it may only lag.
//!
//! ```text
//!    0  magic "DLEDGVOT" or "DLEDGCMT"
//!    8  version         crc of everything else in the slot
//!   16  sequence
//!        vote                              progress: committed, durable
//!   24  term                               number of the entry after
//!   32  flags: 1 granted by a quorum       index
//!   40  length of the id, id               position
//!   48  …                                  chain           1 while what is behind is being cleared
//!   56                                     the same of what is durable
//! ```

use super::FORMAT_VERSION;
use super::fields::{put_u32, put_u64, u32_at, u64_at};
use crate::types::NodeId;

/// Bytes of a slot.
pub(crate) const SLOT: usize = 256;
/// Bytes from one slot to the next.
pub(crate) const SLOT_DISTANCE: u64 = 4096;
/// Bytes of the file.
pub(crate) const HARD_STATE_SIZE: u64 = 4 * SLOT_DISTANCE;

const VOTE: [u8; 8] = *b"DLEDGVOT";
const COMMIT: [u8; 8] = *b"DLEDGCMT";

/// A vote as Raft means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HardVote {
    /// The term.
    pub(crate) term: u64,
    /// The candidate; `None` if this node voted for nobody in the term.
    pub(crate) node: Option<NodeId>,
    /// Whether a quorum granted it.
    pub(crate) granted: bool,
}

/// A place in the log, named by what is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogPoint {
    /// Number of the entry after.
    pub(crate) number: u64,
    /// Index of the record after.
    pub(crate) index: u64,
    /// Position after the last entry before.
    pub(crate) position: u64,
    /// Chain value of the last entry before.
    pub(crate) chain: u32,
}

impl LogPoint {
    /// The point, or `cut` if that is before it. A roll lies between two places for the same entry: the later one would
    /// still count what comes in the place of the roll.
    pub(crate) fn at_most(self, cut: Self) -> Self {
        if self.number > cut.number || self.position > cut.position { cut } else { self }
    }
}

/// How far the node knew its log to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Noted {
    /// What is before it is committed.
    pub(crate) committed: LogPoint,
    /// What is before it was synced on this disk, and may have been acknowledged on the strength of it.
    pub(crate) durable: LogPoint,
    /// Zeros are being written over what is behind the end of the log. If a start finds this, the zeros that it reads
    /// there may be in the page cache only.
    pub(crate) clearing: bool,
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot<T> {
    /// Never written.
    Empty,
    /// A value and its sequence.
    Valid(u64, T),
    /// Of another format version, its checksum right.
    Version { found: u32 },
    /// Something else.
    Damaged { found: u32, computed: u32 },
    /// The disk cannot read it.
    Unreadable,
}

/// The slots of a file: two votes and two notes.
pub(crate) type Slots = ([Slot<HardVote>; 2], [Slot<Noted>; 2]);

/// A vote slot.
pub(crate) fn encode_vote(sequence: u64, vote: &HardVote) -> [u8; SLOT] {
    let mut bytes = begin(&VOTE, sequence);
    put_u64(&mut bytes, 24, vote.term);
    put_u64(&mut bytes, 32, u64::from(vote.granted));
    // An id is 1 to 63 bytes, so a length of 0 means nobody.
    let id = vote.node.as_ref().map_or("", NodeId::as_str);
    bytes[40] = id.len() as u8;
    bytes[41..41 + id.len()].copy_from_slice(id.as_bytes());
    finish(bytes)
}

/// The reverse of [`encode_vote`].
pub(crate) fn decode_vote(bytes: &[u8]) -> Slot<HardVote> {
    open(bytes, &VOTE, |bytes| {
        let id = bytes.get(41..41 + bytes[40] as usize)?;
        let node = match std::str::from_utf8(id).ok()? {
            "" => None,
            id => Some(id.parse().ok()?),
        };
        let granted = match u64_at(bytes, 32) {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(HardVote { term: u64_at(bytes, 24), node, granted })
    })
}

/// A progress slot.
pub(crate) fn encode_noted(sequence: u64, noted: &Noted) -> [u8; SLOT] {
    let mut bytes = begin(&COMMIT, sequence);
    put_point(&mut bytes, 24, &noted.committed);
    put_u32(&mut bytes, 52, noted.clearing.into());
    put_point(&mut bytes, 56, &noted.durable);
    finish(bytes)
}

/// The reverse of [`encode_noted`].
pub(crate) fn decode_noted(bytes: &[u8]) -> Slot<Noted> {
    open(bytes, &COMMIT, |bytes| {
        let clearing = match u32_at(bytes, 52) {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Noted { committed: point_at(bytes, 24), durable: point_at(bytes, 56), clearing })
    })
}

fn put_point(bytes: &mut [u8], at: usize, point: &LogPoint) {
    put_u64(bytes, at, point.number);
    put_u64(bytes, at + 8, point.index);
    put_u64(bytes, at + 16, point.position);
    put_u32(bytes, at + 24, point.chain);
}

fn point_at(bytes: &[u8], at: usize) -> LogPoint {
    LogPoint {
        number: u64_at(bytes, at),
        index: u64_at(bytes, at + 8),
        position: u64_at(bytes, at + 16),
        chain: u32_at(bytes, at + 24),
    }
}

fn begin(magic: &[u8; 8], sequence: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(magic);
    put_u32(&mut bytes, 8, FORMAT_VERSION);
    put_u64(&mut bytes, 16, sequence);
    bytes
}

fn finish(mut bytes: [u8; SLOT]) -> [u8; SLOT] {
    let crc = checksum(&bytes);
    put_u32(&mut bytes, 12, crc);
    bytes
}

fn open<T>(bytes: &[u8], magic: &[u8; 8], value: impl FnOnce(&[u8]) -> Option<T>) -> Slot<T> {
    if bytes.iter().all(|b| *b == 0) {
        return Slot::Empty;
    }
    let (Some(bytes), true) = (bytes.get(..SLOT), bytes.starts_with(magic)) else {
        return Slot::Damaged { found: 0, computed: 0 };
    };
    let (found, computed) = (u32_at(bytes, 12), checksum(bytes));
    match u32_at(bytes, 8) {
        _ if found != computed => Slot::Damaged { found, computed },
        FORMAT_VERSION => {
            value(bytes).map_or(Slot::Damaged { found, computed }, |value| Slot::Valid(u64_at(bytes, 16), value))
        }
        found => Slot::Version { found },
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_survive_their_bytes_and_every_flipped_bit_is_detected() {
        let vote = HardVote { term: 9, node: Some("broker-2".parse().unwrap()), granted: true };
        let committed = LogPoint { number: 5, index: 4, position: 1000, chain: 3 };
        let durable = LogPoint { number: 6, index: 5, position: 1200, chain: 9 };
        let noted = Noted { committed, durable, clearing: true };
        let (v, c) = (encode_vote(7, &vote), encode_noted(8, &noted));
        assert_eq!(decode_vote(&v), Slot::Valid(7, vote));
        assert_eq!(decode_noted(&c), Slot::Valid(8, noted));
        assert!(matches!(decode_vote(&c), Slot::Damaged { .. }));
        for bit in 0..SLOT * 8 {
            for slot in [v, c] {
                let mut bad = slot;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(decode_vote(&bad), Slot::Damaged { .. }), "bit {bit}");
                assert!(matches!(decode_noted(&bad), Slot::Damaged { .. }), "bit {bit}");
            }
        }
        assert_eq!(decode_vote(&[0; SLOT]), Slot::Empty);
    }

    /// The documented layout, byte by byte. The checksum of the vote was computed by another program.
    #[test]
    fn the_layout_is_the_documented_one() {
        let vote = encode_vote(7, &HardVote { term: 9, node: Some("broker-2".parse().unwrap()), granted: true });
        #[rustfmt::skip]
        assert_eq!(vote[..56], [
            b'D', b'L', b'E', b'D', b'G', b'V', b'O', b'T',  // magic
            1, 0, 0, 0, 0x6f, 0x5a, 0xc1, 0x96,              // version, CRC of the slot but these 4 bytes
            7, 0, 0, 0, 0, 0, 0, 0,                          // sequence
            9, 0, 0, 0, 0, 0, 0, 0,                          // term
            1, 0, 0, 0, 0, 0, 0, 0,                          // granted
            8, b'b', b'r', b'o', b'k', b'e', b'r', b'-',     // length of the id, id
            b'2', 0, 0, 0, 0, 0, 0, 0,
        ]);
        let committed = LogPoint { number: 5, index: 4, position: 1000, chain: 3 };
        let durable = LogPoint { number: 6, ..committed };
        let noted = encode_noted(8, &Noted { committed, durable, clearing: true });
        let crc = crc32c::crc32c_append(crc32c::crc32c(&noted[..12]), &noted[16..]).to_le_bytes();
        #[rustfmt::skip]
        assert_eq!(noted[..88], [
            b'D', b'L', b'E', b'D', b'G', b'C', b'M', b'T',  // magic
            1, 0, 0, 0, crc[0], crc[1], crc[2], crc[3],      // version, CRC of the slot but these 4 bytes
            8, 0, 0, 0, 0, 0, 0, 0,                          // sequence
            5, 0, 0, 0, 0, 0, 0, 0,                          // committed: number
            4, 0, 0, 0, 0, 0, 0, 0,                          // index
            0xe8, 0x03, 0, 0, 0, 0, 0, 0,                    // position
            3, 0, 0, 0, 1, 0, 0, 0,                          // chain, clearing
            6, 0, 0, 0, 0, 0, 0, 0,                          // durable: number
            4, 0, 0, 0, 0, 0, 0, 0,                          // index
            0xe8, 0x03, 0, 0, 0, 0, 0, 0,                    // position
            3, 0, 0, 0, 0, 0, 0, 0,                          // chain, zeros
        ]);
        assert!(vote[56..].iter().chain(&noted[88..]).all(|byte| *byte == 0));
    }

    #[test]
    fn the_next_version_is_refused_by_name_and_a_flag_of_it_by_none() {
        let resealed = |mut slot: [u8; SLOT], at: usize, value: u8| {
            slot[at] = value;
            finish(slot)
        };
        let vote = encode_vote(1, &HardVote { term: 3, node: None, granted: true });
        let noted = encode_noted(1, &Noted::default());
        assert_eq!(decode_vote(&resealed(vote, 8, 2)), Slot::Version { found: 2 });
        assert_eq!(decode_noted(&resealed(noted, 8, 2)), Slot::Version { found: 2 });
        assert!(matches!(decode_vote(&resealed(vote, 32, 2)), Slot::Damaged { .. }));
        assert!(matches!(decode_noted(&resealed(noted, 52, 2)), Slot::Damaged { .. }));
    }

    #[test]
    fn a_term_without_a_vote_is_remembered() {
        let vote = HardVote { term: 3, node: None, granted: false };
        assert_eq!(decode_vote(&encode_vote(1, &vote)), Slot::Valid(1, vote));
    }
}
