//! The machine behind a simulated disk: names of files, lives, the calls that are to fail, and the moment the power
//! goes.
//!
//! Everything that changes the disk is a *step*: a call that changes or syncs something, a part of such a call, or one
//! write to a mapping. The power can be made to go between any two steps; calls and writes after that reach nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};

use super::file::Inode;

/// A call that can be made to fail.
#[allow(missing_docs, reason = "each is named for the call")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
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

impl Op {
    /// Whether the call is or begins a step.
    fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Map | Self::List)
    }
}

/// Bytes of a disk without a capacity: more than any test writes.
pub(super) const UNLIMITED: u64 = 1 << 60;

/// The disk through all lives.
#[derive(Default)]
pub(super) struct Machine(Mutex<State>);

/// A machine in one of its lives.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) machine: Weak<Machine>,
    pub(super) life: u64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) life: u64,
    pub(super) names: Names,
    /// Files that lost their name while they were open or mapped.
    nameless: Vec<Arc<Inode>>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) power: Power,
    faults: Vec<Fault>,
    /// Calls of all lives that failed because the test planned it.
    fired: u64,
    /// Calls of all lives that found no room, or were told that hardly any is left.
    pub(super) full: u64,
    /// Blocks that power losses took, and blocks that were on the disk although nothing had synced them.
    pub(super) loss: (u64, u64),
    /// Planned failures after which a log must stop: all but a failed open, a full disk under a call that makes,
    /// replaces, maps or removes a file, and the failed creation of an expendable file.
    failures: u64,
    /// The name of a file that a log can do without.
    pub(super) expendable: Option<&'static str>,
    /// Bytes that all files together may have; `None`: no limit.
    pub(super) capacity: Option<u64>,
    /// Calls of this kind wait until the test unlocks the gate.
    pub(super) held: Option<(Op, Arc<Mutex<()>>)>,
}

/// Which file has which name.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) live: Files,
    pub(super) durable: Files,
    /// What was done to names since the directory was last synced, in order.
    pub(super) pending: Vec<NameChange>,
}

pub(super) type Files = BTreeMap<PathBuf, Arc<Inode>>;

#[derive(Clone)]
pub(super) enum NameChange {
    Add(PathBuf, Arc<Inode>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Arc<Inode>),
}

/// When the power goes.
#[derive(Default)]
pub(super) struct Power {
    /// Steps so far, of all lives.
    steps: u64,
    /// The number of steps after which the power goes.
    last: Option<u64>,
    /// The disk as the last step left it. The power goes when the next step begins: until then the process may tell
    /// others what the last step told it.
    left: Option<Names>,
}

/// Why a call fails.
pub(super) struct Failure {
    pub(super) error: io::Error,
    /// Thousandths of the bytes that are written before the call fails; of a file, only whole blocks.
    pub(super) written: u64,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

pub(super) struct Fault {
    /// The kind of call that fails; `None`: any.
    op: Option<Op>,
    /// Calls of this kind that succeed before it.
    after: u64,
    kind: io::ErrorKind,
    written: u64,
}

impl Machine {
    /// A machine of its own, with the directories of this one.
    #[cfg(test)]
    pub(super) fn like(state: &State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { dirs: state.dirs.clone(), ..State::default() })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Whether `life` is the present one.
    pub(super) fn is(&self, life: u64) -> bool {
        self.state().life == life
    }

    /// The state, for a call of `life`. Every call passes here, and fails if its life is over or the test planned it.
    pub(super) fn call(&self, life: u64, op: Op) -> Result<MutexGuard<'_, State>, Failure> {
        let held = self.state().held.clone().filter(|(held, _)| *held == op);
        // The test that holds the gate decides when this call goes on.
        held.into_iter().for_each(|(_, gate)| drop(gate.lock()));
        let mut state = self.state();
        state.call(life, op)?;
        Ok(state)
    }

    /// A write to a mapping of `life`, which is a step.
    pub(super) fn wrote(&self, life: u64, note: impl FnOnce()) {
        let mut state = self.state();
        if state.life == life && state.begin_step().is_ok() {
            note();
            state.end_step();
        }
    }
}

impl State {
    fn call(&mut self, life: u64, op: Op) -> Result<(), Failure> {
        let dead = |error| Failure { error, written: 0 };
        if self.life != life {
            return Err(dead(over()));
        }
        if op.changes() {
            self.begin_step().map_err(dead)?;
        }
        let matches = |fault: &Fault| fault.op.is_none_or(|named| named == op);
        let Some(at) = self.faults.iter().position(matches) else { return Ok(()) };
        match self.faults[at].after.checked_sub(1) {
            Some(after) => {
                self.faults[at].after = after;
                Ok(())
            }
            None => {
                let fault = self.faults.remove(at);
                let full = matches!(op, Op::Create | Op::Map | Op::WriteAtomic | Op::Remove)
                    && fault.kind == io::ErrorKind::StorageFull;
                self.fired += 1;
                // A log that cannot open a file refuses the call, or reads the mapping instead: it need not stop.
                self.failures += u64::from(!full && op != Op::Open);
                Err(Failure { error: fault.kind.into(), written: fault.written })
            }
        }
    }

    /// Bytes that may still be allocated.
    pub(super) fn available(&self) -> u64 {
        self.capacity.unwrap_or(UNLIMITED).saturating_sub(self.used())
    }

    pub(super) fn used(&self) -> u64 {
        let nameless = self.nameless.iter().filter(|inode| inode.is_open());
        self.names.live.values().chain(nameless).map(|inode| inode.size()).sum()
    }

    /// Changes a name. A file that loses its name keeps its blocks until it is neither open nor mapped.
    pub(super) fn change(&mut self, change: NameChange) {
        let (NameChange::Add(name, _) | NameChange::Remove(name) | NameChange::Rename(_, name, _)) = &change;
        self.nameless.retain(|inode| inode.is_open());
        self.nameless.extend(self.names.live.get(name).cloned());
        self.names.change(change);
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Arc<Inode>> {
        self.names.live.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Must come before every change of the disk: refuses the change once the power has gone.
    pub(super) fn begin_step(&mut self) -> io::Result<()> {
        let Some(left) = self.power.left.take() else { return Ok(()) };
        self.names = left;
        self.next_life();
        Err(over())
    }

    /// Must come after every change of the disk.
    pub(super) fn end_step(&mut self) {
        self.power.steps += 1;
        if self.power.last == Some(self.power.steps) {
            self.stop();
        }
    }

    /// Nothing changes the disk from now on.
    fn stop(&mut self) {
        let left = self.names.reborn(self.life + 1).expect("memory for the simulation");
        (self.power.left, self.power.last) = (Some(left), None);
    }

    /// Has the power go after `more` steps from now.
    #[cfg(test)]
    pub(super) fn lose_power_after(&mut self, more: u64) {
        self.power.last = Some(self.power.steps + more);
        if more == 0 {
            self.stop();
        }
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.power.steps
    }

    #[cfg(test)]
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn fired(&self) -> u64 {
        self.fired
    }

    /// The creation of `file` has failed: no log stops because of an expendable one. A full disk and a dead machine
    /// were not counted.
    pub(super) fn forgive(&mut self, file: &Path, error: &io::Error) {
        let counted = !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::NotConnected);
        if counted && self.expendable.is_some_and(|name| file.ends_with(name)) {
            self.failures = self.failures.saturating_sub(1);
        }
    }

    /// Has one call fail, the one after `n` more have succeeded; of a write, `written` in 1000 parts are done.
    pub(super) fn fail(&mut self, op: Option<Op>, n: u64, kind: io::ErrorKind, written: u64) {
        self.faults.push(Fault { op, after: n, kind, written });
    }

    #[cfg(test)]
    pub(super) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    #[cfg(test)]
    pub(super) fn put_faults(&mut self, faults: Vec<Fault>) {
        self.faults = faults;
    }

    pub(super) fn mend(&mut self) {
        self.faults.clear();
    }

    pub(super) fn next_life(&mut self) -> u64 {
        self.locked.clear();
        self.nameless.clear();
        self.faults.clear();
        (self.power.last, self.power.left) = (None, None);
        self.life += 1;
        self.life
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this life of the machine is over")
}

impl Names {
    pub(super) fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.touches(dir) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// As a file system without a journal may do it: changes that it could not write count as clean, so a second sync
    /// would succeed without them. Processes see the names as they were.
    pub(super) fn sync_failed(&mut self, dir: &Path) {
        self.pending.retain(|change| !change.touches(dir));
    }

    /// The same files for the next process: they share no memory with these.
    pub(super) fn reborn(&self, life: u64) -> io::Result<Self> {
        let mut names = self.clone();
        // One file may have a live and another durable name, or stand in a pending change: it stays one file.
        let mut reborn: Vec<(Arc<Inode>, Arc<Inode>)> = Vec::new();
        let mut again = |old: &mut Arc<Inode>| -> io::Result<()> {
            if let Some((_, new)) = reborn.iter().find(|(known, _)| Arc::ptr_eq(known, old)) {
                *old = new.clone();
                return Ok(());
            }
            let new = old.after_kill(life)?;
            reborn.push((std::mem::replace(old, new.clone()), new));
            Ok(())
        };
        names.live.values_mut().try_for_each(&mut again)?;
        names.durable.values_mut().try_for_each(&mut again)?;
        for change in &mut names.pending {
            match change {
                NameChange::Add(_, inode) | NameChange::Rename(_, _, inode) => again(inode)?,
                NameChange::Remove(_) => {}
            }
        }
        Ok(names)
    }
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    pub(super) fn apply(self, files: &mut Files) {
        match self {
            Self::Add(path, inode) => drop(files.insert(path, inode)),
            Self::Remove(path) => drop(files.remove(&path)),
            Self::Rename(from, to, inode) => {
                files.remove(&from);
                files.insert(to, inode);
            }
        }
    }
}
