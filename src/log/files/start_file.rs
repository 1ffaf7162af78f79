//! Where the log begins: purge and reset.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, is_exhausted, is_full};
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::sealed;
use crate::format::segment::Cursor;
use crate::log::directory::{Directory, io_error, unseal};
use crate::log::names;
use crate::log::writer::remove_if_there;
use crate::log::{Log, Shared};

/// Mark of the start file.
pub(crate) const MAGIC: [u8; 8] = *b"DLEDGSTA";
/// Bytes of the ballast: several times a start file.
const BALLAST: u64 = 64 << 10;
/// How often the start file is tried again if there is no descriptor for it, and how long after the time before.
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The content of the `start` file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartPoint {
    /// Up to where entries are gone.
    pub(crate) purged: Option<PurgePoint>,
    /// Raft's metadata snapshot; opaque here.
    pub(crate) snapshot: Option<Vec<u8>>,
}

/// The last entry that is gone, and what the first one left must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurgePoint {
    /// Its term.
    pub(crate) term: u64,
    /// Its number.
    pub(crate) number: u64,
    /// What comes next.
    pub(crate) next: Cursor,
}

impl StartPoint {
    /// Reads the file; a log that has never been purged has none.
    pub(in crate::log) fn read(disk: &dyn Disk, directory: &Directory) -> Result<Self, OpenError> {
        let path = directory.file(names::START);
        match disk.read(&path) {
            Ok(bytes) => {
                let start: Self = unseal(&path, &MAGIC, &bytes, "start of the log", "where the log begins")?;
                start.check(path, directory.identity().segment_size)?;
                Ok(start)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Refuses a place where no log of segments of `size` bytes can begin.
    fn check(&self, file: PathBuf, size: u64) -> Result<(), Damage> {
        match self.purged {
            Some(PurgePoint { number, next, .. })
                if number.checked_add(1) != Some(next.number) || !next.can_begin(size) =>
            {
                let found = format!("{next:?} behind entry {number}");
                let mismatch = Mismatch::new("start of the log", found, "a place where a log can begin");
                Err(Damage { file, position: next.position, index: next.index, mismatch })
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Replaces the start file by what `change` makes of it. Durable on return.
    pub(in crate::log) fn change_start(&self, change: impl FnOnce(&mut StartPoint)) -> io::Result<()> {
        let _alone = self.changing_start.lock();
        let mut changed = self.start_point().clone();
        change(&mut changed);
        let bytes = sealed::encode(&MAGIC, &changed).map_err(io::Error::other)?;
        self.write_start_surely(&bytes)?;
        let mut start = self.start_point();
        if let Some(purged) = changed.purged {
            self.first_number.store(purged.number + 1, Ordering::Release);
        }
        *start = changed;
        Ok(())
    }

    /// For want of a descriptor nothing is written yet, so it can be tried again: somebody who has one will close it.
    fn write_start_surely(&self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            match self.write_start(bytes) {
                Err(error) if is_exhausted(&error) => std::thread::sleep(PAUSE),
                written => return written,
            }
        }
        self.write_start(bytes)
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        let path = self.directory.file(names::START);
        self.with_ballast(|| self.disk.write_atomic(&path, bytes))
    }

    /// On a full disk the ballast goes for what `write` replaces: what is to make room must not fail for want of room.
    pub(in crate::log) fn with_ballast(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(error) if is_full(&error) => {
                remove_if_there(self.disk.as_ref(), &self.directory.file(names::BALLAST))?;
                write()?;
                // Of what the file before took, and the ballast: a reset writes this twice before anything else goes.
                self.make_ballast();
                Ok(())
            }
            written => written,
        }
    }

    /// Sets some blocks aside for [`Shared::with_ballast`], if that has not been done.
    pub(in crate::log) fn make_ballast(&self) {
        if let Err(error) = self.secure_ballast() {
            // Tried again after the next purge.
            let path = self.directory.file(names::BALLAST);
            tracing::warn!(file = %path.display(), %error, "cannot set blocks aside for a purge on a full disk");
        }
    }

    /// Makes sure that where the log begins can be written down.
    ///
    /// # Errors
    /// If there is no room for that, or the system fails.
    pub(in crate::log) fn secure_ballast(&self) -> io::Result<()> {
        let path = self.directory.file(names::BALLAST);
        match self.disk.create(&path, BALLAST) {
            // A copy of a directory has the name, and need not have the blocks.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let ballast = self.disk.open(&path)?;
                ballast.allocate(0..ballast.size())
            }
            made => made.map(drop),
        }
    }

    /// Keeps Raft's metadata snapshot. Durable on return.
    pub(in crate::log) fn save_snapshot(&self, snapshot: Vec<u8>) -> io::Result<()> {
        self.check()?;
        let saved = self.change_start(|start| start.snapshot = Some(snapshot));
        self.or_fail("saving the snapshot", saved)
    }
}

impl Log {
    /// The last entry that is gone, if any is.
    pub(crate) fn purged(&self) -> Option<PurgePoint> {
        self.shared.start_point().purged
    }

    /// Removes the entries up to and including `number`: recorded durably first, then whole segments go. Readers of
    /// removed records get a typed error; slices they already hold stay valid.
    ///
    /// # Errors
    /// If `number` is not in the log, or the system fails.
    pub(crate) fn purge(&mut self, term: u64, number: u64) -> io::Result<()> {
        self.shared.check()?;
        if self.purged().is_some_and(|purged| purged.number >= number) {
            return Ok(());
        }
        // What is purged is committed, whoever says so first.
        self.shared.commit(number).map_err(io::Error::other)?;
        let next = self.after_entry(number)?;
        let purged = PurgePoint { term, number, next };
        let recorded = self.shared.change_start(|start| start.purged = Some(purged));
        self.shared.or_fail("recording a purge", recorded)?;
        self.shared.progress.set_first(next.index);
        self.remove_segments_before(next.position);
        Ok(())
    }

    /// What the entry after `number` continues, at the place where it is or will be.
    fn after_entry(&self, number: u64) -> io::Result<Cursor> {
        if let Some(next) = self.reader().cursor_after(number).map_err(io::Error::other)? {
            return Ok(next);
        }
        // A log may begin right behind an entry it never had.
        let first = self.shared.segments().first().map(|segment| segment.start());
        match first {
            Some(start) if start.number == number + 1 => {
                let position = self.shared.entry_header(start.number).map_err(io::Error::other)?;
                Ok(Cursor { position: position.map_or(self.end().position, |entry| entry.position), ..start })
            }
            _ => {
                let why = format!("entry {number} is to be purged but the log ends before {}", self.end().number);
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    /// Removes the segments before the one with `position`, where the log is recorded to begin: a start goes by that.
    fn remove_segments_before(&self, position: u64) {
        let mut segments = self.shared.segments_mut();
        let going = segments.iter().skip(1).take_while(|later| later.position() <= position).count();
        let gone: Vec<_> = segments.drain(..going).collect();
        self.shared.going.add(&gone);
        let first = segments.first().map_or(0, |first| first.position());
        drop(segments);
        self.shared.forget_damage_before(first);
        let shared = self.shared.clone();
        self.shared.options.background.run(Box::new(move || {
            // Each is let go of here: a file that is still mapped keeps its blocks.
            for segment in gone {
                for path in [segment.path().to_owned(), shared.directory.index(segment.position())] {
                    match shared.disk.remove(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            // Only disk space is lost: the next start removes what lies before the first entry.
                            tracing::warn!(file = %path.display(), %error, "cannot remove a purged segment");
                        }
                        _ => {}
                    }
                }
            }
            shared.make_ballast();
            shared.space_freed();
        }));
    }

    /// Throws all entries away and begins again at `next`, behind entry `number` of `term`: the node was so far behind
    /// that its leader has nothing left to continue its log with.
    ///
    /// # Errors
    /// If no log of this segment size can begin there, or the system fails.
    pub(crate) fn reset(&mut self, term: u64, number: u64, next: Cursor) -> io::Result<()> {
        self.shared.check()?;
        if !next.can_begin(self.shared.options.segment_size) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no log can begin at {next:?}")));
        }
        let shared = self.shared.clone();
        let _no_pass = shared.hold_flush();
        let purged = PurgePoint { term, number, next };
        // What is not committed goes. In this order: the old segments are damaged for a start that finds them to lack
        // something that was durable, and not if they merely lead past the new beginning.
        let lowered = shared.lower_durable(shared.progress.commit_point());
        let recorded = lowered.and_then(|()| shared.change_start(|start| start.purged = Some(purged)));
        shared.or_fail("recording a reset", recorded)?;
        self.replace_segments(next)
    }

    /// Replaces all segments by an empty one at `next`.
    pub(crate) fn begin_at(&mut self, next: Cursor) -> io::Result<()> {
        let shared = self.shared.clone();
        let _no_pass = shared.hold_flush();
        self.replace_segments(next)
    }

    /// With the flush held. What there is goes before anything new is made: a disk that is full has room then, if no
    /// reader holds on to it. If it has not, the log has no segment before the first entry that finds room for one.
    fn replace_segments(&mut self, next: Cursor) -> io::Result<()> {
        let shared = self.shared.clone();
        let mut segments = shared.segments_mut();
        // The last first: after a crash in between, the log merely ends earlier.
        let removed = segments.iter().rev().try_for_each(|segment| {
            // What lies before the new beginning, or where it is, is worthless by that.
            if segment.position() > next.position {
                return shared.remove_segment(segment);
            }
            shared.disk.remove(segment.path())?;
            remove_if_there(shared.disk.as_ref(), &shared.directory.index(segment.position()))
        });
        shared.or_fail("beginning the log anew", removed)?;
        self.active = Err(next);
        shared.sparse.forget();
        segments.clear();
        let size = shared.options.segment_size;
        shared.let_go_below.store(next.position / size * size, Ordering::Release);
        shared.tail().truncate(0);
        // The end before all that is not behind it, the first index after all that is not before it.
        shared.progress.set_end(next.index);
        shared.restarted(next.point());
        shared.commit_at_start(next);
        shared.progress.set_first(next.index);
        drop(segments);
        // None is left, also if the log begins anew at an earlier place.
        shared.forget_damage_before(u64::MAX);
        self.begin_if_room(next)
    }
}
