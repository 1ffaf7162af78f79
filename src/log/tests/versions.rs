//! Every file that carries a version is refused by it, end to end; and the sealed files byte by byte.

use std::path::Path;

use super::golden::{copy, files, open};
use crate::error::OpenError;
use crate::format::sealed;
use crate::format::segment::Cursor;
use crate::log::directory::{Identity, MAGIC as IDENTITY_MAGIC};
use crate::log::start_file::{MAGIC, PurgePoint, StartPoint};
use crate::types::Incarnation;

/// Where a checksum stands, and what it covers.
enum Crc {
    /// At byte 12 of the slot or header, for this many bytes of it.
    Around(usize),
    /// At byte 76, for all before.
    Header,
}

/// Makes what begins at `at` of the next version, with a good checksum. Returns that.
fn raise(file: &Path, at: usize, crc: Crc) -> u8 {
    let mut bytes = std::fs::read(file).unwrap();
    let part = &mut bytes[at..];
    assert!(matches!(part[8..12], [1 | 2, 0, 0, 0]), "{} has no version there", file.display());
    part[8] = if file.ends_with("identity") { 3 } else { part[8] + 1 };
    let raised = part[8];
    match crc {
        Crc::Around(length) => {
            let value = crc32c::crc32c_append(crc32c::crc32c(&part[..12]), &part[16..length]);
            part[12..16].copy_from_slice(&value.to_le_bytes());
        }
        Crc::Header => {
            let value = crc32c::crc32c(&part[..76]);
            part[76..80].copy_from_slice(&value.to_le_bytes());
        }
    }
    std::fs::write(file, bytes).unwrap();
    raised
}

fn refused(fixture: &str, name: &str, at: usize, crc: impl Fn(usize) -> Crc) {
    let dir = copy(fixture);
    let path = dir.path().join(name);
    let version = raise(&path, at, crc(std::fs::metadata(&path).unwrap().len() as usize));
    let before = files(dir.path());
    match open(dir.path()).map(drop) {
        Err(error @ OpenError::Version { .. }) => {
            let said = error.to_string();
            let reads = version - 1;
            let expected = format!("{name} has format version {version}, this program reads {reads}");
            assert!(said.contains(&expected), "{said}");
        }
        other => panic!("{name} at {at}: {other:?}"),
    }
    assert_eq!(files(dir.path()), before, "{name} was refused, and something changed");
}

#[test]
fn a_later_identity_is_refused_by_name() {
    refused("v1", "identity", 0, Crc::Around);
    refused("v2", "identity", 0, Crc::Around);
}

#[test]
fn a_later_start_is_refused_by_name() {
    refused("v1-purged", "start", 0, Crc::Around);
}

#[test]
fn a_later_segment_is_refused_by_name_wherever_it_is() {
    refused("v1", "00000000000000000000", 0, |_| Crc::Header);
    refused("v1", "00000000000000065536", 0, |_| Crc::Header);
    refused("v2", "00000000000000065536", 0, |_| Crc::Header);
}

#[test]
fn a_later_vote_or_commit_point_is_refused_by_name_in_every_slot() {
    for slot in 0..4 {
        refused("v1", "hard-state", slot * 4096, |_| Crc::Around(256));
    }
}

#[test]
fn a_later_index_is_refused_by_name() {
    refused("v1", "00000000000000000000.index", 0, Crc::Around);
}

/// The file's checksum is good but its content is impossible: the log must refuse it before it computes with it.
#[test]
fn a_start_where_no_log_can_begin_is_refused() {
    let next = Cursor { position: 65_616, number: 9, index: 305, term: 2, timestamp: 0, chain: 0 };
    let starts = [
        PurgePoint { term: 2, number: u64::MAX, next },
        PurgePoint { term: 2, number: 7, next },
        PurgePoint { term: 2, number: 8, next: Cursor { position: 65_617, ..next } },
        PurgePoint { term: 2, number: 8, next: Cursor { position: 65_540, ..next } },
        PurgePoint { term: 2, number: 8, next: Cursor { position: u64::MAX - 7, ..next } },
        PurgePoint { term: 2, number: 8, next: Cursor { index: u64::MAX, ..next } },
    ];
    for purged in starts {
        let dir = copy("v1-purged");
        let start = StartPoint { purged: Some(purged), snapshot: None };
        std::fs::write(dir.path().join("start"), sealed::encode(&MAGIC, &start).unwrap()).unwrap();
        let before = files(dir.path());
        match open(dir.path()).map(drop) {
            Err(OpenError::Damaged(damage)) => assert!(damage.file.ends_with("start"), "{damage}"),
            other => panic!("{purged:?}: {other:?}"),
        }
        assert_eq!(files(dir.path()), before);
    }
}

/// The documented layout, byte by byte. The checksums were computed by another program.
#[test]
fn the_layout_of_the_identity_is_the_documented_one() {
    let identity = Identity {
        cluster: "dledger".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: 256 << 20,
        incarnation: Incarnation::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
    };
    #[rustfmt::skip]
    assert_eq!(sealed::encode(&IDENTITY_MAGIC, &identity).unwrap(), [
        b'D', b'L', b'E', b'D', b'G', b'I', b'D', b'Y',  // magic
        1, 0, 0, 0, 0x1e, 0xfc, 0xa1, 0xae,              // version, CRC of all but these 4 bytes
        35, 0, 0, 0, 0, 0, 0, 0,                         // length of the body
        7, b'd', b'l', b'e', b'd', b'g', b'e', b'r',     // cluster
        1, b'g', 2, b'n', b'0', 252, 0, 0, 0, 16,        // group, node, segment size
        254, 16, 15, 14, 13, 12, 11, 10, 9, 8,           // incarnation, the last byte first
        7, 6, 5, 4, 3, 2, 1,
    ]);
}

/// The documented layout, byte by byte. The checksums were computed by another program.
#[test]
fn the_layout_of_the_start_is_the_documented_one() {
    let next = Cursor { position: 8272, number: 5, index: 4, term: 2, timestamp: 300, chain: 7 };
    let start = StartPoint { purged: Some(PurgePoint { term: 2, number: 4, next }), snapshot: Some(vec![1, 2, 3]) };
    #[rustfmt::skip]
    assert_eq!(sealed::encode(&MAGIC, &start).unwrap(), [
        b'D', b'L', b'E', b'D', b'G', b'S', b'T', b'A',  // magic
        1, 0, 0, 0, 0xc5, 0x1f, 0x88, 0x9d,              // version, CRC of all but these 4 bytes
        18, 0, 0, 0, 0, 0, 0, 0,                         // length of the body
        1, 2, 4,                                         // there is a last entry that is gone: term, number
        251, 0x50, 0x20, 5, 4, 2, 251, 0x2c, 1, 7,       // position, number, index, term, timestamp, chain
        1, 3, 1, 2, 3,                                   // there is a snapshot: its bytes
    ]);
}
