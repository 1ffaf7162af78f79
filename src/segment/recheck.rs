//! Verifies an entry again that a peer refuses as damaged.

use std::io;

use super::{EntryPlace, Segment};
use crate::disk::DiskFile;
use crate::error::Damage;
use crate::format::entry::ENTRY_HEADER;

impl Segment {
    /// Verifies entry `number` again: the bytes in memory, and, if the entry ends at or before position `synced`, the
    /// bytes that `disk`, the same file, reads. `None` if they are sound. Reads without a lock.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub(crate) fn recheck(&self, number: u64, disk: &dyn DiskFile, synced: u64) -> io::Result<Option<Damage>> {
        loop {
            let Some(spot) = self.place(number) else { return Ok(None) };
            let start = spot.range.start;
            let end = spot.range.end.max(start + ENTRY_HEADER);
            // The same bytes as in the mapping, but an error where the disk cannot read them.
            let held = self.held().clone();
            let cached = held.map_or_else(|| self.disk.open(&self.path), Ok)?;
            let mut bytes = vec![0; end - start];
            cached.read_at(&mut bytes, start as u64)?;
            let mut found = self.unsound(&spot, &bytes);
            if found.is_none() && self.position() + end as u64 <= synced {
                disk.read_at(&mut bytes, start as u64)?;
                found = self.unsound(&spot, &bytes);
            }
            let Some(damage) = found else { return Ok(None) };
            let mut entries = self.entries_mut();
            if spot.is_in(&entries) {
                entries.clear_verified(spot.slot);
                return Ok(Some(damage));
            }
        }
    }

    /// The damage to report because the disk cannot read entry `number`; `None` if the entry is not in this segment.
    pub(crate) fn unreadable(&self, number: u64, error: &io::Error) -> Option<Damage> {
        Some(self.damage(&self.place(number)?, "read of the disk", error, "an entry"))
    }

    /// What is wrong with `bytes`, which should be the entry at `spot`, and perhaps a blank behind it.
    fn unsound(&self, spot: &EntryPlace, bytes: &[u8]) -> Option<Damage> {
        let header = match self.header_in(spot, bytes) {
            Ok(header) => header,
            Err(damage) => return Some(damage),
        };
        let wrong = match bytes.get(..header.length()) {
            Some(entry) => header.verify(entry).err()?.to_string(),
            None => format!("{} bytes", header.length()),
        };
        Some(self.damage(spot, "chain value", wrong, "the bytes written"))
    }
}
