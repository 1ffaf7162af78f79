//! Purge and reset: what moves the start of the log.

use std::io;

use crate::format::segment::Cursor;
use crate::log::files::log_files::remove_if_there;
use crate::log::start_file::PurgePoint;
use crate::log::{Log, Parts};

impl Log {
    /// Removes the entries up to and including `number`: recorded durably first, then whole segments go. Readers of
    /// removed records get a typed error; slices they already hold stay valid.
    ///
    /// # Errors
    /// If `number` is not in the log, or the system fails.
    pub(crate) fn purge(&mut self, term: u64, number: u64) -> io::Result<()> {
        let parts = self.parts.clone();
        parts.files.check()?;
        if parts.start.purged().is_some_and(|purged| purged.number >= number) {
            return Ok(());
        }
        // Raft purges only what is committed, but may say so before the state machine does.
        self.committer().commit(number).map_err(io::Error::other)?;
        let next = self.after_entry(number)?;
        let purged = PurgePoint { term, number, next };
        let recorded = parts.start.change(|start| start.purged = Some(purged));
        parts.files.or_fail("recording a purge", recorded)?;
        parts.progress.set_first(next.index);
        self.remove_segments_before(next.position);
        Ok(())
    }

    /// What the entry after `number` continues, at the place where it is or will be.
    fn after_entry(&self, number: u64) -> io::Result<Cursor> {
        if let Some(next) = self.reader().cursor_after(number).map_err(io::Error::other)? {
            return Ok(next);
        }
        // A log may begin right behind an entry it never had.
        let first = self.parts.segments.read().first().map(|segment| segment.start());
        match first {
            Some(start) if start.number == number + 1 => {
                let position = self.reader().entry_header(start.number).map_err(io::Error::other)?;
                Ok(Cursor { position: position.map_or(self.end().position, |entry| entry.position), ..start })
            }
            _ => {
                let why = format!("cannot purge up to entry {number}: the log ends before entry {}", self.end().number);
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    /// Removes the segments before the one that holds `position`, which the start file records as the log's beginning.
    fn remove_segments_before(&self, position: u64) {
        let parts = self.parts.clone();
        let mut segments = parts.segments.write();
        let going = segments.iter().skip(1).take_while(|later| later.position() <= position).count();
        let gone: Vec<_> = segments.drain(..going).collect();
        parts.unlinked.add(&gone);
        let first = segments.first().map_or(0, |first| first.position());
        drop(segments);
        parts.health.forget_before(first);
        let spare = parts.spare.clone();
        parts.files.in_background(move |files| {
            // This job drops the segments: a file that is still mapped keeps its blocks.
            for segment in gone {
                for path in [segment.path().to_owned(), files.directory().index(segment.position())] {
                    if let Err(error) = remove_if_there(files.disk().as_ref(), &path) {
                        // Only disk space is lost: the next start removes what lies before the first entry.
                        tracing::warn!(file = %path.display(), %error, "cannot remove a purged segment");
                    }
                }
            }
            files.ballast().make();
            spare.space_freed();
        });
    }

    /// Throws all entries away and begins again at `next`, behind entry `number` of `term`: the node was so far behind
    /// that its leader has purged the entries that continue its log.
    ///
    /// # Errors
    /// If no log of this segment size can begin there, or the system fails.
    pub(crate) fn reset(&mut self, term: u64, number: u64, next: Cursor) -> io::Result<()> {
        let parts = self.parts.clone();
        parts.files.check()?;
        if !next.can_begin(parts.files.segment_size()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no log can begin at {next:?}")));
        }
        let _no_pass = parts.flusher.hold();
        let purged = PurgePoint { term, number, next };
        // The durable point is lowered before the new beginning is recorded: a start after a crash in between takes old
        // segments for damaged if they lack something durable, but not if they merely lead past the new beginning.
        let lowered = parts.flusher.lower_durable(parts.progress.commit_point());
        let recorded = lowered.and_then(|()| parts.start.change(|start| start.purged = Some(purged)));
        parts.files.or_fail("recording a reset", recorded)?;
        self.replace_segments(next)
    }

    /// Replaces all segments by an empty one at `next`.
    pub(crate) fn begin_at(&mut self, next: Cursor) -> io::Result<()> {
        let parts = self.parts.clone();
        let _no_pass = parts.flusher.hold();
        self.replace_segments(next)
    }

    /// To be called with the flush held. Removes the old segments before it makes the new one, so that a full disk has
    /// room for the new one, unless readers still hold the old ones. Without room, the first append that finds some
    /// begins the segment.
    fn replace_segments(&mut self, next: Cursor) -> io::Result<()> {
        let parts = self.parts.clone();
        let Parts { files, segments, uncommitted, flusher, progress, .. } = &*parts;
        let mut listed = segments.write();
        // The last first: after a crash in between, the log merely ends earlier.
        let removed = listed.iter().rev().try_for_each(|segment| {
            // The recorded beginning makes a segment at or before it worthless: its header need not be overwritten.
            if segment.position() > next.position {
                return files.remove_segment(segment);
            }
            files.disk().remove(segment.path())?;
            remove_if_there(files.disk().as_ref(), &files.directory().index(segment.position()))
        });
        files.or_fail("beginning the log anew", removed)?;
        self.active = Err(next);
        parts.sparse.forget();
        listed.clear();
        segments.restart_at(next.position);
        uncommitted.truncate(0);
        // All other points lie between the first index and the end: so the end moves first, the first index last.
        progress.set_end(next.index);
        flusher.restarted(next.point());
        // All before the start came with a snapshot: it is committed.
        progress.set_committed(next.point());
        progress.set_first(next.index);
        drop(listed);
        // No old segment is left, even behind `next`: the log may begin anew at an earlier position.
        parts.health.forget_before(u64::MAX);
        self.begin_if_room(next)
    }
}
