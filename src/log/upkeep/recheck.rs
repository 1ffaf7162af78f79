//! Checks entries again that a peer refuses as damaged.
//!
//! A segment verifies an entry once, not at every read. If a bit flips under a running node, on the disk or in the page
//! cache, the peer that receives the entry is the next to check it.

use std::io;
use std::ops::Range;

use super::health::Health;
use crate::disk::is_bad_sector;
use crate::error::Damage;

/// Entries checked for one refusal, at most: what one replication request may carry.
const MOST: u64 = 4096;

/// A refused entry that is damaged indeed.
#[derive(Debug, Clone)]
pub(crate) struct ConfirmedDamage {
    pub(crate) damage: Damage,
    /// Whether the segment can be repaired while the log is open.
    pub(crate) repairable: bool,
}

impl Health {
    /// Looks at the entries `numbers` again: as readers and peers get them, and as they lie on the disk, past the page
    /// cache where that can be done. What is damaged is noted, and is not given to anybody any more. The first.
    ///
    /// # Errors
    /// If the system fails, for another reason than the medium.
    pub(crate) fn recheck(&self, numbers: Range<u64>) -> io::Result<Option<ConfirmedDamage>> {
        let numbers = numbers.start..numbers.end.min(numbers.start.saturating_add(MOST));
        let segments = self.segments().read().clone();
        let synced = self.flusher().durable_position();
        for segment in segments {
            let there = segment.start().number.max(numbers.start)..segment.end().number.min(numbers.end);
            if there.is_empty() {
                continue;
            }
            let disk = self.files().disk().open_direct(segment.path())?;
            for number in there {
                let found = match segment.recheck(number, disk.as_ref(), synced) {
                    Ok(found) => found,
                    Err(error) if is_bad_sector(&error) => segment.unreadable(number, &error),
                    Err(error) => return Err(error),
                };
                let Some(damage) = found else { continue };
                self.note_damage(&damage, &segment);
                let repairable = self.settled_segment(segment.position()).is_some();
                return Ok(Some(ConfirmedDamage { damage, repairable }));
            }
        }
        Ok(None)
    }
}
