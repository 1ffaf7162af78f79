//! Checks entries again after a peer refused them as damaged.
//!
//! A segment verifies an entry once, not at every read. If a bit flips under a running node, on the disk or in the page
//! cache, the peer that receives the entry is the next to check it.

use std::io;
use std::ops::Range;

use super::health::Health;
use crate::disk::is_bad_sector;
use crate::error::Damage;

/// Entries checked after one refusal, at most: as many as one replication request may carry.
const MOST: u64 = 4096;

/// The damage of a refused entry: the peer was right.
#[derive(Debug, Clone)]
pub(crate) struct ConfirmedDamage {
    pub(crate) damage: Damage,
    /// Whether the segment can be repaired while the log is open.
    pub(crate) repairable: bool,
}

impl Health {
    /// Verifies the entries `numbers` again, both as readers and peers get them and as they lie on the disk, past the
    /// page cache where the disk allows that. Notes and returns the first damage. If the entry's bytes are wrong, the
    /// segment verifies it again before the next read returns it.
    ///
    /// # Errors
    /// If the system fails for a reason other than a bad sector.
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
