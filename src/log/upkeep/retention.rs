//! Retention: which segments may go, and why. The decision is a function of what it is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::Retention;
use crate::disk::{Alive, Space};
use crate::log::age::{BelievedTime, SegmentAges};
use crate::log::reader::LogReader;
use crate::log::segments::SegmentList;
use crate::segment::Segment;
use crate::types::{DiskLevel, RemovalReason};

/// What retention needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// Number of the entry after its last.
    pub(crate) end_number: u64,
    /// Index after its last record.
    pub(crate) end_index: u64,
    /// Timestamp of its last entry, milliseconds since 1970.
    pub(crate) last_timestamp: u64,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    /// How long this process has seen the segment full, milliseconds; 0 where that does not matter.
    pub(crate) full_for: u64,
}

/// What retention must keep, however old it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Number of the first entry that is there.
    pub(crate) first: u64,
    /// Number of the first entry that a peer or a snapshot still needs.
    pub(crate) floor: u64,
    /// Number after the last entry that is committed.
    pub(crate) committed: u64,
}

impl Bounds {
    /// Whether `segment` may go: nobody needs it, and the entry behind it is committed. While that entry is not
    /// committed, a replacement might be small enough to have its place in the segment, on all replicas.
    fn let_go(&self, segment: &SegmentInfo) -> bool {
        segment.end_number <= self.floor && segment.end_number < self.committed
    }
}

/// The segments to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removal {
    /// Number of the last entry that goes.
    pub(crate) upto: u64,
    /// Index of the first record that stays.
    pub(crate) first: u64,
    /// Segments that go.
    pub(crate) segments: usize,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Why the youngest of them goes.
    pub(crate) reason: RemovalReason,
}

/// How full the disk is, and what is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetentionReview {
    /// How full the disk is.
    pub(crate) level: DiskLevel,
    /// What is to go, if anything is.
    pub(crate) removal: Option<Removal>,
}

/// Decides what of `segments` goes: ascending, the last one is written to. `space` is that of the disk, `going` the
/// bytes that will be free there once files that were removed before are let go of.
pub(crate) fn decide(
    retention: &Retention,
    segments: &[SegmentInfo],
    space: Space,
    going: u64,
    now: u64,
    bounds: Bounds,
) -> RetentionReview {
    let mut held: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut freed = going;
    let used = |freed: u64| space.used_ratio(-i128::from(freed));
    let level = level(retention, space, freed);
    let mut removal: Option<Removal> = None;
    // Never the active one.
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    for (at, segment) in sealed.iter().enumerate() {
        if !bounds.let_go(segment) {
            break;
        }
        let expired = |age: Duration| {
            let old = now.saturating_sub(segment.last_timestamp).max(segment.full_for);
            u128::from(old) > age.as_millis()
        };
        let reason = if retention.max_age.is_some_and(expired) {
            RemovalReason::Age
        } else if retention.max_bytes.is_some_and(|most| held > most) {
            RemovalReason::Size
        } else if used(freed) > retention.force {
            RemovalReason::DiskForced
        } else {
            break;
        };
        (held, freed) = (held - segment.bytes, freed + segment.bytes);
        // A segment without entries goes with those behind it.
        if segment.end_number > bounds.first {
            let bytes = freed - going;
            let (upto, first) = (segment.end_number - 1, segment.end_index);
            removal = Some(Removal { upto, first, segments: at + 1, bytes, reason });
        }
    }
    RetentionReview { level, removal }
}

fn level(retention: &Retention, space: Space, going: u64) -> DiskLevel {
    match space.used_ratio(-i128::from(going)) {
        used if used > retention.refuse => DiskLevel::Refusing,
        used if used > retention.force => DiskLevel::Forced,
        used if used > retention.check => DiskLevel::Filling,
        _ => DiskLevel::Calm,
    }
}

/// What of `segments` goes when everything below `index` may: whole segments, never one with a record at or above it.
pub(crate) fn below(index: u64, segments: &[SegmentInfo], bounds: Bounds) -> Option<Removal> {
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    let may_go = |segment: &&SegmentInfo| segment.end_index <= index && bounds.let_go(segment);
    let going = &sealed[..sealed.iter().take_while(may_go).count()];
    // Segments without entries go with those behind them.
    let (segments, last) = going.iter().enumerate().rev().find(|(_, segment)| segment.end_number > bounds.first)?;
    let (segments, bytes) = (segments + 1, going[..=segments].iter().map(|segment| segment.bytes).sum());
    Some(Removal { upto: last.end_number - 1, first: last.end_index, segments, bytes, reason: RemovalReason::Asked })
}

/// Segments that were removed and whose blocks may not be free yet: the file is still there, or a reader holds a slice.
#[derive(Default)]
pub(in crate::log) struct Unlinked(Mutex<Vec<(Alive, u64)>>);

impl Unlinked {
    pub(in crate::log) fn add(&self, segments: &[Arc<Segment>]) {
        let added = segments.iter().map(|s| (s.alive(), s.end_position() - s.position()));
        self.0.lock().extend(added);
    }

    pub(in crate::log) fn bytes(&self) -> u64 {
        let mut going = self.0.lock();
        going.retain(|(alive, _)| alive.is());
        going.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The segments as [`decide`] takes them.
pub(in crate::log) fn infos(segments: &SegmentList) -> Vec<SegmentInfo> {
    let info = |segment: &Arc<Segment>| {
        let end = segment.end();
        let bytes = segment.end_position() - segment.position();
        let (end_number, end_index, last_timestamp) = (end.number, end.index, end.timestamp);
        SegmentInfo { end_number, end_index, last_timestamp, bytes, full_for: 0 }
    };
    segments.read().iter().map(info).collect()
}

/// What a log has on its disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DiskUsage {
    /// Position of the first entry that is there; where the next goes, if there is none.
    pub(crate) first_position: u64,
    /// Segments.
    pub(crate) segments: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Timestamp of the first entry that is there, if it can be read.
    pub(crate) oldest: Option<u64>,
    /// Part of the disk in use once what was removed is let go of.
    pub(crate) used: f64,
    /// What that is to the retention that was asked about.
    pub(crate) level: DiskLevel,
}

impl LogReader {
    /// What there is, and how full the disk is to `retention`.
    ///
    /// # Errors
    /// If the system does not say how full the disk is.
    pub(crate) fn stock(&self, retention: &Retention) -> io::Result<DiskUsage> {
        let parts = &self.parts;
        let space = parts.files.space()?;
        let (held, going) = (infos(&parts.segments), parts.unlinked.bytes());
        let first = self.entry_header(self.numbers().start).ok().flatten();
        let end = || parts.segments.read().last().map_or(0, |active| active.end().position);
        Ok(DiskUsage {
            first_position: first.map_or_else(end, |entry| entry.position),
            segments: held.len() as u64,
            bytes: held.iter().map(|segment| segment.bytes).sum(),
            oldest: first.map(|entry| entry.timestamp),
            used: space.used_ratio(-i128::from(going)),
            level: level(retention, space, going),
        })
    }

    /// What goes when everything below `index` may. Nothing is removed.
    pub(crate) fn below(&self, index: u64) -> Option<Removal> {
        let parts = &self.parts;
        let committed = parts.progress.commit_point().number;
        below(index, &infos(&parts.segments), Bounds { first: self.numbers().start, floor: u64::MAX, committed })
    }

    /// Waits until another segment was begun, or could not be made.
    pub(crate) async fn grown(&self) {
        self.parts.spare.changed().await;
    }

    /// Looks at the clock and the segments, and decides nothing.
    pub(crate) fn note_ages(&self, ages: &mut SegmentAges, clock: u64, passed: Duration) -> BelievedTime {
        ages.look(clock, passed, &mut infos(&self.parts.segments))
    }

    /// What `retention` says of this log, as far as the clock can be believed, and what there is to say of the clock.
    /// Nothing is removed. `clock` and `passed` as [`SegmentAges::look`] takes them.
    ///
    /// # Errors
    /// If the system does not say how full the disk is.
    pub(crate) fn review_by(
        &self,
        retention: &Retention,
        ages: &mut SegmentAges,
        clock: u64,
        passed: Duration,
    ) -> io::Result<(RetentionReview, BelievedTime)> {
        let parts = &self.parts;
        let mut held = infos(&parts.segments);
        let look = ages.look(clock, passed, &mut held);
        let space = parts.files.space()?;
        let committed = parts.progress.commit_point().number;
        let bounds = Bounds { first: self.numbers().start, floor: u64::MAX, committed };
        Ok((decide(retention, &held, space, parts.unlinked.bytes(), look.now, bounds), look))
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
