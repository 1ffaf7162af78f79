//! A simulated file: live bytes and durable bytes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::machine::{Failure, Machine, Op, Owner};
use crate::disk::{DiskFile, Mapping};

/// Bytes that a page cache writes back as a whole.
pub(in crate::disk) const PAGE: usize = 4096;
/// Bytes that a disk writes as a whole: no power loss tears them.
const BLOCK: usize = 512;

/// The content of a file, whatever its name.
pub(super) struct Inode {
    owner: Owner,
    size: usize,
    /// How many [`SimFile`]s have it open.
    opens: AtomicUsize,
    /// Live bytes: what a process sees.
    memory: Mutex<Mapping>,
    /// What a power loss leaves.
    durable: Mutex<Vec<u8>>,
    /// Pages written since they were last synced. Shared with the hook of `memory`.
    dirty: Arc<Mutex<BTreeSet<usize>>>,
}

/// Decides whether a block of an unsynced page is on the disk. The second argument says whether the live block differs
/// from the durable one, so whether the decision matters.
pub(super) type Keep<'a> = dyn FnMut(&Range<usize>, bool) -> bool + 'a;

impl Inode {
    /// Zeros that are allocated: the size is as durable as the name.
    pub(super) fn zeros(size: usize, owner: Owner) -> io::Result<Arc<Self>> {
        Self::new(&[], vec![0; size], BTreeSet::new(), owner)
    }

    /// A file that is durable as a whole.
    pub(super) fn durable(bytes: Vec<u8>, owner: Owner) -> io::Result<Arc<Self>> {
        Self::new(&bytes.clone(), bytes, BTreeSet::new(), owner)
    }

    /// A file of which nothing is synced yet.
    pub(super) fn written(bytes: Vec<u8>, owner: Owner) -> io::Result<Arc<Self>> {
        Self::new(&bytes, vec![0; bytes.len()], pages(0..bytes.len()).collect(), owner)
    }

    fn new(live: &[u8], durable: Vec<u8>, dirty: BTreeSet<usize>, owner: Owner) -> io::Result<Arc<Self>> {
        let dirty = Arc::new(Mutex::new(dirty));
        let memory = Mutex::new(memory(durable.len(), live, &dirty, &owner)?);
        let opens = AtomicUsize::new(0);
        Ok(Arc::new(Self { owner, size: durable.len(), opens, memory, durable: Mutex::new(durable), dirty }))
    }

    pub(super) fn size(&self) -> u64 {
        self.size as u64
    }

    /// Whether the file is open or mapped: it then keeps its blocks even without a name.
    pub(super) fn is_open(&self) -> bool {
        self.opens.load(Ordering::Relaxed) > 0 || self.memory.lock().is_shared()
    }

    pub(super) fn live(&self) -> Vec<u8> {
        self.memory.lock().copy(0..self.size)
    }

    /// The same file for the next process: it shares no memory with this one.
    pub(super) fn after_kill(&self, life: u64) -> io::Result<Arc<Self>> {
        let owner = Owner { life, ..self.owner.clone() };
        Self::new(&self.live(), self.durable.lock().clone(), self.dirty.lock().clone(), owner)
    }

    /// What a power loss leaves: the durable bytes, and the unsynced blocks that `keep` decides for.
    pub(super) fn after_crash(&self, keep: &mut Keep<'_>, owner: Owner) -> io::Result<Arc<Self>> {
        Self::durable(self.on_disk(keep), owner)
    }

    /// The durable bytes, and the unsynced blocks that `keep` decides for.
    fn on_disk(&self, keep: &mut Keep<'_>) -> Vec<u8> {
        let (live, mut image) = (self.live(), self.durable.lock().clone());
        for page in self.dirty.lock().iter() {
            for block in blocks(*page, self.size) {
                if keep(&block, image[block.clone()] != live[block.clone()]) {
                    image[block.clone()].copy_from_slice(&live[block]);
                }
            }
        }
        image
    }

    /// These bytes as processes see them.
    pub(super) fn live_bytes(&self, range: Range<u64>) -> Vec<u8> {
        self.memory.lock().copy(self.within(range))
    }

    /// What a power loss now would leave of these bytes, whatever it does with the blocks that are not synced.
    pub(super) fn durable_bytes(&self, range: Range<u64>) -> Vec<u8> {
        self.durable.lock()[self.within(range)].to_vec()
    }

    fn within(&self, range: Range<u64>) -> Range<usize> {
        range.start as usize..(range.end as usize).min(self.size)
    }

    /// Shows the blocks of unsynced pages to `keep`.
    #[cfg(test)]
    pub(super) fn look(&self, keep: &mut Keep<'_>) {
        drop(self.on_disk(keep));
    }

    /// The system writes back, unasked, the blocks that `keep` decides for. That is no sync: the pages stay dirty.
    #[cfg(test)]
    pub(super) fn write_back(&self, keep: &mut Keep<'_>) {
        let image = self.on_disk(keep);
        *self.durable.lock() = image;
    }

    /// Gives the file fresh memory, in which nothing is frozen, unless a mapping or a slice of the old memory is alive.
    /// For an opener.
    pub(super) fn refresh(&self) -> io::Result<()> {
        let mut mapping = self.memory.lock();
        if !mapping.is_shared() {
            let live = mapping.copy(0..self.size);
            *mapping = memory(self.size, &live, &self.dirty, &self.owner)?;
        }
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        // A mapping of its own, so that `memory` is unlocked when the hook runs.
        let (memory, range) = (self.memory.lock().share(), offset..offset + bytes.len());
        if memory.copy(range.clone()) == bytes {
            // Frozen bytes may be written again as they are, because a reader of them sees no change. It is a write all
            // the same, and makes their pages dirty.
            note_write(&self.owner, &self.dirty, range);
            Ok(())
        } else {
            memory.write(offset, bytes)
        }
    }

    pub(super) fn sync(&self) {
        let (memory, mut durable) = (self.memory.lock(), self.durable.lock());
        for page in std::mem::take(&mut *self.dirty.lock()) {
            let range = page * PAGE..((page + 1) * PAGE).min(self.size);
            durable[range.clone()].copy_from_slice(&memory.copy(range));
        }
    }

    /// As Linux does it: what could not be written counts as clean, so a second sync would succeed over lost bytes.
    fn sync_failed(&self) {
        self.dirty.lock().clear();
    }
}

/// Memory that starts with `bytes` and notes its dirty pages.
fn memory(size: usize, bytes: &[u8], dirty: &Arc<Mutex<BTreeSet<usize>>>, owner: &Owner) -> io::Result<Mapping> {
    let noted = Arc::new(Mutex::new(false));
    let (hooked, dirty, owner) = (noted.clone(), dirty.clone(), owner.clone());
    let hook = move |range: Range<usize>| {
        if *hooked.lock() {
            note_write(&owner, &dirty, range);
        }
    };
    let mapping = Mapping::anonymous(size.max(1), Arc::new(hook))?;
    mapping.write(0, bytes)?;
    *noted.lock() = true;
    Ok(mapping)
}

fn note_write(owner: &Owner, dirty: &Mutex<BTreeSet<usize>>, range: Range<usize>) {
    if let Some(machine) = owner.machine.upgrade() {
        machine.wrote(owner.life, || dirty.lock().extend(pages(range)));
    }
}

fn pages(range: Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / PAGE..range.end.div_ceil(PAGE) }
}

fn blocks(page: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = ((page + 1) * PAGE).min(size);
    (page * PAGE..end).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(end))
}

/// An open file, of one life of the machine.
pub(super) struct SimFile {
    inode: Arc<Inode>,
    machine: Arc<Machine>,
    life: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.inode.opens.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SimFile {
    pub(super) fn new(inode: Arc<Inode>, machine: Arc<Machine>, life: u64) -> Self {
        inode.opens.fetch_add(1, Ordering::Relaxed);
        Self { inode, machine, life }
    }

    fn check(&self, length: usize, offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        match offset.checked_add(length) {
            Some(end) if end <= self.inode.size => Ok(offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> u64 {
        self.inode.size as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        drop(self.machine.call(self.life, Op::Read)?);
        let offset = self.check(buffer.len(), offset)?;
        buffer.copy_from_slice(&self.inode.memory.lock().copy(offset..offset + buffer.len()));
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = self.check(bytes.len(), offset)?;
        // The state must be unlocked by now, because the write locks it to tell the machine.
        let failure = self.machine.call(self.life, Op::Write).err();
        let whole = |failure: &Failure| {
            // The system takes a write in pieces that end where pages do; a disk writes whole blocks.
            let end = at + (bytes.len() as u64 * failure.written / 1000) as usize;
            (end / BLOCK * BLOCK).saturating_sub(at)
        };
        let part = failure.as_ref().map_or(bytes.len(), whole);
        if part > 0 {
            self.inode.write(at, &bytes[..part])?;
        }
        failure.map_or(Ok(()), |failure| Err(failure.error))
    }

    /// All blocks of a simulated file are there.
    fn allocate(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Mapping> {
        drop(self.machine.call(self.life, Op::Map)?);
        Ok(self.inode.memory.lock().share())
    }

    fn sync(&self) -> io::Result<()> {
        match self.machine.call(self.life, Op::Sync) {
            Ok(mut state) => {
                self.inode.sync();
                state.end_step();
                Ok(())
            }
            Err(failure) => {
                if self.machine.is(self.life) {
                    self.inode.sync_failed();
                }
                Err(failure.error)
            }
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated file of {} bytes", self.inode.size)
    }
}
