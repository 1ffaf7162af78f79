//! Where bytes live: the only code that talks to the operating system about files.
//!
//! | file | what it is |
//! |---|---|
//! | [`limits`] | how many files a process may have open |
//! | [`lock`] | a lock on a file, which ends when its holder drops it |
//! | [`mapping`] | mapped memory: all `unsafe` of the crate, with the argument why it is sound |
//! | [`owner`] | who owns the files that this process makes |
//! | [`real`] | the file system |
//! | [`read_only`] | the file system, for a program that must not change it |
//! | `reserve` | descriptors kept in reserve for writes that must not fail for want of one |
//! | `hooked` | the file system, with calls that a test replaces |
//! | `sim` | a disk in memory, for tests: it loses what was not synced |
//! | `tests/` | the longer tests |

#[cfg(test)]
pub(crate) mod hooked;
pub mod limits;
mod lock;
pub(crate) mod mapping;
pub(crate) mod owner;
pub(crate) mod read_only;
pub(crate) mod real;
mod reserve;
#[cfg(feature = "internals")]
pub(crate) mod sim;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub(crate) use mapping::{Alive, Mapping};

/// Ending of the file that [`Disk::write_atomic`] writes before it renames; a crash may leave one.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A file system.
///
/// To ensure correctness:
/// - what `sync`, `sync_dir` and `write_atomic` returned `Ok` for survives a crash; nothing else need;
/// - after an error of a sync the state of the data is unknown: callers never retry it, they stop;
/// - `create` really allocates: a full disk is an error here, never a fault at a later write to the mapping.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a directory and its parents, durably. Syncs their names also if they exist already: the process that made
    /// them may have died before it did.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks the file until the caller drops the returned value. `WouldBlock` if another process holds it.
    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// The process that holds the lock file, where the system tells.
    fn holder(&self, _file: &Path) -> Option<u32> {
        None
    }
    /// Names in a directory, in ascending order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A whole small file.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a small file: after a crash it is the old one or the new one. Durable on return.
    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Replaces a small file that can be made again: readers see the old one or the new one. After a crash it may be
    /// gone, or have any bytes.
    fn write_cache(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// A new file of `size` allocated zero bytes. `AlreadyExists` if there is one.
    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file.
    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, read past the page cache where the file system supports that: the cache may still hold good
    /// copies of pages that the disk has lost.
    fn open_direct(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(file)
    }
    /// Renames a file. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The directory, so that syncing it needs no further descriptor.
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>>;
    /// How full the file system of a directory is.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are in use or available to this process.
    pub(crate) total: u64,
    /// Bytes that this process may still allocate, without those kept for the administrator.
    pub(crate) available: u64,
}

impl Space {
    /// As `df` computes it, without the blocks kept for the administrator. `block` is the size of a block; the rest are
    /// numbers of blocks.
    pub(crate) fn of(block: u64, all: u64, free: u64, available: u64) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        Self { total: bytes(all.saturating_sub(free).saturating_add(available)), available: bytes(available) }
    }

    /// The used part of the whole if `taken` more bytes were used.
    pub(crate) fn used_ratio(&self, taken: i128) -> f64 {
        if self.total == 0 {
            return 1.0;
        }
        let used = i128::from(self.total) - i128::from(self.available) + taken;
        used.max(0) as f64 / self.total as f64
    }
}

/// The error of a failed sync. No caller retries a sync, so this error must not look like a disk that is merely full.
pub(crate) fn sync_failed(error: io::Error) -> io::Error {
    if is_transient(&error) { io::Error::other(error) } else { error }
}

/// Whether a call failed for want of room, descriptors or memory, which may be there again later: the disk is sound.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    is_full(error) || is_exhausted(error)
}

/// Whether a call failed because this process, or the system, has no descriptor or no memory mapping left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let descriptors = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|raw| descriptors.contains(&raw)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Whether a call failed because the file system, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An open file of fixed size.
pub trait DiskFile: Send + Sync + Debug + 'static {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Fills `buffer` from `offset`. A bad sector is an error here, where a mapping would fault.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Allocates the blocks of `range` that the file lacks: a copied file may lack those that held zeros.
    fn allocate(&self, range: Range<u64>) -> io::Result<()>;
    /// Maps the whole file for reading. The mapping shows at once what `write_at` writes.
    fn map(&self) -> io::Result<Mapping>;
    /// Makes everything written durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open directory.
pub trait DiskDir: Send + Sync + Debug + 'static {
    /// As [`Disk::sync_dir`].
    fn sync(&self) -> io::Result<()>;
}

/// Whether the medium failed a read, and not the system: these bytes are lost, the rest of the disk need not be.
pub(crate) fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
