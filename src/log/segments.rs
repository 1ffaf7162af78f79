//! [`SegmentList`]: the segments of a log, which its writer and all other handles share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::segment::Cursor;
use crate::segment::Segment;

/// Segments, ascending by position. The last one is active; there is none while the disk has no room for it.
pub(crate) struct SegmentList {
    /// Locked for writing while entries are removed.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Bytes of a segment.
    size: u64,
    /// Segments that end at this position or before it hold no descriptor.
    released_below: AtomicU64,
}

impl SegmentList {
    pub(crate) fn new(segments: Vec<Arc<Segment>>, size: u64) -> Self {
        Self { segments: RwLock::new(segments), size, released_below: 0.into() }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.segments.write()
    }

    /// Whether the list has `segment` itself, and not a repaired segment in its place.
    pub(crate) fn has(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.read();
        let at = segments.partition_point(|there| there.position() < segment.position());
        segments.get(at).is_some_and(|there| Arc::ptr_eq(there, segment))
    }

    /// The segment that begins at `position` and what the next one begins with, if the segment is sealed and never
    /// changes again. `settled`: every entry before this position is committed and durable; it must lie behind the
    /// start of the next segment.
    pub(crate) fn settled(&self, position: u64, settled: u64) -> Option<(Arc<Segment>, Cursor)> {
        let segments = self.read();
        let at = segments.iter().position(|segment| segment.position() == position)?;
        let (segment, next) = (segments.get(at)?, segments.get(at + 1)?);
        (settled > next.position()).then(|| (segment.clone(), next.start()))
    }

    /// Freezes the bytes before `position`, of which those before `frozen` are frozen already.
    pub(crate) fn freeze(&self, frozen: u64, position: u64) {
        for segment in self.read().iter().rev().skip_while(|s| s.position() >= position) {
            segment.freeze(position);
            if segment.position() <= frozen {
                break;
            }
        }
    }

    /// Whether a segment ends between those released and `position`.
    pub(crate) fn can_release(&self, position: u64) -> bool {
        position / self.size * self.size > self.released_below.load(Ordering::Acquire)
    }

    /// Closes the descriptors of segments that end at `position` or before it: all their entries are durable and
    /// committed, so the log writes nothing to them any more. Their mappings stay.
    pub(crate) fn release_below(&self, position: u64) {
        let end = position / self.size * self.size;
        let before = self.released_below.fetch_max(end, Ordering::AcqRel);
        let segments = self.read();
        let settled = segments.iter().rev().skip_while(|segment| segment.end_position() > end);
        settled.take_while(|segment| segment.end_position() > before).for_each(|segment| segment.let_go());
    }

    /// Notes that the log begins anew at `position`, perhaps before the segments whose descriptors were released.
    pub(crate) fn restart_at(&self, position: u64) {
        self.released_below.store(position / self.size * self.size, Ordering::Release);
    }
}

/// The segment that holds record `index`, if any does.
pub(crate) fn of_index(segments: &[Arc<Segment>], index: u64) -> Option<&Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.start().index <= index);
    segments.get(after.checked_sub(1)?)
}

/// The segment that holds entry `number`, if any does.
pub(crate) fn of_number(segments: &[Arc<Segment>], number: u64) -> Option<&Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.start().number <= number);
    segments.get(after.checked_sub(1)?)
}
