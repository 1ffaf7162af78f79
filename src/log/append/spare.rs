//! The segment file prepared ahead.
//!
//! It is made while the active segment still has room, so that a full disk is known long before an entry could not be
//! stored. Its blocks are allocated first: from then on it counts as room. Filling it with zeros takes longer and only
//! makes later syncs cheaper.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::admission::NoRoom;
use crate::disk::{DiskFile, is_exhausted, is_full, passes};
use crate::log::files::log_files::{LogFiles, remove_if_there};
use crate::log::names;
use crate::log::segments::SegmentList;
use crate::segment::MappedFile;

/// How long after a failure the file system is not asked again, milliseconds.
const RETRY: u64 = 1000;

/// The spare of a log.
pub(in crate::log) struct Spare {
    files: Arc<LogFiles>,
    segments: Arc<SegmentList>,
    /// Held while it is made, which may take as long as the disk takes.
    state: Mutex<SpareState>,
    /// Why it could not be made, if it could not: for who must not wait for that.
    failure: Mutex<Option<NoRoom>>,
    /// Held while zeros are written to it.
    filling: Mutex<()>,
    /// Above this part of the disk in use no file is made.
    refuse: Mutex<Option<f64>>,
    /// Told when a segment was begun in the spare, and when a spare cannot be made: retention may have something to do.
    changed: Notify,
}

#[derive(Default)]
enum SpareState {
    #[default]
    Missing,
    /// A job that makes it is queued.
    Wanted,
    /// Allocated, open and mapped: a segment needs nothing more of the system.
    Made { mapped: MappedFile, zeros: Zeros },
    /// There is no room for it, or it could not be made. `at`: when somebody last asked for it. `again`: a job that
    /// tries it again is queued; until it has, nothing says that there is room.
    Failed { at: Option<u64>, why: NoRoom, again: bool },
}

/// Whether the spare's blocks have been written to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    No,
    /// A job is at it.
    Now,
    /// And synced.
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

    /// Whether it is made; not while somebody is at it.
    pub(in crate::log) fn is_made(&self) -> bool {
        self.state.try_lock().is_some_and(|state| matches!(*state, SpareState::Made { .. }))
    }

    fn told(&self) -> MutexGuard<'_, Option<NoRoom>> {
        self.failure.lock()
    }

    /// Why it could not be made, if it could not.
    pub(in crate::log) fn failure(&self) -> Option<NoRoom> {
        self.told().clone()
    }

    /// From now on no file is made that would leave more than this part of the disk in use.
    pub(in crate::log) fn refuse_above(&self, ratio: f64) {
        *self.refuse.lock() = Some(ratio);
    }

    fn is(&self, file: &Arc<dyn DiskFile>) -> bool {
        matches!(&*self.state(), SpareState::Made { mapped, .. } if Arc::ptr_eq(&mapped.file, file))
    }

    /// A segment was begun in the spare.
    pub(in crate::log) fn tell_of_segment(&self) {
        self.changed.notify_one();
    }

    /// Waits until a segment was begun in the spare, or a spare could not be made.
    pub(in crate::log) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has the spare made beside the caller, if nobody has begun with it.
    pub(in crate::log) fn want(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(*state, SpareState::Missing) {
            *state = SpareState::Wanted;
            // The job takes it again, and may run at once.
            drop(state);
            self.fill_later();
        }
    }

    /// Tries again to make a spare that could not be made, if the last time is long enough ago.
    pub(in crate::log) fn retry(self: &Arc<Self>, now: u64) {
        // Whoever holds it is at it, and the disk may hang.
        let Some(mut state) = self.state.try_lock() else { return };
        if let SpareState::Failed { at, again: again @ false, .. } = &mut *state
            && is_due(*at, now)
        {
            (*at, *again) = (Some(now), true);
            drop(state);
            self.fill_later();
        }
    }

    /// Something was removed: there may be room again.
    pub(in crate::log) fn space_freed(&self) {
        let mut state = self.state();
        if let SpareState::Failed { again, .. } = &mut *state {
            *again = true;
            drop(state);
            self.prepare();
        }
    }

    /// Makes the spare now, unless it is made or was tried a moment ago.
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

    /// Makes sure that [`Spare::take`] has a file to take: the roll, which cannot wait. Nothing has changed
    /// after an error.
    ///
    /// # Errors
    /// If there is no room, or the system fails.
    pub(in crate::log) fn secure(&self) -> io::Result<()> {
        let mut state = self.state();
        if matches!(*state, SpareState::Made { .. }) { Ok(()) } else { self.allocate(&mut state, None) }
    }

    /// Names the spare `path`: zeros, allocated, nobody else's. After [`Spare::secure`].
    ///
    /// # Errors
    /// If the system fails.
    pub(in crate::log) fn take(&self, path: &Path) -> io::Result<MappedFile> {
        let mut state = self.state();
        self.files.check()?;
        if matches!(*state, SpareState::Made { zeros: Zeros::Now, .. }) {
            // The job may be in the middle of a slow write. It stays the spare if there is room for another file.
            match self.within_limits(1).and_then(|()| self.make_segment(path)) {
                Err(error) if passes(&error) => {}
                made => return made,
            }
        }
        if !matches!(*state, SpareState::Made { .. }) {
            self.allocate(&mut state, None)?;
        }
        // Before anybody can make another spare under that name: that one would become the segment, and still be filled
        // with zeros.
        self.files.disk().rename(&self.files.directory().file(names::SPARE), path)?;
        let taken = std::mem::take(&mut *state);
        drop(state);
        // A write of zeros that has begun ends, and there is no other: it is the spare no more.
        drop(self.filling.lock());
        match taken {
            SpareState::Made { mapped, .. } => Ok(mapped),
            _ => Err(io::Error::other("the spare is not there although it was made")),
        }
    }

    /// A file for a segment, open and mapped. It is not there after an error.
    fn make_segment(&self, path: &Path) -> io::Result<MappedFile> {
        let file = self.files.disk().create(path, self.files.segment_size())?;
        MappedFile::new(file).or_else(|error| {
            remove_if_there(self.files.disk().as_ref(), path)?;
            Err(error)
        })
    }

    /// After the log has failed or was closed: whoever makes a spare now is waited for, and nobody makes one any more.
    pub(in crate::log) fn wait_for_allocation(&self) {
        drop(self.state());
    }

    fn fill_later(self: &Arc<Self>) {
        let spare = self.clone();
        self.files.in_background(move |_| spare.prepare());
    }

    /// The job: makes the spare if it is wanted, and fills it.
    fn prepare(&self) {
        let mut state = self.state();
        // A spare that is made is not filled any more either: it may be another log's by now.
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
        // A segment has begun in it: the failed sync was that segment's too, and no other will report it.
        let _: io::Result<()> = self.files.or_fail("syncing", Err(error));
    }

    /// Writes zeros as long as it is the spare: overwriting synced blocks makes every later sync cheaper than filling
    /// freshly allocated ones. In pieces that are small, for the page cache keeps them as it got them, and a write to a
    /// part of a large one costs more.
    fn fill(&self, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        const CHUNK: u64 = 64 << 10;
        // Syncs of the log wait while the disk is at one of these.
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

    /// With the state locked, for [`Spare::wait_for_allocation`].
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
            tracing::warn!(file = %path.display(), %error, "cannot remove what was made of it");
        }
    }

    /// Whether there is room for so many segments besides the spare. Nothing is allocated: somebody else may take it.
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

    /// Whether so many more segments keep the disk below the ratio above which writes are refused. One that comes in
    /// the place of all that there were is not one more.
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

/// Whether it is to be tried again. The clock may have been set back.
pub(in crate::log) fn is_due(at: Option<u64>, now: u64) -> bool {
    at.is_none_or(|at| now.checked_sub(at).is_none_or(|waited| waited >= RETRY))
}
