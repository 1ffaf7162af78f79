//! Makes checksums right. The offsets are those of `docs/format.md`, written down a second time on purpose.

use crc32c::{crc32c, crc32c_append};

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Entries and blanks from `at` on, as far as their lengths lead. With `chain` each is linked to the one before.
pub(super) fn entries(bytes: &mut [u8], mut at: usize, mut chain: Option<u32>) {
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= 16) {
        let length = get(rest, 4) as usize;
        if rest.starts_with(b"DLB") {
            blank(rest);
        } else if rest.starts_with(b"DLE") && (80..=rest.len()).contains(&length) {
            chain = Some(entry(&mut rest[..length], chain));
        }
        if length < 16 {
            break;
        }
        at = at.saturating_add(length);
    }
}

/// One entry; its chain value.
fn entry(bytes: &mut [u8], previous: Option<u32>) -> u32 {
    if let Some(previous) = previous {
        put(bytes, 68, previous);
    }
    let crc = crc32c(&bytes[..72]);
    put(bytes, 72, crc);
    let chain = crc32c_append(crc32c_append(get(bytes, 68), &bytes[..72]), &bytes[80..]);
    put(bytes, 76, chain);
    chain
}

/// The first entry of `bytes`: its header even if the rest is cut short.
pub(super) fn first_entry(bytes: &mut [u8]) {
    if bytes.len() < 80 {
        return;
    }
    let crc = crc32c(&bytes[..72]);
    put(bytes, 72, crc);
    let length = get(bytes, 4) as usize;
    if let Some(whole) = bytes.get_mut(..length).filter(|whole| whole.len() >= 80) {
        entry(whole, None);
    }
}

/// A segment header.
pub(super) fn segment_header(bytes: &mut [u8]) {
    if bytes.len() >= 80 {
        let crc = crc32c(&bytes[..76]);
        put(bytes, 76, crc);
    }
}

/// A segment: its header, and all that is in it.
pub(super) fn segment(bytes: &mut [u8]) {
    segment_header(bytes);
    if bytes.len() >= 80 {
        let chain = get(bytes, 12);
        entries(bytes, 80, Some(chain));
    }
}

/// A blank.
pub(super) fn blank(bytes: &mut [u8]) {
    if bytes.len() >= 16 {
        let crc = crc32c(&bytes[..12]);
        put(bytes, 12, crc);
    }
}

/// An index file, a hard-state slot, a sealed file: the checksum of all but bytes 12..16 stands there.
pub(super) fn around(bytes: &mut [u8]) {
    if bytes.len() >= 16 {
        let crc = crc32c_append(crc32c(&bytes[..12]), &bytes[16..]);
        put(bytes, 12, crc);
    }
}

/// A sealed file, and the length of its body.
pub(super) fn sealed(bytes: &mut [u8]) {
    if bytes.len() >= 24 {
        let length = bytes.len() as u64 - 24;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        around(bytes);
    }
}

/// The four slots of a hard-state file.
pub(super) fn slots(bytes: &mut [u8]) {
    for block in bytes.chunks_mut(4096) {
        if let Some(slot) = block.get_mut(..256).filter(|slot| slot.iter().any(|byte| *byte != 0)) {
            around(slot);
        }
    }
}
