//! A simulated disk: live state, which a process sees, and durable state, which a power loss leaves.
//!
//! A [`SimDisk`] is what one *life* of a machine sees. A power loss or the death of the process ends the life; whatever
//! a dead node still holds (files, mappings, queued flushes) fails or writes to memory nobody reads any more.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::file::{Inode, SimFile};
use super::machine::{Failure, Machine, NameChange, Op, Owner, State, UNLIMITED};
use crate::disk::{Disk, DiskDir, DiskFile, Space, TEMPORARY, sync_failed};

/// A disk as one life of its machine sees it.
#[derive(Clone)]
pub struct SimDisk {
    pub(super) machine: Arc<Machine>,
    pub(super) life: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self { machine: Arc::default(), life: 0 }
    }

    /// Has one call of `op` fail: the one after `n` more have succeeded. Forgotten at the end of this life.
    pub fn fail_nth(&self, op: Op, n: u64, kind: io::ErrorKind) {
        self.machine.state().fail(Some(op), n, kind, 0);
    }

    /// Ends the failures: calls succeed again.
    pub fn mend(&self) {
        self.machine.state().mend();
    }

    /// Sets the capacity to `bytes`, in all lives of the disk. Keeps the files that exist.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.state().capacity = bytes;
    }

    /// Calls of all lives that failed because the test planned it.
    pub fn fired(&self) -> u64 {
        self.machine.state().fired()
    }

    /// Calls of all lives that found no room, or were told that hardly any is left.
    pub fn found_full(&self) -> u64 {
        self.machine.state().full
    }

    /// Blocks that power losses took so far, and blocks that were on the disk although nothing had synced them.
    pub fn loss(&self) -> (u64, u64) {
        self.machine.state().loss
    }

    /// These bytes of a file as processes see them; `None` if there is no such file.
    pub fn live_bytes(&self, file: &Path, range: Range<u64>) -> Option<Vec<u8>> {
        Some(self.machine.state().names.live.get(file)?.live_bytes(range))
    }

    /// What a power loss now would leave of these bytes of a file; `None` if it might not even leave the file.
    pub fn durable_bytes(&self, file: &Path, range: Range<u64>) -> Option<Vec<u8>> {
        let state = self.machine.state();
        let live = state.names.live.get(file)?;
        let named = state.names.durable.get(file).is_some_and(|durable| Arc::ptr_eq(live, durable));
        named.then(|| live.durable_bytes(range))
    }

    /// Has calls of `op` wait while the test has `gate` locked.
    #[cfg(test)]
    pub fn hold(&self, op: Op, gate: Arc<parking_lot::Mutex<()>>) {
        self.machine.state().held = Some((op, gate));
    }

    /// Bytes of all files, also of those that lost their name and are still open or mapped.
    pub fn used(&self) -> u64 {
        self.machine.state().used()
    }

    fn file(&self, inode: Arc<Inode>) -> Arc<dyn DiskFile> {
        Arc::new(SimFile::new(inode, self.machine.clone(), self.life))
    }

    fn owner(&self) -> Owner {
        Owner { machine: Arc::downgrade(&self.machine), life: self.life }
    }

    fn call(&self, op: Op) -> Result<MutexGuard<'_, State>, Failure> {
        self.machine.call(self.life, op)
    }

    /// One step that changes a name.
    fn change(state: &mut State, change: NameChange) {
        state.change(change);
        state.end_step();
    }

    fn sync_names(state: &mut State, dir: &Path) {
        state.names.sync(dir);
        state.end_step();
    }

    /// Replaces a file in steps: a temporary file, its sync if `synced`, a rename.
    fn replace(&self, file: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
        let mut temporary = file.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        let temporary = PathBuf::from(temporary);
        let (mut state, written, failed) = match self.call(Op::WriteAtomic) {
            Ok(state) => (state, bytes, None),
            Err(short) if short.written > 0 => {
                let part = (bytes.len() as u64 * short.written / 1000) as usize;
                (self.machine.state(), &bytes[..part], Some(short.error))
            }
            Err(failure) => return Err(failure.error),
        };
        // The new content needs room beside the old one, which stays until the rename.
        if written.len() as u64 > state.available() {
            state.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = Inode::written(written.to_vec(), self.owner())?;
        Self::change(&mut state, NameChange::Add(temporary.clone(), inode.clone()));
        if let Some(error) = failed {
            return Err(error);
        }
        if synced {
            state.begin_step()?;
            inode.sync();
            state.end_step();
        }
        state.begin_step()?;
        Self::change(&mut state, NameChange::Rename(temporary, file.to_owned(), inode));
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call(Op::SyncDir)?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.call(Op::Lock)?;
        if !state.locked.insert(file.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !state.names.live.contains_key(file) {
            Self::change(&mut state, NameChange::Add(file.to_owned(), Inode::zeros(0, self.owner())?));
        }
        Ok(Box::new(Locked { machine: self.machine.clone(), life: self.life, file: file.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.call(Op::List)?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.live.keys().chain(&state.dirs).filter(|path| path.parent() == Some(dir));
        let names: BTreeSet<_> = inside.filter_map(|path| path.file_name()).collect();
        Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        Ok(self.call(Op::Read)?.find(file)?.live())
    }

    /// In the steps of `RealDisk`: a temporary file, its sync, a rename, the sync of the directory. If the last step
    /// fails, the file is replaced all the same, and a power loss may undo that.
    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(file, bytes, true)?;
        match file.parent() {
            Some(dir) => self.sync_dir(dir).map_err(sync_failed),
            None => Ok(()),
        }
    }

    fn write_cache(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(file, bytes, false)
    }

    /// In two steps: the name, then the blocks.
    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = match self.call(Op::Create) {
            Err(failure) => {
                self.machine.state().forgive(file, &failure.error);
                return Err(failure.error);
            }
            Ok(state) => state,
        };
        if state.names.live.contains_key(file) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if size > state.available() {
            state.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Self::change(&mut state, NameChange::Add(file.to_owned(), Inode::zeros(0, self.owner())?));
        state.begin_step()?;
        let inode = Inode::zeros(usize::try_from(size).map_err(io::Error::other)?, self.owner())?;
        Self::change(&mut state, NameChange::Add(file.to_owned(), inode.clone()));
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.call(Op::Open)?.find(file)?;
        inode.refresh()?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call(Op::Rename)?;
        let inode = state.find(from)?;
        Self::change(&mut state, NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut state = self.call(Op::Remove)?;
        state.find(file)?;
        Self::change(&mut state, NameChange::Remove(file.to_owned()));
        Ok(())
    }

    /// Removes nothing: this disk never forgets a directory.
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        drop(self.call(Op::Remove)?);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.call(Op::SyncDir) {
            Ok(mut state) => {
                Self::sync_names(&mut state, dir);
                Ok(())
            }
            Err(failure) => {
                let mut state = self.machine.state();
                if state.life == self.life {
                    state.names.sync_failed(dir);
                }
                Err(failure.error)
            }
        }
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>> {
        Ok(Arc::new(SimDir { disk: self.clone(), dir: dir.to_owned() }))
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let mut state = self.call(Op::List)?;
        // A caller that learns this may refuse work before a call fails for want of room.
        let nearly_full = state.capacity.is_some_and(|capacity| state.available() < capacity / 10);
        state.full += u64::from(nearly_full);
        Ok(Space { total: state.capacity.unwrap_or(UNLIMITED), available: state.available() })
    }
}

/// An open directory.
#[derive(Debug)]
struct SimDir {
    disk: SimDisk,
    dir: PathBuf,
}

impl DiskDir for SimDir {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated disk in life {}", self.life)
    }
}

/// A lock of one life. Dropping it frees the file, unless that life is over: its end has freed all locks.
struct Locked {
    machine: Arc<Machine>,
    life: u64,
    file: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        if state.life == self.life {
            state.locked.remove(&self.file);
        }
    }
}
