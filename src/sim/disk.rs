//! A simulated disk: live state, which a process sees, and durable state, which a power loss leaves.
//!
//! A [`SimDisk`] is what one *life* of a machine sees. A power loss or the death of the process ends the life; whatever
//! a dead node still holds (files, mappings, queued flushes) fails or writes to memory nobody reads any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::{Inode, SimFile, lock};
use super::rng::Rng;
use crate::disk::{Disk, DiskFile, Space};

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Open,
    Read,
    Write,
    WriteAtomic,
    Map,
    Sync,
    SyncDir,
    Rename,
    Remove,
    List,
    Lock,
}

/// A disk as one life of its machine sees it.
#[derive(Clone)]
pub(crate) struct SimDisk {
    machine: Arc<Machine>,
    life: u64,
}

/// The disk through all lives.
#[derive(Default)]
pub(super) struct Machine(Mutex<State>);

/// A disk without a capacity has so many bytes.
const UNLIMITED: u64 = 1 << 60;

type Names = BTreeMap<PathBuf, Arc<Inode>>;

#[derive(Default)]
struct State {
    life: u64,
    live: Names,
    durable: Names,
    /// What was done to names since the directory was last synced, in order.
    pending: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    /// Bytes that all files may have; `None`: no end of them.
    capacity: Option<u64>,
    /// Calls of this kind on files wait for the gate.
    held: Option<(Op, Arc<Mutex<()>>)>,
}

struct Fault {
    op: Op,
    /// Calls that still succeed.
    after: u64,
    kind: io::ErrorKind,
}

#[derive(Clone)]
enum NameChange {
    Add(PathBuf, Arc<Inode>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Arc<Inode>),
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    fn apply(self, names: &mut Names) {
        match self {
            Self::Add(path, inode) => drop(names.insert(path, inode)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}

impl Machine {
    /// Whether `life` is the present one.
    pub(super) fn is(&self, life: u64) -> bool {
        lock(&self.0).life == life
    }

    /// Every call passes here: the dead fail, and so do the calls that are told to.
    pub(super) fn call(&self, life: u64, op: Op) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.call(life, op)?;
        let held = state.held.clone().filter(|(held, _)| *held == op);
        drop(state);
        // Whoever has the gate locked decides when it goes on.
        held.into_iter().for_each(|(_, gate)| drop(lock(&gate)));
        Ok(())
    }
}

impl State {
    fn call(&mut self, life: u64, op: Op) -> io::Result<()> {
        if self.life != life {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "this life of the machine is over"));
        }
        let Some(at) = self.faults.iter().position(|fault| fault.op == op) else { return Ok(()) };
        match self.faults[at].after.checked_sub(1) {
            Some(after) => {
                self.faults[at].after = after;
                Ok(())
            }
            None => Err(self.faults.remove(at).kind.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<Arc<Inode>> {
        self.live.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    fn sync_dir(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.touches(dir) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Bytes that may still be allocated.
    fn available(&self) -> u64 {
        self.capacity.unwrap_or(UNLIMITED).saturating_sub(self.used())
    }

    fn used(&self) -> u64 {
        self.live.values().map(|inode| inode.size()).sum()
    }

    fn next_life(&mut self) -> u64 {
        self.locked.clear();
        self.faults.clear();
        self.life += 1;
        self.life
    }
}

impl SimDisk {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self { machine: Arc::default(), life: 0 }
    }

    /// Power loss. Returns the disk as the next life finds it: of what was not synced, a random part.
    ///
    /// # Errors
    /// If this machine has no memory left.
    pub(crate) fn crash(&self, rng: &mut Rng) -> io::Result<Self> {
        let mut state = lock(&self.machine.0);
        // A journal keeps the order of name changes: a prefix of them is on the disk.
        let kept = rng.below(state.pending.len() as u64 + 1) as usize;
        let pending = std::mem::take(&mut state.pending);
        pending.into_iter().take(kept).for_each(|change| change.apply(&mut state.durable));
        let written = [0, 500, 950, 1000][rng.below(4) as usize];
        let mut names = Names::new();
        for (path, inode) in &state.durable {
            names.insert(path.clone(), inode.after_crash(rng, written)?);
        }
        (state.live, state.durable) = (names.clone(), names);
        Ok(Self { machine: self.machine.clone(), life: state.next_life() })
    }

    /// The process dies, the machine lives on. Returns the disk as the next process finds it: nothing is lost.
    ///
    /// # Errors
    /// If this machine has no memory left.
    pub(crate) fn kill(&self) -> io::Result<Self> {
        let mut state = lock(&self.machine.0);
        // One file may have a live and another durable name, or stand in a pending change: it stays one file.
        let mut reborn: Vec<(Arc<Inode>, Arc<Inode>)> = Vec::new();
        let mut again = |old: &mut Arc<Inode>| -> io::Result<()> {
            if let Some((_, new)) = reborn.iter().find(|(known, _)| Arc::ptr_eq(known, old)) {
                *old = new.clone();
                return Ok(());
            }
            let new = old.after_kill()?;
            reborn.push((std::mem::replace(old, new.clone()), new));
            Ok(())
        };
        let State { live, durable, pending, .. } = &mut *state;
        live.values_mut().try_for_each(&mut again)?;
        durable.values_mut().try_for_each(&mut again)?;
        for change in pending {
            match change {
                NameChange::Add(_, inode) | NameChange::Rename(_, _, inode) => again(inode)?,
                NameChange::Remove(_) => {}
            }
        }
        Ok(Self { machine: self.machine.clone(), life: state.next_life() })
    }

    /// Has one call of `op` fail: the one after `n` more have succeeded. Forgotten at the end of this life.
    pub(crate) fn fail_nth(&self, op: Op, n: u64, kind: io::ErrorKind) {
        lock(&self.machine.0).faults.push(Fault { op, after: n, kind });
    }

    /// Gives the disk so many bytes from now on, in all its lives. What is there stays.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.machine.0).capacity = bytes;
    }

    /// Has calls of `op` on files wait while somebody has `gate` locked.
    #[cfg(test)]
    pub(crate) fn hold(&self, op: Op, gate: Arc<Mutex<()>>) {
        lock(&self.machine.0).held = Some((op, gate));
    }

    /// Bytes that files have.
    pub(crate) fn used(&self) -> u64 {
        lock(&self.machine.0).used()
    }

    /// No call fails any more.
    pub(crate) fn mend(&self) {
        lock(&self.machine.0).faults.clear();
    }

    fn file(&self, inode: Arc<Inode>) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { inode, machine: self.machine.clone(), life: self.life })
    }

    fn state(&self, op: Op) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = lock(&self.machine.0);
        state.call(self.life, op)?;
        Ok(state)
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state(Op::SyncDir)?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state(Op::Lock)?;
        if !state.locked.insert(file.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !state.live.contains_key(file) {
            state.change(NameChange::Add(file.to_owned(), Inode::zeros(0)?));
        }
        Ok(Box::new(Locked { machine: self.machine.clone(), life: self.life, file: file.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state(Op::List)?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.live.keys().chain(&state.dirs).filter(|path| path.parent() == Some(dir));
        let names: BTreeSet<_> = inside.filter_map(|path| path.file_name()).collect();
        Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state(Op::Read)?.find(file)?.live())
    }

    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state(Op::WriteAtomic)?;
        // The old content stays until the new one is there.
        if bytes.len() as u64 > state.available() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change(NameChange::Add(file.to_owned(), Inode::durable(bytes.to_vec())?));
        if let Some(dir) = file.parent() {
            state.sync_dir(dir);
        }
        Ok(())
    }

    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state(Op::Create)?;
        if state.live.contains_key(file) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if size > state.available() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = Inode::zeros(usize::try_from(size).map_err(io::Error::other)?)?;
        state.change(NameChange::Add(file.to_owned(), inode.clone()));
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.state(Op::Open)?.find(file)?;
        inode.refresh()?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state(Op::Rename)?;
        let inode = state.find(from)?;
        state.change(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state(Op::Remove)?;
        state.find(file)?;
        state.change(NameChange::Remove(file.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state(Op::SyncDir)?.sync_dir(dir);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state(Op::List)?;
        Ok(Space { total: state.capacity.unwrap_or(UNLIMITED), available: state.available() })
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated disk in life {}", self.life)
    }
}

/// A lock, while its holder lives.
struct Locked {
    machine: Arc<Machine>,
    life: u64,
    file: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = lock(&self.machine.0);
        if state.life == self.life {
            state.locked.remove(&self.file);
        }
    }
}
