//! The file system, for a program that must not change it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::real::RealDisk;
use super::{Disk, DiskDir, DiskFile, Space, lock};

/// The operating system's files, opened for reading. Every call that would make, change or remove one fails.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadOnlyDisk;

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this directory is open for reading only"))
}

impl Disk for ReadOnlyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    /// A shared lock: all readers hold it together, and it keeps a writer out, which needs the lock for itself alone.
    /// The file must exist.
    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = RealDisk.open_to_read(file)?;
        lock::hold(file, FlockOperation::NonBlockingLockShared)
    }

    fn holder(&self, file: &Path) -> Option<u32> {
        RealDisk.holder(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(file)
    }

    fn write_atomic(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn write_cache(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn create(&self, _: &Path, _: u64) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.reading(file)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn open_dir(&self, _: &Path) -> io::Result<Arc<dyn DiskDir>> {
        refused()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealDisk.space(dir)
    }
}
