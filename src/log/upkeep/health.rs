//! What is known of the health of a log's sealed segments.

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

/// Damage that was found, and who is told of it. The scrubber, which has it repaired, holds it.
pub(crate) struct Health {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    flusher: Arc<Flusher>,
    state: Mutex<HealthState>,
    /// Told of damage that was not known.
    found: Notify,
    /// Told of every repair.
    mended: Notify,
    /// Told of entries that a peer refuses.
    doubted: Notify,
}

#[derive(Default)]
struct HealthState {
    /// The damage found last, in a sealed segment or not.
    newest: Option<Damage>,
    /// A scrubber repairs what is found.
    mends: bool,
    /// By the position of the segment.
    damaged: BTreeMap<u64, Damage>,
    found: u64,
    repaired: u64,
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

    /// The ledger whose log it is.
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

    /// The segment that begins at `position` and what the next one begins with, if the segment is sealed and nothing in
    /// it changes any more: what is behind it is committed, and the segment was synced.
    pub(in crate::log) fn settled_segment(&self, position: u64) -> Option<(Arc<Segment>, Cursor)> {
        self.segments.settled(position, self.flusher.settled_position())
    }

    /// Remembers damage; for repair, if it is in a segment that can be repaired while the log is open.
    pub(in crate::log) fn note_damage(&self, damage: &Damage, segment: &Arc<Segment>) {
        let position = segment.position();
        // Locked while the segment is looked up: whoever removes the segment then takes back what was noted.
        let mut state = self.state.lock();
        state.newest = Some(damage.clone());
        match self.settled_segment(position) {
            // Not one that was repaired meanwhile.
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

    /// The segments before `position` are gone, and their damage with them. Not to be called with the segments locked.
    pub(in crate::log) fn forget_before(&self, position: u64) {
        self.state.lock().damaged.retain(|damaged, _| *damaged >= position);
    }

    /// A pass over all sealed segments has ended. `now`: milliseconds since 1970.
    pub(super) fn passed(&self, now: u64) {
        let mut state = self.state.lock();
        (state.passes, state.last_pass) = (state.passes + 1, Some(now));
    }

    /// What is known of the sealed segments.
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

    /// What is damaged now, with the position of the segment.
    pub(crate) fn damaged(&self) -> Vec<(u64, Damage)> {
        self.state.lock().damaged.iter().map(|(position, damage)| (*position, damage.clone())).collect()
    }

    /// The damage found last, in a sealed segment or not.
    pub(in crate::log) fn newest_damage(&self) -> Option<Damage> {
        self.state.lock().newest.clone()
    }

    /// From now on a scrubber repairs what is damaged.
    pub(crate) fn mend(&self) {
        self.state.lock().mends = true;
    }

    /// Whether a scrubber repairs what is damaged.
    pub(crate) fn is_mended(&self) -> bool {
        self.state.lock().mends
    }

    /// Waits until something has been repaired.
    pub(crate) async fn mended(&self) {
        self.mended.notified().await;
    }

    /// Waits until damage is found that was not known.
    pub(crate) async fn damage_found(&self) {
        self.found.notified().await;
    }

    /// A peer refuses one of the entries `numbers` as damaged.
    pub(in crate::log) fn doubt(&self, numbers: Range<u64>) {
        self.state.lock().doubted = Some(numbers);
        self.doubted.notify_one();
    }

    /// Waits until a peer refuses entries as damaged; their numbers.
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
        let reason = format!("serving what is stored in {}: {damage}", self.files.directory().path().display());
        self.files.fail(ClosedKind::Damaged, reason);
    }

    /// A pass over all sealed segments.
    pub(crate) fn scrub(self: &Arc<Self>) -> ScrubPass {
        ScrubPass::new(self.clone())
    }
}
