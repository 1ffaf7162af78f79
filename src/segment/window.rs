//! A moving window over a file: few reads for many small looks.

use std::io;

use crate::disk::{DiskFile, is_bad_sector};

/// Reads a file from its start to its end, mostly.
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    /// Bytes of a read, unless the caller wants more.
    read: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) const READ: usize = 256 * 1024;

    /// Bytes of a read for callers that look at single places.
    const SMALL: usize = 4096;

    pub(super) fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, read: Self::READ, start: 0, bytes: Vec::new() }
    }

    /// A window that reads little more than its caller asks for.
    pub(super) fn small(file: &'a dyn DiskFile) -> Self {
        Self { read: Self::SMALL, ..Self::new(file) }
    }

    /// `length` bytes at `offset`; `None` past the end of the file.
    pub(super) fn fetch(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let size = self.file.size();
        if offset.checked_add(length as u64).is_none_or(|end| end > size) {
            return Ok(None);
        }
        let inside = offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            match self.fill(offset, length.max(self.read).min((size - offset) as usize)) {
                // A bad sector behind the bytes that the caller wants must not fail this call.
                Err(error) if is_bad_sector(&error) => self.fill(offset, length)?,
                filled => filled?,
            }
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + length]))
    }

    fn fill(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(length, 0);
        self.start = offset;
        self.file.read_at(&mut bytes, offset)?;
        self.bytes = bytes;
        Ok(())
    }
}
