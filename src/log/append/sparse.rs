//! [`Sparse`]: a copied active segment that lacks blocks.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::admission::NoRoom;
use super::spare::is_due;
use crate::disk::{is_exhausted, is_full};
use crate::format::segment::BLANK_HEADER;
use crate::segment::Segment;

/// The active segment, while it lacks blocks: an operator copied it without the blocks of zeros, and the disk is full.
#[derive(Default)]
pub(in crate::log) struct Sparse(Mutex<Option<Lacking>>);

struct Lacking {
    segment: Arc<Segment>,
    /// The time of the last attempt to allocate the blocks, milliseconds.
    at: Option<u64>,
    why: NoRoom,
}

/// The error of an allocation of `segment`'s missing blocks, in words.
fn lacks(segment: &Segment, error: &io::Error) -> NoRoom {
    let file = segment.path().display();
    let why = if is_full(error) {
        format!("no room for the blocks of {file}, which is a copy without them: {error}")
    } else {
        format!("blocks of {file}, which is a copy without them, cannot be allocated: {error}")
    };
    NoRoom { why, process: is_exhausted(error) }
}

impl Sparse {
    fn state(&self) -> MutexGuard<'_, Option<Lacking>> {
        self.0.lock()
    }

    /// Allocates the missing blocks of `segment`, which is written to from now on, or remembers that there is no room
    /// for them. `reserve`: bytes that Raft's own entries may take although there is no room.
    ///
    /// # Errors
    /// If there is no room even for those, or the system fails.
    pub(in crate::log) fn look_at(&self, segment: &Arc<Segment>, reserve: u64) -> io::Result<()> {
        let mut state = self.state();
        *state = None;
        let Err(error) = segment.allocate() else { return Ok(()) };
        if !is_full(&error) {
            return Err(error);
        }
        segment.allocate_next(reserve + BLANK_HEADER as u64)?;
        tracing::warn!(file = %segment.path().display(), %error,
            "the disk has no room for blocks that this copied segment lacks");
        *state = Some(Lacking { segment: segment.clone(), at: None, why: lacks(segment, &error) });
        Ok(())
    }

    /// Makes sure that the blocks are there, unless an attempt failed a moment ago.
    pub(in crate::log) fn filled(&self, now: u64) -> Result<(), NoRoom> {
        let mut state = self.state();
        let Some(lacking) = &mut *state else { return Ok(()) };
        if !is_due(lacking.at, now) {
            return Err(lacking.why.clone());
        }
        match lacking.segment.allocate() {
            Ok(()) => *state = None,
            Err(error) => {
                lacking.at = Some(now);
                lacking.why = lacks(&lacking.segment, &error);
                return Err(lacking.why.clone());
            }
        }
        Ok(())
    }

    pub(in crate::log) fn failure(&self) -> Option<NoRoom> {
        self.state().as_ref().map(|lacking| lacking.why.clone())
    }

    /// Forgets the segment, because the log writes nothing to it any more.
    pub(in crate::log) fn forget(&self) {
        *self.state() = None;
    }
}
