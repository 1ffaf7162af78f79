//! A whole segment through the recovery scan.

use std::path::Path;
use std::sync::Arc;

use super::{both, checksums};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, DiskFile};
use crate::format::batch::Batch;
use crate::format::entry::EntryKind;
use crate::format::segment::{BLANK_HEADER, SEGMENT_HEADER, SegmentHeader};
use crate::segment::recovery::{self, SegmentScan};
use crate::segment::scanner::Stop;
use crate::segment::{MappedFile, Segment};

/// Bytes of the segment file.
pub(super) const SIZE: usize = 8192;

/// A segment file; what is missing of it is zeros.
pub fn segment(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    whole.resize(SIZE, 0);
    both(&whole, checksums::segment, scanned);
}

fn scanned(bytes: &[u8]) {
    let Ok(header) = SegmentHeader::decode(bytes) else { return };
    // Opening compares these with the ledger and the file's name.
    if header.size != SIZE as u64 || !header.start.position.is_multiple_of(header.size) {
        return;
    }
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let path = Path::new("/segment");
    disk.write_atomic(path, bytes).expect("there is memory");
    let file = disk.open(path).expect("it is there");
    let strict = recovery::scan(file.as_ref(), &header, true).expect("it can be read");
    let quick = recovery::scan(file.as_ref(), &header, false).expect("it can be read");
    let (found, more) = (strict.entries.as_slice(), quick.entries.as_slice());
    assert_eq!(found, &more[..found.len()], "who looks closer does not find more");
    if strict.stop == Stop::Sealed {
        indexed(&file, &header, &strict);
    }
    whole(&disk, &file, &header, strict, true);
    whole(&disk, &file, &header, quick, false);
}

/// The index of a sealed segment stands for its scan.
fn indexed(file: &Arc<dyn DiskFile>, header: &SegmentHeader, scan: &SegmentScan) {
    let (entries, end) = (scan.entries.as_slice(), scan.entries.end());
    let index = crate::format::index::encode(header.start.position, end.chain, entries);
    let by_index = recovery::by_index(file.as_ref(), header, &index).expect("it can be read");
    // A segment without entries is not worth an index: its head blank cannot be told from the gap before an entry.
    let Some(by_index) = by_index else {
        return assert!(entries.is_empty(), "the index of a good segment was refused");
    };
    assert_eq!((by_index.entries.as_slice(), by_index.entries.end(), by_index.stop), (entries, end, Stop::Sealed));
}

/// What a scan has found can be read, and is in bounds.
fn whole(disk: &Arc<dyn Disk>, file: &Arc<dyn DiskFile>, header: &SegmentHeader, scan: SegmentScan, verified: bool) {
    let end = scan.entries.end();
    let first = header.start.number;
    let offset = end.position - header.start.position;
    assert!(offset >= SEGMENT_HEADER as u64 && offset <= header.size);
    assert!(scan.stop != Stop::Sealed || offset + BLANK_HEADER as u64 <= header.size);
    let mapped = MappedFile::new(file.clone()).expect("it can be mapped");
    let segment = Segment::new(disk.clone(), "/segment".into(), *header, mapped, scan.entries);
    let memberships = segment.memberships();
    let mut index = header.start.index;
    for number in first..end.number {
        let entry = segment.entry_header(number).expect("it was found").expect("it was found");
        assert_eq!((entry.number, entry.index), (number, index));
        assert_eq!(memberships.contains(&number), entry.kind == EntryKind::Membership);
        index += u64::from(entry.records);
        if entry.records > 0 {
            match segment.frame_of_index(index - 1) {
                Ok(found) => {
                    let (frame, record) = found.expect("it was found");
                    assert_eq!((frame.header, record), (entry, entry.records as usize - 1));
                }
                Err(damage) => assert!(!verified, "{damage}"),
            }
        }
        match segment.frame(number) {
            Ok(frame) => {
                let frame = frame.expect("it was found");
                let intact =
                    entry.kind != EntryKind::Batch || Batch::parse(&frame.body(), entry.records as usize).is_ok();
                assert!(intact && frame.header == entry && entry.verify(&frame.bytes).is_ok(), "damage was served");
            }
            Err(damage) => assert!(!verified, "{damage}"),
        }
    }
    assert_eq!(index, end.index);
    assert!(segment.frame_of_index(index).is_ok_and(|none| none.is_none()));
    assert!(segment.frame(end.number).is_ok_and(|none| none.is_none()));
}
