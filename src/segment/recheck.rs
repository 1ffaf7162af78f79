//! Verifies an entry again that a peer refuses as damaged.

use std::io;

use super::{EntryPlace, Segment};
use crate::disk::DiskFile;
use crate::error::Damage;
use crate::format::entry::ENTRY_HEADER;

impl Segment {
    /// Verifies entry `number` again: its bytes in memory, and those that `disk`, the file, has if they were synced,
    /// which is all before position `synced`. `None` if they are sound. Nothing is locked while they are read.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub(crate) fn recheck(&self, number: u64, disk: &dyn DiskFile, synced: u64) -> io::Result<Option<Damage>> {
        loop {
            let Some(spot) = self.place(number) else { return Ok(None) };
            let start = spot.range.start;
            let end = spot.range.end.max(start + ENTRY_HEADER);
            // What is mapped, but as an error where the disk cannot read.
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

    /// That the disk cannot read entry `number`.
    pub(crate) fn unreadable(&self, number: u64, error: &io::Error) -> Option<Damage> {
        Some(self.damage(&self.place(number)?, "read of the disk", error, "an entry"))
    }

    /// What is wrong with `bytes`, which are to be the entry at `spot`, and perhaps a blank behind it.
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
