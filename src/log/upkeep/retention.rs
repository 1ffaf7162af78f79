//! Retention: which segments may go, and why. [`decide`] is a pure function of its arguments.

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
    /// Number after the segment's last entry.
    pub(crate) end_number: u64,
    /// Index after the segment's last record.
    pub(crate) end_index: u64,
    /// Timestamp of the segment's last entry, milliseconds since 1970.
    pub(crate) last_timestamp: u64,
    /// Bytes of the segment's file.
    pub(crate) bytes: u64,
    /// How long this process has seen the segment full, milliseconds; 0 where that does not matter.
    pub(crate) full_for: u64,
}

/// The bounds of what retention may remove, however old the entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Number of the first entry in the log.
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
    /// Number of the last entry to remove.
    pub(crate) upto: u64,
    /// Index of the first record that stays.
    pub(crate) first: u64,
    /// Segments to remove.
    pub(crate) segments: usize,
    /// Bytes of the files to remove.
    pub(crate) bytes: u64,
    /// Why the youngest of the segments is removed.
    pub(crate) reason: RemovalReason,
}

/// How full the disk is, and what retention should remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetentionReview {
    /// How full the disk is.
    pub(crate) level: DiskLevel,
    /// The segments to remove, if there are any.
    pub(crate) removal: Option<Removal>,
}

/// Decides which of `segments` to remove; they are ascending, and the last one is active. `space`: of the disk;
/// `going`: bytes that will be free on the disk once nobody holds the files that were removed before.
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
    // The active segment always stays.
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
        // A segment without entries is removed only together with one behind it that has some.
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

/// What to remove of `segments` if everything below `index` may go: whole segments, none with a record at or above
/// `index`.
pub(crate) fn below(index: u64, segments: &[SegmentInfo], bounds: Bounds) -> Option<Removal> {
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    let may_go = |segment: &&SegmentInfo| segment.end_index <= index && bounds.let_go(segment);
    let going = &sealed[..sealed.iter().take_while(may_go).count()];
    // Segments without entries are removed only together with one behind them that has some.
    let (segments, last) = going.iter().enumerate().rev().find(|(_, segment)| segment.end_number > bounds.first)?;
    let (segments, bytes) = (segments + 1, going[..=segments].iter().map(|segment| segment.bytes).sum());
    Some(Removal { upto: last.end_number - 1, first: last.end_index, segments, bytes, reason: RemovalReason::Asked })
}

/// Removed segments whose blocks may not be free yet: the file still exists, or a reader holds a slice of its mapping.
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

/// What a log occupies on its disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DiskUsage {
    /// Position of the first entry; without entries, of the next one.
    pub(crate) first_position: u64,
    /// Segments.
    pub(crate) segments: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Timestamp of the first entry, if it can be read.
    pub(crate) oldest: Option<u64>,
    /// Ratio of the disk in use once nobody holds the removed files.
    pub(crate) used: f64,
    /// What `used` means to the retention given to [`LogReader::stock`].
    pub(crate) level: DiskLevel,
}

impl LogReader {
    /// What the log occupies, and how full the disk is by the limits of `retention`.
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

    /// What would be removed if everything below `index` may go. Removes nothing.
    pub(crate) fn below(&self, index: u64) -> Option<Removal> {
        let parts = &self.parts;
        let committed = parts.progress.commit_point().number;
        below(index, &infos(&parts.segments), Bounds { first: self.numbers().start, floor: u64::MAX, committed })
    }

    /// Waits until the log has begun another segment, or could not make one.
    pub(crate) async fn grown(&self) {
        self.parts.spare.changed().await;
    }

    /// Shows the clock and the segments to `ages`, and decides nothing.
    pub(crate) fn note_ages(&self, ages: &mut SegmentAges, clock: u64, passed: Duration) -> BelievedTime {
        ages.look(clock, passed, &mut infos(&self.parts.segments))
    }

    /// What `retention` would remove of this log by the believed time, and that time. Removes nothing. `clock` and
    /// `passed`: as for [`SegmentAges::look`].
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
