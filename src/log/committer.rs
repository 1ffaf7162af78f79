//! The right to declare entries committed, and to save what Raft knows of them.

use std::io;
use std::sync::Arc;

use super::Parts;
use super::reader::LogReader;
use crate::error::Damage;
use crate::segment::after;

/// Commits entries. Raft's state machine holds it, and the writer for what it purges.
#[derive(Clone)]
pub(crate) struct Committer {
    parts: Arc<Parts>,
}

impl Committer {
    pub(in crate::log) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    /// Declares entry `number` and all before it committed: they never change again, and readers may see them.
    ///
    /// # Errors
    /// If the entry is damaged.
    pub(crate) fn commit(&self, number: u64) -> Result<(), Damage> {
        let Parts { segments, progress, uncommitted, flusher, .. } = &*self.parts;
        let before = progress.commit_point();
        // Only spares the lookup; `set_committed` decides.
        if number < before.number {
            return Ok(());
        }
        // Where the log lacks the entry, a snapshot replaced it: the log begins behind it.
        let Some(header) = self.reader().entry_header(number)? else { return Ok(()) };
        let end = after(&header);
        segments.freeze(before.position, end.position);
        progress.set_committed(end.point());
        uncommitted.forget_below(end.number);
        flusher.release_settled();
        Ok(())
    }

    /// Saves Raft's metadata snapshot. Durable on return.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn save_snapshot(&self, snapshot: Vec<u8>) -> io::Result<()> {
        self.parts.start.save_snapshot(snapshot)
    }

    /// Reads the same log.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader::new(self.parts.clone())
    }
}
