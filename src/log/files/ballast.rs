//! Blocks set aside so that the start of the log can be recorded on a full disk.

use std::io;

use super::directory::Directory;
use super::log_files::remove_if_there;
use super::names;
use crate::disk::{Disk, is_full};

/// Bytes of the ballast: several times those of a start file, which a purge must write on a full disk.
const SIZE: u64 = 64 << 10;

/// The ballast file of a directory.
pub(crate) struct Ballast<'a> {
    disk: &'a dyn Disk,
    directory: &'a Directory,
}

impl<'a> Ballast<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, directory: &'a Directory) -> Self {
        Self { disk, directory }
    }

    /// Does `write`, which replaces a small file. On a full disk, removes the ballast and tries again: a purge frees
    /// room, so it must not fail for want of room.
    pub(crate) fn write(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(error) if is_full(&error) => {
                remove_if_there(self.disk, &self.directory.file(names::BALLAST))?;
                write()?;
                // Made again at once, from the blocks of the replaced file and of the old ballast: a reset writes the
                // start file twice before it removes anything else.
                self.make();
                Ok(())
            }
            written => written,
        }
    }

    /// Makes the ballast if it is not there. A failure is only logged: the next purge tries again.
    pub(crate) fn make(&self) {
        if let Err(error) = self.secure() {
            let path = self.directory.file(names::BALLAST);
            tracing::warn!(file = %path.display(), %error, "cannot set blocks aside for a purge on a full disk");
        }
    }

    /// Makes sure that the ballast is there, with its blocks.
    ///
    /// # Errors
    /// If there is no room for it, or the system fails.
    pub(crate) fn secure(&self) -> io::Result<()> {
        let path = self.directory.file(names::BALLAST);
        match self.disk.create(&path, SIZE) {
            // In a copied directory the file may lack its blocks.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let ballast = self.disk.open(&path)?;
                ballast.allocate(0..ballast.size())
            }
            made => made.map(drop),
        }
    }
}
