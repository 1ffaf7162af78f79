//! What lies on disk, one decoder each.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{both, checksums};
use crate::format::batch::{self as batches, Batch, RECORD_HEADER};
use crate::format::entry::{ENTRY_HEADER, EntryHeader, EntryKind};
use crate::format::frame::Frame;
use crate::format::hard_state::{self, SLOT, Slot};
use crate::format::segment::{self, BLANK_HEADER, MAX_PLACE, SEGMENT_HEADER, SegmentHeader};
use crate::format::{DIRECTORY_VERSION, FORMAT_VERSION, index as indexes, sealed};
use crate::log::directory::{Identity, MAGIC as IDENTITY_MAGIC};
use crate::log::{START_MAGIC, StartPoint};
use crate::segment::after;

/// An entry header, and the entry behind it.
pub fn entry(bytes: &[u8]) {
    both(bytes, checksums::first_entry, |bytes| {
        let Ok(header) = EntryHeader::decode(bytes) else { return };
        let length = header.length();
        assert!(length >= ENTRY_HEADER + header.body as usize && length.is_multiple_of(8));
        assert!(header.position.max(header.number).max(header.index).max(header.committed) <= MAX_PLACE);
        assert!(header.records as usize <= header.body as usize / 8);
        let next = after(&header);
        assert!(next.position == header.end() && next.number > header.number && next.index >= header.index);
        let verdict = header.verify(bytes);
        let Some(whole) = bytes.get(..length) else { return assert!(verdict.is_err(), "a part was taken for all") };
        let mut again = whole.to_vec();
        let chain = header.seal(&mut again);
        assert_eq!(verdict.is_ok(), chain == header.chain);
        assert_eq!((&again[..76], &again[ENTRY_HEADER..]), (&whole[..76], &whole[ENTRY_HEADER..]));
        assert_eq!(again[76..80], chain.to_le_bytes());
    });
}

/// The body of a batch, behind four bytes that say how many records it is to have.
pub fn batch(bytes: &[u8]) {
    let Some((count, body)) = bytes.split_first_chunk::<4>() else { return };
    let count = u32::from_le_bytes(*count) as usize;
    let Ok(batch) = Batch::parse(body, count) else { return };
    assert!(batch.locate(count).is_none());
    let mut records = Vec::new();
    for record in 0..count {
        let place = batch.locate(record).expect("it is one of them");
        records.push(&body[place.start + RECORD_HEADER..place.end]);
    }
    let mut again = vec![0; batches::body_length(count, records.iter().map(|record| record.len()).sum())];
    batches::encode(&records, &mut again);
    assert_eq!(again, body);
}

/// Entries as they come from the network.
pub fn frame(bytes: &[u8]) {
    both(
        bytes,
        |bytes| checksums::entries(bytes, 0, None),
        |bytes| {
            let Ok(frames) = Frame::parse_all(Bytes::copy_from_slice(bytes)) else { return };
            for frame in &frames {
                assert_eq!(EntryHeader::decode(&frame.bytes), Ok(frame.header));
                assert_eq!((frame.header.verify(&frame.bytes), frame.bytes.len()), (Ok(()), frame.header.length()));
                if frame.header.kind == EntryKind::Batch {
                    assert!(Batch::parse(&frame.body(), frame.header.records as usize).is_ok());
                }
            }
            let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
            assert_eq!(joined, bytes);
        },
    );
}

/// A segment header.
pub fn segment_header(bytes: &[u8]) {
    both(bytes, checksums::segment_header, |bytes| {
        let Ok(header) = SegmentHeader::decode(bytes) else { return };
        assert!(header.start.position.max(header.start.number).max(header.start.index) <= MAX_PLACE);
        let again = header.encode();
        assert_eq!(SegmentHeader::decode(&again), Ok(header));
        // Behind them is what a later version may give a meaning, and the checksum of all.
        assert_eq!(again[..64], bytes[..64]);
        assert!(bytes.len() >= SEGMENT_HEADER);
    });
}

/// A blank.
pub fn blank(bytes: &[u8]) {
    both(bytes, checksums::blank, |bytes| {
        let Ok((length, chain)) = segment::decode_blank(bytes) else { return };
        assert!(length as usize >= BLANK_HEADER && length.is_multiple_of(8) && segment::is_blank(bytes));
        assert_eq!(segment::encode_blank(length, chain), bytes[..BLANK_HEADER]);
    });
}

/// An index file.
pub fn index(bytes: &[u8]) {
    both(bytes, checksums::around, |bytes| {
        let position = bytes.get(16..24).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes);
        let other = indexes::other_version(bytes);
        let Some((chain, units)) = indexes::decode(bytes, position) else { return };
        assert_eq!(other, None);
        assert_eq!(indexes::encode(position, chain, &units), bytes);
        assert_eq!(indexes::decode(bytes, position ^ 1), None);
        assert!(units.iter().all(|unit| unit.offset().is_multiple_of(8)));
    });
}

/// What a slot holds is what is written into it again; the first `fields` bytes are all it says.
fn slot<T>(decoded: Slot<T>, bytes: &[u8], encode: impl Fn(u64, &T) -> [u8; SLOT], fields: impl Fn(&T) -> usize) {
    match decoded {
        Slot::Valid(sequence, value) => {
            let (again, fields) = (encode(sequence, &value), fields(&value));
            // Between them is the checksum, which also covers what a later version may give a meaning.
            assert_eq!((&again[..12], &again[16..fields]), (&bytes[..12], &bytes[16..fields]));
        }
        Slot::Version { found } => assert_ne!(found, FORMAT_VERSION),
        Slot::Empty => assert!(bytes.iter().all(|byte| *byte == 0)),
        Slot::Damaged { .. } => {}
        Slot::Unreadable => unreachable!("bytes were read"),
    }
}

/// A vote slot.
pub fn vote_slot(bytes: &[u8]) {
    both(bytes, checksums::around, |bytes| {
        let decoded = hard_state::decode_vote(bytes);
        slot(decoded, bytes, hard_state::encode_vote, |vote| {
            41 + vote.node.as_ref().map_or(0, |node| node.as_str().len())
        });
    });
}

/// A commit slot.
pub fn commit_slot(bytes: &[u8]) {
    both(bytes, checksums::around, |bytes| {
        slot(hard_state::decode_noted(bytes), bytes, hard_state::encode_noted, |_| 84);
    });
}

/// The content need not come back byte by byte, as bincode reads more than it writes, but it comes back.
fn content<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(magic: &[u8; 8], newest: u32, bytes: &[u8]) {
    let Ok((value, version)) = sealed::decode::<T>(magic, newest, bytes) else { return };
    let again = sealed::encode_as(magic, version, &value).expect("what was read can be written");
    assert_eq!(sealed::decode::<T>(magic, newest, &again), Ok((value, version)));
}

/// The identity file.
pub fn identity(bytes: &[u8]) {
    both(bytes, checksums::sealed, |bytes| content::<Identity>(&IDENTITY_MAGIC, DIRECTORY_VERSION, bytes));
}

/// The start file.
pub fn start(bytes: &[u8]) {
    both(bytes, checksums::sealed, |bytes| {
        content::<StartPoint>(&START_MAGIC, FORMAT_VERSION, bytes);
        let snapshot = sealed::decode::<StartPoint>(&START_MAGIC, FORMAT_VERSION, bytes)
            .ok()
            .and_then(|(start, _)| start.snapshot);
        snapshot.iter().for_each(|message| super::snapshot(message));
    });
}
