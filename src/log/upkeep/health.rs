//! [`Health`]: the damage known in a log's sealed segments.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::scrub::ScrubPass;
use crate::error::Damage;
use crate::format::segment::Cursor;
use crate::log::files::log_files::LogFiles;
use crate::log::flusher::Flusher;
use crate::log::segments::SegmentList;
use crate::segment::Segment;
use crate::types::{ClosedKind, Group, ScrubStatus};

/// Keeps the damage that was found, and wakes the tasks that wait for it. The scrubber holds it, and has the damaged
/// segments repaired.
pub(crate) struct Health {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    flusher: Arc<Flusher>,
    state: Mutex<HealthState>,
    /// Notified of each segment newly found to be damaged.
    found: Notify,
    /// Notified of every repair.
    mended: Notify,
    /// Notified when a peer refuses entries as damaged.
    doubted: Notify,
}

#[derive(Default)]
struct HealthState {
    /// The damage found last, in a sealed segment or not.
    newest: Option<Damage>,
    /// A scrubber repairs the segments in `damaged`.
    mends: bool,
    /// The damage of each damaged sealed segment, by the segment's position.
    damaged: BTreeMap<u64, Damage>,
    /// Sealed segments found damaged, and repaired, since the log was opened.
    found: u64,
    repaired: u64,
    /// Scrub passes completed, and when the last one ended, milliseconds since 1970.
    passes: u64,
    last_pass: Option<u64>,
    /// Numbers of the entries that a peer refused last.
    doubted: Option<Range<u64>>,
}

impl Health {
    pub(in crate::log) fn new(files: Arc<LogFiles>, segments: Arc<SegmentList>, flusher: Arc<Flusher>) -> Self {
        let (state, found, mended, doubted) = Default::default();
        Self { files, segments, flusher, state, found, mended, doubted }
    }

    /// The ledger that the log belongs to.
    pub(crate) fn group(&self) -> &Group {
        self.files.group()
    }

    pub(super) fn files(&self) -> &LogFiles {
        &self.files
    }

    pub(super) fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    pub(super) fn segments(&self) -> &SegmentList {
        &self.segments
    }

    /// The segment that begins at `position` and what the next one begins with, if the segment is sealed and never
    /// changes again: it is synced, and an entry behind it is committed.
    pub(in crate::log) fn settled_segment(&self, position: u64) -> Option<(Arc<Segment>, Cursor)> {
        self.segments.settled(position, self.flusher.settled_position())
    }

    /// Remembers `damage`, and has it repaired if `segment` can be repaired while the log is open.
    pub(in crate::log) fn note_damage(&self, damage: &Damage, segment: &Arc<Segment>) {
        let position = segment.position();
        // Locked across the lookup of the segment: a purge or reset that removes the segment meanwhile calls
        // `forget_before` afterwards, and so removes this note too.
        let mut state = self.state.lock();
        state.newest = Some(damage.clone());
        match self.settled_segment(position) {
            // The listed segment is still the damaged one: no repair has replaced it meanwhile.
            Some((present, _)) if Arc::ptr_eq(&present, segment) => {}
            _ => return,
        }
        if state.damaged.insert(position, damage.clone()).is_none() {
            state.found += 1;
            tracing::error!(group = %self.files.group(), %damage, "a sealed segment is damaged");
            self.found.notify_one();
        }
    }

    /// The segment at `position` is good again.
    pub(in crate::log) fn note_repaired(&self, position: u64) {
        let mut state = self.state.lock();
        // Not if the segment was removed meanwhile.
        state.repaired += u64::from(state.damaged.remove(&position).is_some());
        drop(state);
        self.mended.notify_waiters();
    }

    /// Forgets the damage of the segments before `position`, which were removed. The caller must not hold the lock of
    /// the segments: `note_damage` takes that lock second.
    pub(in crate::log) fn forget_before(&self, position: u64) {
        self.state.lock().damaged.retain(|damaged, _| *damaged >= position);
    }

    /// Counts a completed pass over all sealed segments. `now`: milliseconds since 1970.
    pub(super) fn passed(&self, now: u64) {
        let mut state = self.state.lock();
        (state.passes, state.last_pass) = (state.passes + 1, Some(now));
    }

    /// The counters and the damage, as the ledger's status shows them.
    pub(crate) fn status(&self) -> ScrubStatus {
        let state = self.state.lock();
        ScrubStatus {
            passes: state.passes,
            last_pass: state.last_pass,
            found: state.found,
            repaired: state.repaired,
            damaged: state.damaged.values().map(|damage| damage.position).collect(),
        }
    }

    /// The segments that are damaged now: position and damage.
    pub(crate) fn damaged(&self) -> Vec<(u64, Damage)> {
        self.state.lock().damaged.iter().map(|(position, damage)| (*position, damage.clone())).collect()
    }

    /// The damage found last, in a sealed segment or not.
    pub(in crate::log) fn newest_damage(&self) -> Option<Damage> {
        self.state.lock().newest.clone()
    }

    /// Declares that from now on a scrubber repairs damaged segments.
    pub(crate) fn mend(&self) {
        self.state.lock().mends = true;
    }

    /// Whether a scrubber repairs damaged segments.
    pub(crate) fn is_mended(&self) -> bool {
        self.state.lock().mends
    }

    /// Waits until a segment has been repaired.
    pub(crate) async fn mended(&self) {
        self.mended.notified().await;
    }

    /// Waits until a segment is newly found to be damaged.
    pub(crate) async fn damage_found(&self) {
        self.found.notified().await;
    }

    /// Notes that a peer refuses one of the entries `numbers` as damaged.
    pub(in crate::log) fn doubt(&self, numbers: Range<u64>) {
        self.state.lock().doubted = Some(numbers);
        self.doubted.notify_one();
    }

    /// Waits until a peer refuses entries as damaged, and returns their numbers.
    pub(crate) async fn doubted(&self) -> Range<u64> {
        loop {
            self.doubted.notified().await;
            if let Some(numbers) = self.state.lock().doubted.take() {
                return numbers;
            }
        }
    }

    /// Stops the log, because it is damaged.
    pub(crate) fn fail_damaged(&self, damage: &Damage) {
        let reason = format!("cannot serve the entries in {}: {damage}", self.files.directory().path().display());
        self.files.fail(ClosedKind::Damaged, reason);
    }

    /// Begins a pass over all sealed segments.
    pub(crate) fn scrub(self: &Arc<Self>) -> ScrubPass {
        ScrubPass::new(self.clone())
    }
}
