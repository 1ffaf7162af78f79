//! Mapped memory. All `unsafe` of the crate is in this file.
//!
//! # Why it is sound
//!
//! A mapping is a run of bytes that lives until the last `Arc<Region>` is gone; [`MmapRaw`] unmaps it then and not
//! before. A file is mapped for reading only. Writes go through [`DiskFile::write_at`](super::DiskFile::write_at): the
//! system writes the file, and the mapped bytes change with it. Memory without a file, which the simulation maps, has a
//! `write`. The bytes are split by a line that only rises, `frozen`:
//!
//! - Bytes **below** the line never change again: `check_unfrozen` comes before every write. Only they are lent out as
//!   `&[u8]` (inside [`Bytes`]), each loan covering nothing above the line as it was when the loan was made.
//! - Bytes **above** the line are never lent out. They are copied through a raw pointer. A segment's bytes are written
//!   before they are part of it, or while its list of entries is locked, so no copy meets a write; and memory without a
//!   file is copied and written only while `unfrozen` is locked.
//! - The line rises over entries that have been written, while `unfrozen` is locked, so no write that began below it is
//!   still running.
//!
//! All offsets are checked against the length and the line before a pointer is made.
//!
//! What cannot be proved here: that no other process writes to or truncates the file. The directory lock keeps other
//! nodes out; against an editor or a bad disk there is only the checksum, and for reads during recovery `pread`.

#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use memmap2::MmapRaw;
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

/// Called with every written range. The simulated disk needs the ranges to know what a crash may lose.
#[cfg(feature = "internals")]
pub type WriteHook = Arc<dyn Fn(Range<usize>) + Send + Sync>;

/// A mapped file, or plain memory that behaves like one.
pub struct Mapping {
    region: Arc<Region>,
    /// `[0..line)` as one loan, so that a slice costs no allocation; renewed when the line has risen past it.
    loan: RwLock<Bytes>,
    /// The whole mapping as one loan, once all of it is frozen: readers then take no lock.
    whole: OnceLock<Bytes>,
    /// Set if the memory has no file.
    #[cfg(feature = "internals")]
    hook: Option<WriteHook>,
}

/// Tells whether a mapping, or a slice of it, is still alive. A removed file keeps its blocks until the last of them is
/// dropped.
#[derive(Debug)]
pub(crate) struct Alive(Weak<Region>);

impl Alive {
    pub(crate) fn is(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The memory itself, and the line below which it never changes.
struct Region {
    memory: MmapRaw,
    frozen: AtomicUsize,
    /// Taken for every access to bytes that are not frozen.
    unfrozen: Mutex<()>,
}

/// The frozen start of a region, alive as long as a slice of it exists.
struct Loan {
    region: Arc<Region>,
    length: usize,
}

// SAFETY: the pointer inside `MmapRaw` is owned by the region and valid until it drops; the rules above keep every
// access through it free of data races from any thread.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `length` was at most `frozen` when the loan was made, `frozen` only rises and is at most the length
        // of the mapping. So these bytes are mapped while `region` lives, and nobody writes to them any more.
        unsafe { std::slice::from_raw_parts(self.region.memory.as_ptr(), self.length) }
    }
}

impl Mapping {
    /// A mapping of a file. Nothing is frozen yet.
    pub(crate) fn new(memory: MmapRaw) -> Self {
        through();
        let region = Arc::new(Region { memory, frozen: AtomicUsize::new(0), unfrozen: Mutex::new(()) });
        Self {
            region,
            loan: RwLock::new(Bytes::new()),
            whole: OnceLock::new(),
            #[cfg(feature = "internals")]
            hook: None,
        }
    }

    /// Plain memory of `length` zero bytes; calls `hook` after every write.
    #[cfg(feature = "internals")]
    pub(crate) fn anonymous(length: usize, hook: WriteHook) -> io::Result<Self> {
        let memory = MmapRaw::from(memmap2::MmapMut::map_anon(length)?);
        Ok(Self { hook: Some(hook), ..Self::new(memory) })
    }

    /// Another mapping of the same memory: line, lock and hook are shared.
    #[cfg(feature = "internals")]
    pub(crate) fn share(&self) -> Self {
        Self {
            region: self.region.clone(),
            loan: RwLock::new(Bytes::new()),
            whole: OnceLock::new(),
            hook: self.hook.clone(),
        }
    }

    /// Whether another mapping or a slice of the same memory is alive.
    #[cfg(feature = "internals")]
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.region) > 1
    }

    /// Tells later whether this memory is still mapped, without keeping it mapped.
    pub(crate) fn alive(&self) -> Alive {
        Alive(Arc::downgrade(&self.region))
    }

    /// Bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.region.memory.len()
    }

    /// Bytes below this offset never change again.
    pub(crate) fn frozen(&self) -> usize {
        self.region.frozen.load(Ordering::Acquire)
    }

    /// Declares that bytes below `line` never change again. Lower values than before change nothing.
    pub(crate) fn freeze(&self, line: usize) {
        let _writers_are_done = self.region.unfrozen.lock();
        self.region.frozen.fetch_max(line.min(self.len()), Ordering::AcqRel);
    }

    /// Copies `bytes` to `offset` of memory that has no file.
    ///
    /// # Errors
    /// As [`Mapping::check_unfrozen`].
    #[cfg(feature = "internals")]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let hook = self.hook.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        let guard = self.region.unfrozen.lock();
        self.check_unfrozen(offset, bytes.len())?;
        // SAFETY: memory with a hook has no file and was mapped for writing. In bounds and above the line (checked), so
        // nobody holds a reference to these bytes, and with `unfrozen` locked nobody else accesses them. `bytes` cannot
        // overlap: loans end at the line.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.region.memory.as_mut_ptr().add(offset), bytes.len());
        }
        drop(guard);
        hook(offset..offset + bytes.len());
        Ok(())
    }

    /// Whether `length` bytes at `offset` may be written.
    ///
    /// # Errors
    /// If these bytes reach outside the mapping or below the line. The log's writer computes every offset from its own
    /// cursor, which is above the line by construction: a write elsewhere is a bug that must not reach the disk.
    pub(crate) fn check_unfrozen(&self, offset: usize, length: usize) -> io::Result<()> {
        let (line, size) = (self.frozen(), self.len());
        if offset >= line && offset.checked_add(length).is_some_and(|end| end <= size) {
            return Ok(());
        }
        let why = format!("write of {length} bytes at {offset} in a mapping of {size} bytes, frozen below {line}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }

    /// A copy of bytes that may still change later.
    ///
    /// # Panics
    /// If `range` is outside the mapping.
    pub(crate) fn copy(&self, range: Range<usize>) -> Vec<u8> {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "read of {range:?} in a mapping of {}",
            self.len()
        );
        let mut copy = vec![0; range.len()];
        let _no_writer = self.region.unfrozen.lock();
        // SAFETY: in bounds (checked); bytes below the line never change and bytes above it change only with
        // `unfrozen` locked, which we hold. `copy` is fresh memory.
        unsafe {
            std::ptr::copy_nonoverlapping(self.region.memory.as_ptr().add(range.start), copy.as_mut_ptr(), copy.len());
        }
        copy
    }

    /// As [`Mapping::copy`], for bytes that the disk may not be able to read: the system copies them, and returns an
    /// error where this process would get a signal. Takes two copies and a lock of the whole process: for a caller that
    /// has no descriptor left to read the file with.
    ///
    /// # Errors
    /// If the bytes cannot be read, or `range` is outside the mapping.
    pub(crate) fn read(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        const CHUNK: usize = 64 << 10;
        if range.start > range.end || range.end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(through) = through() else { return Ok(self.copy(range)) };
        let through = through.lock();
        let mut copy = vec![0; range.len()];
        let _no_writer = self.region.unfrozen.lock();
        for (at, piece) in (range.start..range.end).step_by(CHUNK).zip(copy.chunks_mut(CHUNK)) {
            // SAFETY: in bounds (checked), mapped while `self` lives, and not written meanwhile, as in `copy`. This
            // process does not touch the bytes: the system reads them, and returns an error if it cannot.
            let bytes = unsafe { std::slice::from_raw_parts(self.region.memory.as_ptr().add(at), piece.len()) };
            through.write_all_at(bytes, 0).map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::FAULT) => Errno::IO.into(),
                _ => error,
            })?;
            through.read_exact_at(piece, 0)?;
        }
        Ok(copy)
    }

    /// A slice of frozen bytes, without a copy; `None` if `range` reaches above the line. Keeps the memory mapped as
    /// long as it lives.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        if let Some(whole) = self.whole.get() {
            return Some(whole.slice(range));
        }
        let loan = self.loan.read();
        if range.end <= loan.len() {
            return Some(loan.slice(range));
        }
        drop(loan);
        let length = self.frozen();
        if range.end > length {
            return None;
        }
        let fresh = Bytes::from_owner(Loan { region: self.region.clone(), length });
        let slice = fresh.slice(range);
        if length == self.len() {
            // Two readers may come here at once; either one's loan is good.
            let _ = self.whole.set(fresh);
            return Some(slice);
        }
        *self.loan.write() = fresh;
        Some(slice)
    }
}

/// The file in memory through which the system copies bytes for [`Mapping::read`]. The first mapping makes it, because
/// later the process may have no descriptor left for it. `None` where the system has no such files, or could not make
/// one.
fn through() -> Option<&'static Mutex<File>> {
    static THROUGH: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let make = || {
        #[cfg(target_os = "linux")]
        return rustix::fs::memfd_create("dledger", rustix::fs::MemfdFlags::CLOEXEC).ok().map(File::from);
        #[cfg(not(target_os = "linux"))]
        return None;
    };
    THROUGH.get_or_init(|| make().map(Mutex::new)).as_ref()
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len()).field("frozen", &self.frozen()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping::anonymous(4096, Arc::new(|_| {})).unwrap()
    }

    #[test]
    fn only_frozen_bytes_are_lent() {
        let m = mapping();
        m.write(0, b"hello").unwrap();
        assert!(m.slice(0..5).is_none());
        m.freeze(5);
        assert_eq!(&m.slice(1..4).unwrap()[..], b"ell");
        assert!(m.slice(0..6).is_none());
        m.write(5, b"!").unwrap();
        m.freeze(6);
        assert_eq!(&m.slice(0..6).unwrap()[..], b"hello!");
        m.freeze(2);
        assert_eq!(m.frozen(), 6);
    }

    #[test]
    fn frozen_bytes_are_never_written() {
        let m = mapping();
        m.freeze(5);
        let refused = m.write(4, b"x").unwrap_err().to_string();
        assert!(refused.ends_with("frozen below 5"), "{refused}");
        assert_eq!(m.copy(4..5), [0]);
    }

    #[test]
    fn a_write_past_the_end_is_refused() {
        assert!(mapping().write(4090, b"1234567").is_err());
        assert!(mapping().write(usize::MAX, b"1").is_err());
    }

    #[test]
    fn a_slice_outlives_its_mapping() {
        let m = mapping();
        m.write(0, b"kept").unwrap();
        m.freeze(4);
        let slice = m.slice(0..4).unwrap();
        drop(m);
        assert_eq!(&slice[..], b"kept");
    }

    /// A test cannot make a bad sector, but it can cut the file short: reads of the mapping fault in the same way.
    #[test]
    fn what_cannot_be_read_is_an_error_and_no_fault() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        let mapped = memmap2::MmapOptions::new().len(bytes.len()).map_raw_read_only(&file).unwrap();
        let mapping = Mapping::new(mapped);
        assert!(mapping.read(0..bytes.len()).unwrap() == bytes);
        assert!(mapping.read(70_000..150_001).unwrap() == bytes[70_000..150_001]);
        assert!(mapping.read(0..bytes.len() + 1).is_err());
        if through().is_none() {
            return eprintln!("skipped: this system has no files in memory");
        }
        file.set_len(100_000).unwrap();
        assert!(mapping.read(0..100_000).unwrap() == bytes[..100_000]);
        let error = mapping.read(90_000..150_000).unwrap_err();
        assert!(crate::disk::is_bad_sector(&error), "{error}");
    }

    #[test]
    fn readers_and_the_writer_may_run_at_once() {
        let m = Arc::new(mapping());
        std::thread::scope(|scope| {
            let reader = m.clone();
            scope.spawn(move || {
                while reader.frozen() < 4096 {
                    let line = reader.frozen();
                    let slice = reader.slice(0..line).unwrap();
                    assert!(slice.iter().all(|b| *b == 7));
                    let _ = reader.copy(0..4096);
                }
            });
            for offset in (0..4096).step_by(16) {
                m.write(offset, &[7; 16]).unwrap();
                m.freeze(offset + 16);
            }
        });
    }
}
