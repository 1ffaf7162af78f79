//! The segment file prepared ahead.
//!
//! The log makes the spare while the active segment still has room, so that the node knows of a full disk long before
//! it must refuse an entry. [`Spare`] allocates the blocks first: from then on the spare counts as room. Filling the
//! spare with zeros takes longer, and only makes later syncs cheaper.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::admission::NoRoom;
use crate::disk::{DiskFile, is_exhausted, is_full, is_transient};
use crate::log::files::log_files::{LogFiles, remove_if_there};
use crate::log::names;
use crate::log::segments::SegmentList;
use crate::segment::MappedFile;

/// Pause after a failed allocation before the next attempt, milliseconds: an idle ledger must not load a full disk.
const RETRY: u64 = 1000;

/// The spare of a log.
pub(in crate::log) struct Spare {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    /// Locked during an allocation, for as long as the disk takes.
    state: Mutex<SpareState>,
    /// Why the last allocation failed, if it did: a copy for callers who must not wait for `state`.
    failure: Mutex<Option<NoRoom>>,
    /// Locked while zeros are written to the spare.
    filling: Mutex<()>,
    /// Ratio of the disk in use above which no segment file is made.
    refuse: Mutex<Option<f64>>,
    /// Notified when the log begins a segment in the spare, and when it cannot make a spare: retention may then have
    /// something to remove.
    changed: Notify,
}

#[derive(Default)]
enum SpareState {
    #[default]
    Missing,
    /// A job that makes the spare is queued.
    Wanted,
    /// Allocated, open and mapped: a segment needs nothing more of the system.
    Made { mapped: MappedFile, zeros: Zeros },
    /// The allocation failed. `at`: the time of the last request. `again`: a job that tries again is queued; until it
    /// has run, nothing says that there is room.
    Failed { at: Option<u64>, why: NoRoom, again: bool },
}

/// Whether zeros have been written to the spare's blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    No,
    /// A job is writing them.
    Now,
    /// Written and synced.
    Yes,
}

impl Spare {
    pub(in crate::log) fn new(files: Arc<LogFiles>, segments: Arc<SegmentList>) -> Self {
        let (state, failure, filling, refuse) = Default::default();
        Self { files, segments, state, failure, filling, refuse, changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, SpareState> {
        self.state.lock()
    }

    /// Whether the spare is made; `false` during an allocation.
    pub(in crate::log) fn is_made(&self) -> bool {
        self.state.try_lock().is_some_and(|state| matches!(*state, SpareState::Made { .. }))
    }

    fn told(&self) -> MutexGuard<'_, Option<NoRoom>> {
        self.failure.lock()
    }

    /// Why the last allocation failed, if it did.
    pub(in crate::log) fn failure(&self) -> Option<NoRoom> {
        self.told().clone()
    }

    /// From now on makes no file that would leave more than this ratio of the disk in use.
    pub(in crate::log) fn refuse_above(&self, ratio: f64) {
        *self.refuse.lock() = Some(ratio);
    }

    fn is(&self, file: &Arc<dyn DiskFile>) -> bool {
        matches!(&*self.state(), SpareState::Made { mapped, .. } if Arc::ptr_eq(&mapped.file, file))
    }

    /// Tells [`Spare::changed`] that the log has begun a segment in the spare.
    pub(in crate::log) fn tell_of_segment(&self) {
        self.changed.notify_one();
    }

    /// Waits until a segment was begun in the spare, or a spare could not be made.
    pub(in crate::log) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Queues a job that makes the spare, unless one is queued or has run.
    pub(in crate::log) fn want(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(*state, SpareState::Missing) {
            *state = SpareState::Wanted;
            // The job locks the state again, and may run at once.
            drop(state);
            self.fill_later();
        }
    }

    /// Queues another attempt after a failed allocation, once [`RETRY`] has passed.
    pub(in crate::log) fn retry(self: &Arc<Self>, now: u64) {
        // A thread that holds the lock is allocating, and the disk may hang.
        let Some(mut state) = self.state.try_lock() else { return };
        if let SpareState::Failed { at, again: again @ false, .. } = &mut *state
            && is_due(*at, now)
        {
            (*at, *again) = (Some(now), true);
            drop(state);
            self.fill_later();
        }
    }

    /// Tries again to make the spare after a failure: segments were removed, so there may be room now.
    pub(in crate::log) fn space_freed(&self) {
        let mut state = self.state();
        if let SpareState::Failed { again, .. } = &mut *state {
            *again = true;
            drop(state);
            self.prepare();
        }
    }

    /// Makes the spare now, unless it is made or an attempt failed less than [`RETRY`] ago.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::log) fn need(self: &Arc<Self>, now: u64) -> Result<(), NoRoom> {
        let mut state = self.state();
        match &*state {
            SpareState::Made { .. } => return Ok(()),
            SpareState::Failed { at, why, again: false } if !is_due(*at, now) => return Err(why.clone()),
            _ => {}
        }
        let made = self.allocate(&mut state, Some(now));
        drop(state);
        made.map(|()| self.fill_later()).map_err(|error| self.no_room(&error))
    }

    /// Makes sure that [`Spare::take`] has a file to take; for the roll, which cannot wait. An error has changed
    /// nothing.
    ///
    /// # Errors
    /// If there is no room, or the system fails.
    pub(in crate::log) fn secure(&self) -> io::Result<()> {
        let mut state = self.state();
        if matches!(*state, SpareState::Made { .. }) { Ok(()) } else { self.allocate(&mut state, None) }
    }

    /// Renames the spare to `path`: an allocated file of zeros, which no other job touches any more. To be called after
    /// [`Spare::secure`].
    ///
    /// # Errors
    /// If the system fails.
    pub(in crate::log) fn take(&self, path: &Path) -> io::Result<MappedFile> {
        let mut state = self.state();
        self.files.check()?;
        if matches!(*state, SpareState::Made { zeros: Zeros::Now, .. }) {
            // The job may be in the middle of a slow write. If there is room for another file, take that one instead.
            match self.within_limits(1).and_then(|()| self.make_segment(path)) {
                Err(error) if is_transient(&error) => {}
                made => return made,
            }
        }
        if !matches!(*state, SpareState::Made { .. }) {
            self.allocate(&mut state, None)?;
        }
        // Renamed with the state locked: another spare made under that name meanwhile would become the segment, and a
        // job would still fill it with zeros.
        self.files.disk().rename(&self.files.directory().file(names::SPARE), path)?;
        let taken = std::mem::take(&mut *state);
        drop(state);
        // Waits for a write of zeros under way. No other begins, because the file is no longer the spare.
        drop(self.filling.lock());
        match taken {
            SpareState::Made { mapped, .. } => Ok(mapped),
            _ => Err(io::Error::other("the spare is not there although it was made")),
        }
    }

    /// A file for a segment, open and mapped. After an error there is no file.
    fn make_segment(&self, path: &Path) -> io::Result<MappedFile> {
        let file = self.files.disk().create(path, self.files.segment_size())?;
        MappedFile::new(file).or_else(|error| {
            remove_if_there(self.files.disk().as_ref(), path)?;
            Err(error)
        })
    }

    /// Blocks until an allocation in progress ends. Called after the log has failed or was closed: `allocate` refuses
    /// from then on.
    pub(in crate::log) fn wait_for_allocation(&self) {
        drop(self.state());
    }

    fn fill_later(self: &Arc<Self>) {
        let spare = self.clone();
        self.files.in_background(move |_| spare.prepare());
    }

    /// The background job: makes the spare if it is wanted, and fills it with zeros.
    fn prepare(&self) {
        let mut state = self.state();
        // A closed log neither makes nor fills a spare: the file may belong to another log by now.
        if self.files.check().is_err() {
            return;
        }
        if matches!(*state, SpareState::Wanted | SpareState::Failed { again: true, .. })
            && self.allocate(&mut state, None).is_err()
        {
            return;
        }
        let SpareState::Made { mapped, zeros: zeros @ Zeros::No } = &mut *state else { return };
        *zeros = Zeros::Now;
        let file = mapped.file.clone();
        drop(state);
        let Err(error) = self.fill(&file) else { return };
        let mut state = self.state();
        if matches!(&*state, SpareState::Made { mapped, .. } if Arc::ptr_eq(&mapped.file, &file)) {
            self.failed(&mut state, None, &error);
            return;
        }
        drop(state);
        // A segment has begun in the file: the failed sync was that segment's too, and no later sync will report it.
        let _: io::Result<()> = self.files.or_fail("syncing", Err(error));
    }

    /// Writes zeros as long as `file` is the spare: a sync of overwritten blocks is cheaper than one of freshly
    /// allocated blocks. The pieces are small, because the page cache keeps each as one folio, and a later write to a
    /// part of a large folio costs more.
    fn fill(&self, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        const CHUNK: u64 = 64 << 10;
        // Bytes between two syncs: the log's own syncs wait while the disk works on one of these.
        const SYNCED: u64 = 4 << 20;
        let size = self.files.segment_size();
        let zeros = vec![0; CHUNK.min(size) as usize];
        let mut offset = 0;
        while offset < size {
            let not_taken = self.filling.lock();
            if !self.is(file) {
                return Ok(());
            }
            let length = CHUNK.min(size - offset);
            file.write_at(&zeros[..length as usize], offset)?;
            offset += length;
            drop(not_taken);
            if offset.is_multiple_of(SYNCED) {
                file.sync()?;
            }
        }
        file.sync()?;
        if let SpareState::Made { mapped, zeros } = &mut *self.state()
            && Arc::ptr_eq(&mapped.file, file)
        {
            *zeros = Zeros::Yes;
        }
        Ok(())
    }

    /// Makes the spare. Called with the state locked, so that [`Spare::wait_for_allocation`] waits for the allocation.
    fn allocate(&self, state: &mut SpareState, now: Option<u64>) -> io::Result<()> {
        self.files.check()?;
        let path = self.files.directory().file(names::SPARE);
        let made = remove_if_there(self.files.disk().as_ref(), &path)
            .and_then(|()| self.within_limits(1))
            .and_then(|()| self.make_segment(&path));
        match made {
            Ok(mapped) => {
                if matches!(state, SpareState::Failed { .. }) {
                    tracing::info!(file = %path.display(), "there is room for a segment again");
                }
                *self.told() = None;
                *state = SpareState::Made { mapped, zeros: Zeros::No };
                Ok(())
            }
            Err(error) => {
                self.failed(state, now, &error);
                Err(error)
            }
        }
    }

    fn failed(&self, state: &mut SpareState, at: Option<u64>, error: &io::Error) {
        let path = self.files.directory().file(names::SPARE);
        let why = self.no_room(error);
        if !matches!(state, SpareState::Failed { .. }) {
            tracing::warn!(file = %path.display(), %error, "cannot prepare the next segment");
            self.changed.notify_one();
        }
        let before = match state {
            SpareState::Failed { at, .. } => *at,
            _ => None,
        };
        *self.told() = Some(why.clone());
        *state = SpareState::Failed { at: at.or(before), why, again: false };
        if let Err(error) = remove_if_there(self.files.disk().as_ref(), &path) {
            tracing::warn!(file = %path.display(), %error, "cannot remove the unfinished segment file");
        }
    }

    /// Whether there is room for `count` segments besides the spare. Allocates nothing, so other files may take the
    /// room.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::log) fn room_for_segments(&self, count: u64) -> Result<(), NoRoom> {
        if count == 0 {
            return Ok(());
        }
        let available = self.files.space().and_then(|space| {
            self.within_limits(count)?;
            Ok(space.available)
        });
        let wanted = count * self.files.segment_size();
        match available {
            Ok(available) if available >= wanted => Ok(()),
            Ok(available) => {
                let why = format!("{available} bytes are left of {wanted} wanted");
                Err(self.no_room(&io::Error::new(io::ErrorKind::StorageFull, why)))
            }
            Err(error) => Err(self.no_room(&error)),
        }
    }

    fn no_room(&self, error: &io::Error) -> NoRoom {
        let (dir, process) = (self.files.directory().path().display(), is_exhausted(error));
        let why = match () {
            () if process => format!("no descriptor or memory mapping for another segment in {dir}: {error}"),
            () if is_full(error) => format!("no room for another segment in {dir}: {error}"),
            () => format!("another segment cannot be made in {dir}: {error}"),
        };
        NoRoom { why, process }
    }

    /// Refuses if `segments` more would leave the disk fuller than the ratio above which writes are refused. The first
    /// segment of a log that begins anew replaces others, so it is not one more.
    fn within_limits(&self, segments: u64) -> io::Result<()> {
        if self.segments.read().is_empty() {
            return Ok(());
        }
        let Some(refuse) = *self.refuse.lock() else { return Ok(()) };
        let more = i128::from(segments) * i128::from(self.files.segment_size());
        let used = self.files.space()?.used_ratio(more);
        if used <= refuse {
            return Ok(());
        }
        let why = format!("the disk would be {:.1} % full, the limit is {:.1} %", used * 100.0, refuse * 100.0);
        Err(io::Error::new(io::ErrorKind::StorageFull, why))
    }
}

/// Whether an attempt is due after the one `at`. The clock may have been set back.
pub(in crate::log) fn is_due(at: Option<u64>, now: u64) -> bool {
    at.is_none_or(|at| now.checked_sub(at).is_none_or(|waited| waited >= RETRY))
}
