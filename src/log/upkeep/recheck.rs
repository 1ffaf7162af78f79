//! Entries that a peer refuses as damaged: they are looked at again.
//!
//! What was verified once is not verified at every read. A bit that flips under a running node, on the disk or in the
//! page cache, is noticed where the bytes are checked next: by the peer that is sent them.

use std::io;
use std::ops::Range;

use crate::disk::is_bad_sector;
use crate::error::Damage;
use crate::log::reader::LogReader;
use crate::types::ClosedKind;

/// At most so many entries are looked at for one refusal.
const MOST: u64 = 4096;

/// Entries that are damaged.
#[derive(Debug, Clone)]
pub(crate) struct ConfirmedDamage {
    pub(crate) damage: Damage,
    /// Whether the segment is among those that can be repaired while the log is open.
    pub(crate) repairable: bool,
}

impl LogReader {
    /// A peer refuses one of the entries `numbers` as damaged.
    pub(crate) fn doubt(&self, numbers: Range<u64>) {
        self.shared.health.doubt(numbers);
    }

    /// Until entries are refused as damaged; which.
    pub(crate) async fn doubted(&self) -> Range<u64> {
        self.shared.health.doubted().await
    }

    /// Looks at the entries `numbers` again: as readers and peers get them, and as they lie on the disk, past the page
    /// cache where that can be done. What is damaged is noted, and is not given to anybody any more. The first.
    ///
    /// # Errors
    /// If the system fails, for another reason than the medium.
    pub(crate) fn recheck(&self, numbers: Range<u64>) -> io::Result<Option<ConfirmedDamage>> {
        let numbers = numbers.start..numbers.end.min(numbers.start.saturating_add(MOST));
        let segments = self.shared.segments().clone();
        let synced = self.shared.durable_position();
        for segment in segments {
            let there = segment.start().number.max(numbers.start)..segment.end().number.min(numbers.end);
            if there.is_empty() {
                continue;
            }
            let disk = self.shared.disk.open_direct(segment.path())?;
            for number in there {
                let found = match segment.recheck(number, disk.as_ref(), synced) {
                    Ok(found) => found,
                    Err(error) if is_bad_sector(&error) => segment.unreadable(number, &error),
                    Err(error) => return Err(error),
                };
                let Some(damage) = found else { continue };
                self.shared.note_damage(&damage, &segment);
                let repairable = self.shared.settled_segment(segment.position()).is_some();
                return Ok(Some(ConfirmedDamage { damage, repairable }));
            }
        }
        Ok(None)
    }

    /// The log takes nothing any more, for it is damaged.
    pub(crate) fn fail_damaged(&self, damage: &Damage) {
        let reason = format!("serving what is stored in {}: {damage}", self.shared.directory.path().display());
        self.shared.fail(ClosedKind::Damaged, reason);
    }
}
