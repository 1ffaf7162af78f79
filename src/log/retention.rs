//! Retention: which segments may go, and why. The decision is a function of what it is told.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::reader::LogReader;
use super::{Log, Shared};
use crate::config::Retention;
use crate::disk::{Alive, Space};
use crate::segment::Segment;

/// A segment, as far as retention is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Number of the entry after its last.
    pub(crate) end_number: u64,
    /// Index after its last record.
    pub(crate) end_index: u64,
    /// Timestamp of its last entry, milliseconds since 1970.
    pub(crate) last_timestamp: u64,
    /// Bytes of its file.
    pub(crate) bytes: u64,
}

/// What bounds a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Number of the first entry that is there.
    pub(crate) first: u64,
    /// Number of the first entry that somebody still needs.
    pub(crate) floor: u64,
    /// Number after the last entry that is committed.
    pub(crate) committed: u64,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its last record is older than `max_age`.
    Age,
    /// All segments together are larger than `max_bytes`.
    Size,
    /// The disk is fuller than `force`.
    DiskForced,
}

/// How full the disk is, before anything goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// At most `check`.
    Calm,
    /// Above `check`: somebody should look at it.
    Filling,
    /// Above `force`: the oldest segments go, however young.
    Forced,
    /// Above `refuse`: no further segment is made.
    Refusing,
}

/// What is to go.
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
    pub(crate) reason: Reason,
}

/// The outcome of a look at the log and its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// How full the disk is.
    pub(crate) level: Level,
    /// What is to go, if anything is.
    pub(crate) removal: Option<Removal>,
}

/// Decides what of `segments` goes: ascending, the last one is written to. `space` is that of the disk, `going` the
/// bytes that will be free there once files that were removed before are let go of.
pub(crate) fn decide(
    retention: &Retention,
    segments: &[Held],
    space: Space,
    going: u64,
    now: u64,
    bounds: Bounds,
) -> Decision {
    let mut held: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut freed = going;
    let used = |freed: u64| space.used_ratio(-i128::from(freed));
    let level = match used(freed) {
        used if used > retention.refuse => Level::Refusing,
        used if used > retention.force => Level::Forced,
        used if used > retention.check => Level::Filling,
        _ => Level::Calm,
    };
    let mut removal: Option<Removal> = None;
    // Never the active one.
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    for (at, segment) in sealed.iter().enumerate() {
        if segment.end_number > bounds.floor.min(bounds.committed) {
            break;
        }
        let expired = |age: std::time::Duration| {
            now.checked_sub(segment.last_timestamp).is_some_and(|old| u128::from(old) > age.as_millis())
        };
        let reason = if retention.max_age.is_some_and(expired) {
            Reason::Age
        } else if retention.max_bytes.is_some_and(|most| held > most) {
            Reason::Size
        } else if used(freed) > retention.force {
            Reason::DiskForced
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
    Decision { level, removal }
}

/// Segments that were removed and whose blocks may not be free yet: the file is there still, or a reader has a slice.
#[derive(Default)]
pub(super) struct Going(Mutex<Vec<(Alive, u64)>>);

impl Going {
    pub(super) fn add(&self, segments: &[Arc<Segment>]) {
        let added = segments.iter().map(|s| (s.alive(), s.end_position() - s.position()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(added);
    }

    fn bytes(&self) -> u64 {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        going.retain(|(alive, _)| alive.is());
        going.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Shared {
    /// The segments as [`decide`] takes them.
    fn held(&self) -> Vec<Held> {
        let held = |segment: &Arc<Segment>| {
            let end = segment.end();
            let bytes = segment.end_position() - segment.position();
            Held { end_number: end.number, end_index: end.index, last_timestamp: end.timestamp, bytes }
        };
        self.segments().iter().map(held).collect()
    }
}

impl LogReader {
    /// What `retention` says of this log: the entries below number `floor` may go. Nothing is removed. `now` in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// If the system does not say how full the disk is.
    pub(crate) fn review(&self, retention: &Retention, floor: u64, now: u64) -> io::Result<Decision> {
        let shared = self.shared();
        let space = shared.disk.space(shared.directory.path())?;
        let committed = shared.progress.commit_point().number;
        let bounds = Bounds { first: self.numbers().start, floor, committed };
        Ok(decide(retention, &shared.held(), space, shared.going.bytes(), now, bounds))
    }
}

impl Log {
    /// Keeps the disk below `retention.refuse`: no segment file is made that would leave more in use.
    pub(crate) fn refuse_above(&mut self, retention: &Retention) {
        self.shared.spare.refuse_above(retention.refuse);
    }

    /// Removes what [`LogReader::review`] finds. Below Raft: where Raft runs, it is told to purge instead.
    ///
    /// # Errors
    /// If the system fails, or an entry is damaged.
    pub(crate) fn retain(&mut self, retention: &Retention, floor: u64, now: u64) -> io::Result<Decision> {
        let decision = self.reader().review(retention, floor, now)?;
        if let Some(removal) = decision.removal {
            let header = self.shared.entry_header(removal.upto).map_err(io::Error::other)?;
            let missing = || io::Error::other(format!("entry {} is to be purged but is not there", removal.upto));
            let Removal { first, segments, bytes, reason, .. } = removal;
            self.purge(header.ok_or_else(missing)?.term, removal.upto)?;
            tracing::info!(first, segments, bytes, ?reason, "removed the oldest segments");
        }
        Ok(decision)
    }
}
