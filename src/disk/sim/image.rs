//! What the end of a life leaves on a simulated disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::SimDisk;
use super::file::{Keep, PAGE};
use super::machine::{Files, Names, Owner};
#[cfg(test)]
use super::machine::{Machine, Op, State};
use super::rng::Rng;

/// Which of the unsynced changes are on the disk after a power loss.
pub enum Kept<'a> {
    /// Any prefix of the changes of names, any pages, some of them torn between blocks.
    Chance(&'a mut Rng),
    /// Nothing.
    Nothing,
    /// The first `names` changes of names. Of the blocks that differ, in the order of file names and offsets, those
    /// whose bit in `blocks` is set; blocks beyond the 64th are as the last bit says.
    #[cfg(test)]
    These {
        /// Changes of names.
        names: usize,
        /// One bit for each block.
        blocks: u64,
    },
}

impl SimDisk {
    /// Power loss. Returns the disk as the next life finds it: of what was not synced, a random part.
    ///
    /// # Errors
    /// If this machine has no memory left.
    pub fn crash(&self, rng: &mut Rng) -> io::Result<Self> {
        self.lose_power(Kept::Chance(rng))
    }

    /// Power loss. Returns the disk as the next life finds it.
    ///
    /// # Errors
    /// If this machine has no memory left.
    pub fn lose_power(&self, kept: Kept<'_>) -> io::Result<Self> {
        let mut state = self.machine.state();
        let owner = Owner { machine: Arc::downgrade(&self.machine), life: state.life + 1 };
        let (names, (lost, kept)) = state.names.after_crash(kept, &owner)?;
        state.names = names;
        state.loss = (state.loss.0 + lost, state.loss.1 + kept);
        Ok(Self { machine: self.machine.clone(), life: state.next_life() })
    }

    /// The process dies, the machine lives on. Returns the disk as the next process finds it: nothing is lost.
    ///
    /// # Errors
    /// If this machine has no memory left.
    pub fn kill(&self) -> io::Result<Self> {
        let mut state = self.machine.state();
        state.names = state.names.reborn(state.life + 1)?;
        Ok(Self { machine: self.machine.clone(), life: state.next_life() })
    }
}

impl Names {
    /// The names and files that are left; and how many blocks were lost, and how many kept, of those that differ.
    fn after_crash(&self, kept: Kept<'_>, owner: &Owner) -> io::Result<(Self, (u64, u64))> {
        let (files, mut chosen) = self.chosen(kept);
        let mut blocks = (0, 0);
        let mut keep = |block: &Range<usize>, differs: bool| {
            let kept = chosen(block, differs);
            blocks.0 += u64::from(differs && !kept);
            blocks.1 += u64::from(differs && kept);
            kept
        };
        let mut left = Files::new();
        for (path, inode) in &files {
            left.insert(path.clone(), inode.after_crash(&mut keep, owner.clone())?);
        }
        Ok((Self { durable: left.clone(), live: left, pending: Vec::new() }, blocks))
    }

    /// The files that are on the disk, and the function that decides for each of their unsynced blocks.
    fn chosen<'a>(&self, kept: Kept<'a>) -> (Files, Box<Keep<'a>>) {
        match kept {
            Kept::Chance(rng) => {
                // A journal keeps the order of name changes: a prefix of them is on the disk.
                let names = rng.below(self.pending.len() as u64 + 1) as usize;
                let written = [0, 500, 950, 1000][rng.below(4) as usize];
                let (mut torn, mut whole) = (false, false);
                let keep = move |block: &Range<usize>, _| {
                    if block.start.is_multiple_of(PAGE) {
                        (torn, whole) = (rng.chance(250), rng.chance(written));
                    }
                    if torn { rng.chance(500) } else { whole }
                };
                (self.with_changes(names), Box::new(keep))
            }
            Kept::Nothing => (self.with_changes(0), Box::new(|_: &Range<usize>, _| false)),
            #[cfg(test)]
            Kept::These { names, mut blocks } => {
                let keep = move |_: &Range<usize>, differs: bool| {
                    let kept = differs && blocks & 1 == 1;
                    if differs {
                        blocks = blocks >> 1 | blocks & 1 << 63;
                    }
                    kept
                };
                (self.with_changes(names), Box::new(keep))
            }
        }
    }

    /// The files after the first `names` pending changes of names.
    fn with_changes(&self, names: usize) -> Files {
        let mut files = self.durable.clone();
        self.pending.iter().take(names).cloned().for_each(|change| change.apply(&mut files));
        files
    }
}

#[cfg(test)]
impl SimDisk {
    /// Steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.machine.state().steps()
    }

    /// Has the power go after `more` steps from now: the next one, and all after, reach nothing.
    pub(crate) fn lose_power_after(&self, more: u64) {
        self.machine.state().lose_power_after(more);
    }

    /// Whether this life goes on.
    pub(crate) fn is_on(&self) -> bool {
        self.machine.is(self.life)
    }

    /// Has one call of any kind fail: the one after `n` more have succeeded. Of a write, `written` in 1000 parts are
    /// done. Forgotten at the end of this life.
    pub(crate) fn fail_any(&self, n: u64, kind: io::ErrorKind, written: u64) {
        self.machine.state().fail(None, n, kind, written);
    }

    /// As [`SimDisk::fail_nth`], for a write that is done in part.
    pub(crate) fn short_write(&self, op: Op, n: u64, kind: io::ErrorKind, written: u64) {
        self.machine.state().fail(Some(op), n, kind, written);
    }

    /// A log can do without the file of this name: when its creation fails, that is no failure after which the log
    /// must stop.
    pub(crate) fn set_expendable(&self, name: &'static str) {
        self.machine.state().expendable = Some(name);
    }

    /// Runs `look` with the planned failures set aside, so that no call of the test itself meets one.
    pub(crate) fn undisturbed<T>(&self, look: impl FnOnce() -> T) -> T {
        let faults = self.machine.state().take_faults();
        let seen = look();
        self.machine.state().put_faults(faults);
        seen
    }

    /// Calls that failed because the test planned it, and after which a log must stop.
    pub(crate) fn failures(&self) -> u64 {
        self.machine.state().failures()
    }

    /// What the next life would find if the power went now. This life goes on.
    pub(crate) fn image(&self, kept: Kept<'_>) -> SimDisk {
        let state = self.machine.state();
        let machine = Machine::like(&state);
        let owner = Owner { machine: Arc::downgrade(&machine), life: 0 };
        let (names, _) = state.names.after_crash(kept, &owner).unwrap();
        machine.state().names = names;
        SimDisk { machine, life: 0 }
    }

    /// Every image that a power loss now may leave; `None` if there are more than `most`.
    pub(crate) fn every_image(&self, most: usize) -> Option<Vec<Kept<'static>>> {
        let changes = self.machine.state().names.pending.len();
        let (mut all, mut left) = (Vec::new(), most);
        for names in 0..=changes {
            let blocks = self.unsynced_blocks(names);
            let images = 1usize.checked_shl(blocks as u32).filter(|_| blocks < 32)?;
            left = left.checked_sub(images)?;
            all.extend((0..images as u64).map(|blocks| Kept::These { names, blocks }));
        }
        Some(all)
    }

    /// Blocks that differ from the durable ones, once the first `names` pending changes of names are on the disk.
    fn unsynced_blocks(&self, names: usize) -> usize {
        let files = self.machine.state().names.with_changes(names);
        let mut count = 0;
        for inode in files.values() {
            let mut look = |_: &Range<usize>, differs: bool| {
                count += usize::from(differs);
                false
            };
            inode.look(&mut look);
        }
        count
    }

    /// The system writes back a part of what is not synced, unasked and in any order.
    pub(crate) fn write_back(&self, rng: &mut Rng) {
        let mut state = self.machine.state();
        let names = rng.below(state.names.pending.len() as u64 + 1) as usize;
        let State { names: all, .. } = &mut *state;
        all.pending.drain(..names).for_each(|change| change.apply(&mut all.durable));
        let inodes: Vec<_> = all.durable.values().chain(all.live.values()).cloned().collect();
        for inode in inodes {
            inode.write_back(&mut |_, _| rng.chance(300));
        }
    }
}
