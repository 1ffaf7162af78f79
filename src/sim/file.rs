//! A simulated file: live bytes and durable bytes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Machine, Op};
use super::rng::Rng;
use crate::disk::{DiskFile, Mapping};

/// What a page cache writes back as a whole.
pub(super) const PAGE: usize = 4096;
/// What a disk writes as a whole.
const BLOCK: usize = 512;

/// The content of a file, whatever its name.
pub(super) struct Inode {
    size: usize,
    /// Live bytes: what a process sees.
    memory: Mutex<Mapping>,
    /// What a power loss leaves.
    durable: Mutex<Vec<u8>>,
    /// Pages written since they were last synced. Shared with the hook of `memory`.
    dirty: Arc<Mutex<BTreeSet<usize>>>,
}

impl Inode {
    /// Zeros that are allocated: the size is as durable as the name.
    pub(super) fn zeros(size: usize) -> io::Result<Arc<Self>> {
        Self::new(&[], vec![0; size], BTreeSet::new())
    }

    /// A file that is durable as a whole.
    pub(super) fn durable(bytes: Vec<u8>) -> io::Result<Arc<Self>> {
        Self::new(&bytes.clone(), bytes, BTreeSet::new())
    }

    fn new(live: &[u8], durable: Vec<u8>, dirty: BTreeSet<usize>) -> io::Result<Arc<Self>> {
        let dirty = Arc::new(Mutex::new(dirty));
        let memory = Mutex::new(memory(durable.len(), live, &dirty)?);
        Ok(Arc::new(Self { size: durable.len(), memory, durable: Mutex::new(durable), dirty }))
    }

    pub(super) fn size(&self) -> u64 {
        self.size as u64
    }

    pub(super) fn live(&self) -> Vec<u8> {
        lock(&self.memory).copy(0..self.size)
    }

    /// The same file for the next process: it shares no memory with this one.
    pub(super) fn after_kill(&self) -> io::Result<Arc<Self>> {
        Self::new(&self.live(), lock(&self.durable).clone(), lock(&self.dirty).clone())
    }

    /// What a power loss leaves: of the pages that were not synced, each may be on the disk, or not, or in part.
    /// `written` in 1000 of them are.
    pub(super) fn after_crash(&self, rng: &mut Rng, written: u64) -> io::Result<Arc<Self>> {
        let (live, mut image) = (self.live(), lock(&self.durable).clone());
        for page in lock(&self.dirty).iter() {
            let torn = rng.chance(250);
            let whole = rng.chance(written);
            for block in blocks(*page, self.size) {
                if if torn { rng.chance(500) } else { whole } {
                    image[block.clone()].copy_from_slice(&live[block]);
                }
            }
        }
        Self::durable(image)
    }

    /// For an opener when nobody has the file open or mapped: fresh memory, in which nothing is frozen.
    pub(super) fn refresh(&self) -> io::Result<()> {
        let mut mapping = lock(&self.memory);
        if !mapping.is_shared() {
            let live = mapping.copy(0..self.size);
            *mapping = memory(self.size, &live, &self.dirty)?;
        }
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        let (memory, range) = (lock(&self.memory), offset..offset + bytes.len());
        if memory.copy(range.clone()) == bytes {
            // The same again changes nothing for who looks at frozen bytes, but it is a write.
            lock(&self.dirty).extend(pages(range));
        } else {
            memory.write(offset, bytes);
        }
    }

    fn sync(&self) {
        let (memory, mut durable) = (lock(&self.memory), lock(&self.durable));
        for page in std::mem::take(&mut *lock(&self.dirty)) {
            let range = page * PAGE..((page + 1) * PAGE).min(self.size);
            durable[range.clone()].copy_from_slice(&memory.copy(range));
        }
    }

    /// As Linux does it: what could not be written counts as clean, so a second sync would succeed over lost bytes.
    fn sync_failed(&self) {
        lock(&self.dirty).clear();
    }
}

/// Memory that starts with `bytes` and notes its dirty pages.
fn memory(size: usize, bytes: &[u8], dirty: &Arc<Mutex<BTreeSet<usize>>>) -> io::Result<Mapping> {
    let noted = Arc::new(Mutex::new(false));
    let (hooked, dirty) = (noted.clone(), dirty.clone());
    let hook = move |range: Range<usize>| {
        if *lock(&hooked) {
            lock(&dirty).extend(pages(range));
        }
    };
    let mapping = Mapping::anonymous(size.max(1), Arc::new(hook))?;
    mapping.write(0, bytes);
    *lock(&noted) = true;
    Ok(mapping)
}

fn pages(range: Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / PAGE..range.end.div_ceil(PAGE) }
}

fn blocks(page: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = ((page + 1) * PAGE).min(size);
    (page * PAGE..end).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(end))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open file, of one life of the machine.
pub(super) struct SimFile {
    pub(super) inode: Arc<Inode>,
    pub(super) machine: Arc<Machine>,
    pub(super) life: u64,
}

impl SimFile {
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
        self.machine.call(self.life, Op::Read)?;
        let offset = self.check(buffer.len(), offset)?;
        buffer.copy_from_slice(&lock(&self.inode.memory).copy(offset..offset + buffer.len()));
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.machine.call(self.life, Op::Write)?;
        let offset = self.check(bytes.len(), offset)?;
        self.inode.write(offset, bytes);
        Ok(())
    }

    fn map(&self) -> io::Result<Mapping> {
        self.machine.call(self.life, Op::Map)?;
        Ok(lock(&self.inode.memory).share())
    }

    fn sync(&self) -> io::Result<()> {
        match self.machine.call(self.life, Op::Sync) {
            Ok(()) => {
                self.inode.sync();
                Ok(())
            }
            Err(error) => {
                if self.machine.is(self.life) {
                    self.inode.sync_failed();
                }
                Err(error)
            }
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated file of {} bytes", self.inode.size)
    }
}
