//! Appending, rolling to the next segment, truncating.

use std::io;

use super::capacity::reserve;
use crate::disk::is_transient;
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::frame::{Draft, Frame};
use crate::format::roll::largest;
use crate::format::segment::{BLANK_HEADER, Cursor};
use crate::log::Log;
use crate::log::files::log_files::remove_if_there;
use crate::segment::active::ActiveSegment;
use crate::segment::scanner::breaks;

impl Log {
    /// What the next entry must continue.
    pub(crate) fn end(&self) -> Cursor {
        self.active.as_ref().map_or_else(|next| *next, |active| active.segment().end())
    }

    /// The active segment; there is one after [`Log::make_room`].
    pub(in crate::log) fn active(&mut self) -> io::Result<&mut ActiveSegment> {
        self.active.as_mut().map_err(|next| io::Error::other(format!("no segment was begun for entry {}", next.number)))
    }

    /// Leader: gives `draft` its place and writes it. It can be read at once and is not durable yet.
    ///
    /// # Errors
    /// If the draft is larger than a segment can take, or the system fails.
    pub(crate) fn append_draft(&mut self, draft: Draft, term: u64, now: u64) -> io::Result<EntryHeader> {
        self.make_room(draft.length(), draft.kind)?;
        let next = self.end();
        let header = EntryHeader {
            position: next.position,
            number: next.number,
            term,
            index: next.index,
            committed: self.parts.progress.committed(),
            timestamp: now.max(next.timestamp),
            records: draft.records,
            kind: draft.kind,
            body: draft.body_length(),
            previous: next.chain,
            chain: 0,
        };
        let frame = draft.seal(header);
        let header = frame.header;
        self.write(frame)?;
        Ok(header)
    }

    /// Follower: writes a leader's frame verbatim, if it continues this log exactly. It can be read at once and is not
    /// durable yet.
    ///
    /// # Errors
    /// If the frame does not continue this log or has another position than this log gives it: the replicas have
    /// diverged, or the leader runs with another segment size. Also if the system fails.
    pub(crate) fn append_frame(&mut self, frame: Frame) -> io::Result<()> {
        self.make_room(frame.header.length(), frame.header.kind)?;
        if let Some(mismatch) = breaks(&frame.header, &self.end()) {
            let why = format!("the leader's entry does not fit: {mismatch}");
            let error = io::Error::new(io::ErrorKind::InvalidData, why);
            return self.parts.files.or_fail("appending", Err(error));
        }
        self.write(frame)
    }

    /// Removes the entries from number `from` on, durably: no start may find remains of them under new entries.
    ///
    /// # Errors
    /// If an entry is known to be committed: it must never go. Also if the system fails.
    pub(crate) fn truncate(&mut self, from: u64) -> io::Result<()> {
        self.parts.files.check()?;
        let committed = self.parts.progress.commit_point().number;
        if from < committed {
            let why = format!("entry {from} is to be truncated but entries below {committed} are committed");
            return self.parts.files.or_fail("truncating", Err(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let written = self.end();
        if from >= written.number {
            return Ok(());
        }
        let parts = self.parts.clone();
        // Held until a failure is kept: no pass may repeat a sync that failed here.
        let _no_pass = parts.flusher.hold();
        let cut = parts.files.writing(|| self.remove_from(from));
        let cut = parts.files.or_fail("truncating", cut)?;
        self.parts.progress.set_end(cut.index);
        let (group, entries) = (parts.files.group(), written.number - from);
        tracing::info!(%group, from, entries, position = cut.position,
            "truncated entries that conflict with the leader's");
        Ok(())
    }

    /// Removes the entries from number `from` on, and returns the new end. To be called with the flush held.
    fn remove_from(&mut self, from: u64) -> io::Result<Cursor> {
        let parts = self.parts.clone();
        let written = self.end().position;
        // Read before readers have to wait: the disk may be slow, and only this writer changes the entries.
        let (keep, last) = {
            let segments = parts.segments.read();
            let keep = segments.partition_point(|segment| segment.start().number < from).max(1);
            (keep, segments.get(keep - 1).cloned())
        };
        let last = last.ok_or_else(|| io::Error::other("the log has entries but no segment"))?;
        let cut = match last.entry_header(from).map_err(io::Error::other)? {
            Some(header) => {
                before(last.entry_header(from.wrapping_sub(1)).map_err(io::Error::other)?, &header, last.start())
            }
            // The next segment began with `from`: this one stays as it is, unsealed.
            None => last.end(),
        };
        // Behind the blank of a sealed segment there are zeros.
        let sealed = (last.end().position + BLANK_HEADER as u64).min(last.end_position());
        let mut segments = parts.segments.write();
        parts.uncommitted.truncate(from);
        parts.flusher.lower_durable(cut.point())?;
        let removed = segments.split_off(keep);
        // Later segments go first: after a crash in between, the log merely ends earlier.
        removed.iter().rev().try_for_each(|segment| parts.files.remove_segment(segment))?;
        remove_if_there(parts.files.disk().as_ref(), &parts.files.directory().index(last.position()))?;
        if !removed.is_empty() {
            parts.files.directory().sync()?;
        }
        parts.sparse.look_at(&last, reserve(parts.files.segment_size()))?;
        self.active = Ok(ActiveSegment::resume(last.clone()));
        self.active()?.truncate(from, cut, if removed.is_empty() { written } else { sealed })?;
        last.sync()?;
        Ok(cut)
    }

    fn write(&mut self, frame: Frame) -> io::Result<()> {
        let files = self.parts.files.clone();
        let written = files.writing(|| self.active().and_then(|active| active.append(&frame)));
        files.or_fail("writing", written)?;
        self.parts.uncommitted.push(frame);
        self.parts.progress.set_end(self.end().index);
        self.prepare_ahead();
        Ok(())
    }

    /// Rolls to the next segment if an entry of this length and kind does not have its place in the active one
    /// ([`crate::format::roll`]).
    pub(in crate::log) fn make_room(&mut self, length: usize, kind: EntryKind) -> io::Result<()> {
        self.parts.files.check()?;
        if kind == EntryKind::Roll {
            // `Capacity::ready_for_rolls` has made sure that there is room for this.
            let files = &self.parts.files;
            files.or_fail("raising the format version", files.directory().raise(files.disk().as_ref()))?;
        }
        let largest = largest(self.parts.files.segment_size());
        if length as u64 > largest {
            let why = format!("an entry of {length} bytes does not fit into a segment, which takes {largest}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if let Err(next) = self.active {
            self.secure_spare()?;
            self.begin(next)?;
        }
        // A log may begin near the end of a segment: its first entry may not fit either.
        if self.active()?.takes(length, kind) { Ok(()) } else { self.roll() }
    }

    fn roll(&mut self) -> io::Result<()> {
        self.secure_spare()?;
        let sealed = self.active().and_then(|active| {
            active.seal()?;
            Ok(active.segment().clone())
        });
        let sealed = self.parts.files.or_fail("ending a segment", sealed)?;
        self.begin(Cursor { position: sealed.end_position(), ..sealed.end() })?;
        self.parts.files.write_index(sealed);
        self.parts.spare.tell_of_segment();
        Ok(())
    }

    /// The only step of a roll that fails for want of room or of a descriptor. Nothing has changed then, so the next
    /// append can try again.
    pub(in crate::log) fn secure_spare(&self) -> io::Result<()> {
        match self.parts.spare.secure() {
            Err(error) if !is_transient(&error) => self.parts.files.or_fail("making a segment", Err(error)),
            secured => secured,
        }
    }

    /// Begins the first segment, in which `next` lies. Without room for it, the first append that finds room begins it.
    pub(in crate::log) fn begin_if_room(&mut self, next: Cursor) -> io::Result<()> {
        match self.secure_spare().and_then(|()| self.begin(next)) {
            Err(error) if is_transient(&error) => {
                tracing::warn!(group = %self.identity().group, %error,
                    "no room for the log's first segment: appends fail until there is room");
                Ok(())
            }
            begun => begun,
        }
    }

    /// Begins the segment in which `next` lies, behind all others. To be called after [`Log::secure_spare`].
    pub(in crate::log) fn begin(&mut self, next: Cursor) -> io::Result<()> {
        let active = self.begin_segment(next);
        let active = self.parts.files.or_fail("beginning a segment", active)?;
        // In this order: a flush pass that sees the segment then also syncs its name.
        self.parts.flusher.files_changed();
        self.parts.segments.write().push(active.segment().clone());
        self.active = Ok(active);
        Ok(())
    }

    fn begin_segment(&self, next: Cursor) -> io::Result<ActiveSegment> {
        let files = &self.parts.files;
        let size = files.segment_size();
        let path = files.directory().segment(next.position / size * size);
        let file = self.parts.spare.take(&path)?;
        ActiveSegment::begin(files.disk().clone(), path, file, size, next)
    }

    /// Has the spare made once the active segment is half full.
    fn prepare_ahead(&self) {
        let Ok(active) = &self.active else { return };
        let segment = active.segment();
        if segment.end().position - segment.position() >= self.parts.files.segment_size() / 2 {
            self.parts.spare.want();
        }
    }
}

/// What entry `header` continued: the entry before it, or the start of its segment.
fn before(previous: Option<EntryHeader>, header: &EntryHeader, start: Cursor) -> Cursor {
    let (term, timestamp) = previous.map_or((start.term, start.timestamp), |p| (p.term, p.timestamp));
    Cursor {
        position: header.position,
        number: header.number,
        index: header.index,
        term,
        timestamp,
        chain: header.previous,
    }
}
