//! A whole entry as bytes, and the draft it is made from.

use bytes::{Bytes, BytesMut};

use super::batch::{self, Batch};
use super::entry::{ENTRY_HEADER, EntryError, EntryHeader, EntryKind, entry_length};

/// An entry whose header has been decoded: header, body and padding in one piece.
///
/// Frames travel and are stored verbatim.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: EntryHeader,
    pub(crate) bytes: Bytes,
}

/// Bytes are not a sequence of frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame at byte {at}: {source}")]
    Entry { at: usize, source: EntryError },
    #[error("frame at byte {at}: {source}")]
    Batch { at: usize, source: batch::BatchError },
}

impl Frame {
    /// The body, without padding.
    pub(crate) fn body(&self) -> Bytes {
        self.bytes.slice(ENTRY_HEADER..ENTRY_HEADER + self.header.body as usize)
    }

    /// How many records of a verified entry begin at `position` or before it.
    pub(crate) fn records_until(&self, position: u64) -> u64 {
        if self.header.kind != EntryKind::Batch {
            return 0;
        }
        let batch = Batch::trusted(&self.bytes[ENTRY_HEADER..], self.header.records as usize);
        let begins = |slot: u32| batch.locate(slot as usize).map(|range| (ENTRY_HEADER + range.start) as u64);
        let offset = position.saturating_sub(self.header.position);
        let (mut low, mut high) = (0, self.header.records);
        while low < high {
            let middle = low + (high - low) / 2;
            if begins(middle).is_some_and(|start| start <= offset) { low = middle + 1 } else { high = middle }
        }
        u64::from(low)
    }

    /// Splits `bytes`, as they came from the network, into whole frames. Everything is checked: chain values and the
    /// bounds of every record, so that nothing a peer sends can be stored damaged or make a reader fail.
    pub(crate) fn parse_all(mut bytes: Bytes) -> Result<Vec<Frame>, FrameError> {
        let whole = bytes.len();
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let at = whole - bytes.len();
            let entry = |source| FrameError::Entry { at, source };
            let header = EntryHeader::decode(&bytes).map_err(entry)?;
            header.verify(&bytes).map_err(entry)?;
            let frame = Frame { header, bytes: bytes.split_to(header.length()) };
            if header.kind == EntryKind::Batch {
                let checked = Batch::parse(&frame.body(), header.records as usize).map(drop);
                checked.map_err(|source| FrameError::Batch { at, source })?;
            }
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// An entry before it has its place: the body, with room in front for the header.
///
/// The proposer builds it, the log's writer seals it into a [`Frame`]: the payload is copied once.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: EntryKind,
    pub(crate) records: u32,
    body: u32,
    bytes: Bytes,
}

impl Draft {
    /// An entry without records.
    pub(crate) fn control(kind: EntryKind, body: &[u8]) -> Self {
        let mut bytes = BytesMut::zeroed(entry_length(body.len()));
        bytes[ENTRY_HEADER..ENTRY_HEADER + body.len()].copy_from_slice(body);
        Self { kind, records: 0, body: body.len() as u32, bytes: bytes.freeze() }
    }

    /// A batch. The caller keeps count and sum of lengths within the configured bounds (far below `u32::MAX / 2`).
    pub(crate) fn batch<R: AsRef<[u8]>>(records: &[R]) -> Self {
        let body = batch::body_length(records.len(), records.iter().map(|r| r.as_ref().len()).sum());
        let mut bytes = BytesMut::zeroed(entry_length(body));
        batch::encode(records, &mut bytes[ENTRY_HEADER..ENTRY_HEADER + body]);
        Self { kind: EntryKind::Batch, records: records.len() as u32, body: body as u32, bytes: bytes.freeze() }
    }

    /// Bytes the entry will take.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the body.
    pub(crate) fn body_length(&self) -> u32 {
        self.body
    }

    /// Writes the header in front. Copies the bytes only if somebody else still holds the draft.
    pub(crate) fn seal(self, mut header: EntryHeader) -> Frame {
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        header.chain = header.seal(&mut bytes);
        Frame { header, bytes: bytes.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn frame(number: u64, previous: u32, records: &[&str]) -> Frame {
        let draft = Draft::batch(records);
        let header = EntryHeader {
            position: 80,
            number,
            term: 1,
            index: 0,
            committed: 0,
            timestamp: 0,
            records: draft.records,
            kind: draft.kind,
            body: draft.body_length(),
            previous,
            chain: 0,
        };
        draft.seal(header)
    }

    #[test]
    fn frames_back_to_back_come_apart_again() {
        let one = frame(1, 0, &["a", "bc"]);
        let two = frame(2, one.header.chain, &["def"]);
        let joined: Bytes = [&one.bytes[..], &two.bytes[..]].concat().into();
        let apart = Frame::parse_all(joined).unwrap();
        assert_eq!(apart.len(), 2);
        assert_eq!((&apart[0].bytes, &apart[1].bytes), (&one.bytes, &two.bytes));
        assert_eq!(apart[1].header, two.header);
    }

    #[test]
    fn a_damaged_or_cut_frame_is_refused_with_its_place() {
        let one = frame(1, 0, &["hello"]);
        let mut joined = [&one.bytes[..], &one.bytes[..]].concat();
        joined.truncate(joined.len() - 1);
        let error = Frame::parse_all(joined.into()).unwrap_err();
        assert!(matches!(error, FrameError::Entry { at, source: EntryError::Short { .. } } if at == one.bytes.len()));
        let mut flipped = one.bytes.to_vec();
        flipped[ENTRY_HEADER + 9] ^= 1;
        let error = Frame::parse_all(flipped.into()).unwrap_err();
        assert!(matches!(error, FrameError::Entry { at: 0, source: EntryError::Chain { .. } }), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::parse_all(bytes.into());
        }
    }
}
