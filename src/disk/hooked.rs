//! The file system, with calls that a test watches, replaces or makes fail.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::real::RealDisk;
use super::{Disk, DiskDir, DiskFile, Mapping, Space, TEMPORARY};

type OnRead = dyn Fn(&Path, Range<u64>) -> io::Result<()> + Send + Sync;
type Bytes = (PathBuf, Range<u64>);
type Name = Mutex<PathBuf>;
type OnOpen = dyn Fn(&Path) -> io::Result<()> + Send + Sync;
type OnAllocate = dyn Fn(Range<u64>) -> io::Result<()> + Send + Sync;
type BeforeRename = dyn Fn(&Path, &Path) -> io::Result<()> + Send + Sync;
type BeforeSync = dyn Fn(&Path, &dyn DiskFile) -> io::Result<()> + Send + Sync;

/// [`RealDisk`], except for the calls that a test hooks with one of the constructors.
#[derive(Clone, Default)]
pub(crate) struct HookedDisk {
    on_read: Option<Arc<OnRead>>,
    on_open: Option<Arc<OnOpen>>,
    on_allocate: Option<Arc<OnAllocate>>,
    before_sync: Option<Arc<BeforeSync>>,
    before_rename: Option<Arc<BeforeRename>>,
    /// The file that has a bad sector, and the bytes of it that cannot be read.
    bad: Arc<Mutex<Option<Bytes>>>,
    no_sync: bool,
    /// The names of open files, which a rename changes: hooks get the present name.
    names: Arc<Mutex<Vec<Weak<Name>>>>,
}

/// Bytes of a page, which the system reads and writes as a whole.
const PAGE: u64 = 4096;

impl HookedDisk {
    /// Calls `check` before it reads bytes of a file; an error of `check` fails the read.
    pub(crate) fn on_read(check: impl Fn(&Path, Range<u64>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { on_read: Some(Arc::new(check)), ..Self::default() }
    }

    /// Calls `check` before it opens or creates a file; an error of `check` fails the call.
    pub(crate) fn on_open(check: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { on_open: Some(Arc::new(check)), ..Self::default() }
    }

    /// Calls `check` before it allocates blocks of an existing file; an error of `check` fails the allocation.
    pub(crate) fn on_allocate(check: impl Fn(Range<u64>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { on_allocate: Some(Arc::new(check)), ..Self::default() }
    }

    /// Calls `act` before it syncs a file; an error of `act` fails the sync.
    pub(crate) fn before_sync(act: impl Fn(&Path, &dyn DiskFile) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { before_sync: Some(Arc::new(act)), ..Self::default() }
    }

    /// Calls `act` before it renames or replaces a file; an error of `act` fails the call.
    pub(crate) fn before_rename(act: impl Fn(&Path, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::default().and_before_rename(act)
    }

    /// As [`HookedDisk::before_rename`], and keeps the other hooks.
    pub(crate) fn and_before_rename(
        self,
        act: impl Fn(&Path, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { before_rename: Some(Arc::new(act)), ..self }
    }

    /// Reads of these bytes of `file` fail until one write covers all of their pages. A write of a part of those pages
    /// fails too, because the system reads a page before it writes a part of it.
    pub(crate) fn with_bad_sector(file: PathBuf, bytes: Range<u64>) -> Self {
        Self { bad: Arc::new(Mutex::new(Some((file, bytes)))), ..Self::default() }
    }

    /// Whether the bad sector is still there.
    pub(crate) fn is_bad(&self) -> bool {
        self.bad.lock().is_some()
    }

    fn check_read(&self, file: &Path, range: Range<u64>) -> io::Result<()> {
        match &*self.bad.lock() {
            Some((bad, bytes)) if bad == file && range.start < bytes.end && range.end > bytes.start => {
                Err(rustix::io::Errno::IO.into())
            }
            _ => Ok(()),
        }
    }

    fn check_write(&self, file: &Path, range: Range<u64>) -> io::Result<()> {
        let mut state = self.bad.lock();
        let Some((bad, bytes)) = &*state else { return Ok(()) };
        let pages = bytes.start / PAGE * PAGE..bytes.end.next_multiple_of(PAGE);
        if bad != file || range.start >= pages.end || range.end <= pages.start {
            return Ok(());
        }
        if range.start > pages.start || range.end < pages.end {
            return Err(rustix::io::Errno::IO.into());
        }
        *state = None;
        Ok(())
    }

    /// Reports every sync as done and does none: for tests that do not depend on durability and run faster without.
    pub(crate) fn without_syncs() -> Self {
        Self { no_sync: true, ..Self::default() }
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let name = Arc::new(Mutex::new(path.to_owned()));
        self.names.lock().push(Arc::downgrade(&name));
        Arc::new(HookedFile { disk: self.clone(), name, file })
    }

    fn check_open(&self, file: &Path) -> io::Result<()> {
        self.on_open.as_ref().map_or(Ok(()), |check| check(file))
    }
}

impl Disk for HookedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if self.no_sync { std::fs::create_dir_all(dir) } else { RealDisk.create_dir(dir) }
    }
    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(file)
    }
    fn holder(&self, file: &Path) -> Option<u32> {
        RealDisk.holder(file)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.check_read(file, 0..u64::MAX)?;
        RealDisk.read(file)
    }
    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(act) = &self.before_rename {
            act(file, file)?;
        }
        if !self.no_sync {
            return RealDisk.write_atomic(file, bytes);
        }
        let mut temporary = file.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(temporary, file)
    }
    fn write_cache(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        RealDisk.write_cache(file, bytes)
    }
    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.check_open(file)?;
        Ok(self.file(file, RealDisk.create(file, size)?))
    }
    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check_open(file)?;
        Ok(self.file(file, RealDisk.open(file)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if let Some(act) = &self.before_rename {
            act(from, to)?;
        }
        RealDisk.rename(from, to)?;
        self.names.lock().retain(|name| {
            let Some(name) = name.upgrade() else { return false };
            let mut name = name.lock();
            if *name == from {
                *name = to.to_owned();
            }
            true
        });
        Ok(())
    }
    fn remove(&self, file: &Path) -> io::Result<()> {
        RealDisk.remove(file)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.no_sync { Ok(()) } else { RealDisk.sync_dir(dir) }
    }
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>> {
        Ok(Arc::new(HookedDir { disk: self.clone(), path: dir.to_owned() }))
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealDisk.space(dir)
    }
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk for a test")
    }
}

#[derive(Debug)]
struct HookedDir {
    disk: HookedDisk,
    path: PathBuf,
}

impl DiskDir for HookedDir {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.path)
    }
}

#[derive(Debug)]
struct HookedFile {
    disk: HookedDisk,
    name: Arc<Name>,
    file: Arc<dyn DiskFile>,
}

impl HookedFile {
    fn path(&self) -> PathBuf {
        self.name.lock().clone()
    }
}

impl DiskFile for HookedFile {
    fn size(&self) -> u64 {
        self.file.size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(check) = &self.disk.on_read {
            check(&self.path(), offset..offset + buffer.len() as u64)?;
        }
        self.disk.check_read(&self.path(), offset..offset + buffer.len() as u64)?;
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check_write(&self.path(), offset..offset + bytes.len() as u64)?;
        self.file.write_at(bytes, offset)
    }
    fn allocate(&self, range: Range<u64>) -> io::Result<()> {
        if let Some(check) = &self.disk.on_allocate {
            check(range.clone())?;
        }
        self.file.allocate(range)
    }
    fn map(&self) -> io::Result<Mapping> {
        self.file.map()
    }
    fn sync(&self) -> io::Result<()> {
        if let Some(act) = &self.disk.before_sync {
            act(&self.path(), self.file.as_ref())?;
        }
        if self.disk.no_sync { Ok(()) } else { self.file.sync() }
    }
}
