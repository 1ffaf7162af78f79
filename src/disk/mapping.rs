//! Mapped memory. All `unsafe` of the crate is in this file.
//!
//! # Why it is sound
//!
//! A mapping is a run of bytes that lives until the last `Arc<Region>` is gone; [`MmapRaw`] unmaps it then and not
//! before. Its bytes are split by a line that only rises, `frozen`:
//!
//! - Bytes **below** the line never change again. Only they are lent out as `&[u8]` (inside [`Bytes`]), each loan
//!   covering nothing above the line as it was when the loan was made.
//! - Bytes **above** the line are never lent out. They are read and written through raw pointers, and only while
//!   `unfrozen` is locked, so no read meets a write.
//! - The line rises while `unfrozen` is locked, so no write that began below it is still running.
//!
//! All offsets are checked against the length and the line before a pointer is made.
//!
//! What cannot be proved here: that no other process writes to or truncates the file. The directory lock keeps other
//! nodes out; against an editor or a bad disk there is only the checksum, and for reads during recovery `pread`.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use bytes::Bytes;
use memmap2::MmapRaw;

/// Told of every written range. The simulation needs it to know what a crash may lose.
pub(crate) type WriteHook = Arc<dyn Fn(Range<usize>) + Send + Sync>;

/// A mapped file, or plain memory that behaves like one.
pub(crate) struct Mapping {
    region: Arc<Region>,
    /// `[0..line)` as one loan, so that a slice costs no allocation; renewed when the line has risen past it.
    loan: RwLock<Bytes>,
    hook: Option<WriteHook>,
}

/// Tells whether a mapping, or a slice of it, is still there: a removed file keeps its blocks until then.
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

/// The frozen start of a region, alive as long as somebody holds a slice of it.
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
        let region = Arc::new(Region { memory, frozen: AtomicUsize::new(0), unfrozen: Mutex::new(()) });
        Self { region, loan: RwLock::new(Bytes::new()), hook: None }
    }

    /// Plain memory of `length` zero bytes; `hook` hears of every write.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn anonymous(length: usize, hook: WriteHook) -> std::io::Result<Self> {
        let memory = MmapRaw::from(memmap2::MmapMut::map_anon(length)?);
        Ok(Self { hook: Some(hook), ..Self::new(memory) })
    }

    /// Another mapping of the same memory: line, lock and hook are shared.
    #[cfg(feature = "sim")]
    pub(crate) fn share(&self) -> Self {
        Self { region: self.region.clone(), loan: RwLock::new(Bytes::new()), hook: self.hook.clone() }
    }

    /// Whether another mapping or a slice of the same memory is alive.
    #[cfg(feature = "sim")]
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.region) > 1
    }

    /// Tells later whether this memory is still mapped. Does not keep it.
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
        let _writers_are_done = self.region.unfrozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.region.frozen.fetch_max(line.min(self.len()), Ordering::AcqRel);
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    /// If that is outside the mapping or below the line. The log's writer computes every offset from its own cursor,
    /// which is above the line by construction: a write elsewhere is a bug that must not reach the disk.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let guard = self.region.unfrozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_unfrozen(offset, bytes.len());
        // SAFETY: in bounds and above the line (checked), so nobody holds a reference to these bytes, and with
        // `unfrozen` locked nobody else accesses them. `bytes` cannot overlap: loans end at the line.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.region.memory.as_mut_ptr().add(offset), bytes.len());
        }
        drop(guard);
        self.wrote(offset..offset + bytes.len());
    }

    /// Copies `bytes` to `offset`, the first eight of them last and at once: whoever finds them set finds all, however
    /// the process died. (A power loss may still keep any part.)
    ///
    /// # Panics
    /// As [`Mapping::write`], and if `offset` is not a multiple of eight or there are fewer bytes.
    pub(crate) fn publish(&self, offset: usize, bytes: &[u8]) {
        let guard = self.region.unfrozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_unfrozen(offset, bytes.len());
        assert!(offset.is_multiple_of(8), "publication at {offset}");
        let (first, rest) = bytes.split_at(8);
        let mut word = [0; 8];
        word.copy_from_slice(first);
        // SAFETY: as in `write`. A mapping begins at a page, so the word is aligned.
        unsafe {
            let target = self.region.memory.as_mut_ptr().add(offset);
            std::ptr::copy_nonoverlapping(rest.as_ptr(), target.add(8), rest.len());
            AtomicU64::from_ptr(target.cast()).store(u64::from_ne_bytes(word), Ordering::Release);
        }
        drop(guard);
        self.wrote(offset..offset + bytes.len());
    }

    /// Sets `range` to zero.
    ///
    /// # Panics
    /// As [`Mapping::write`].
    pub(crate) fn zero(&self, range: Range<usize>) {
        let guard = self.region.unfrozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_unfrozen(range.start, range.len());
        // SAFETY: as in `write`.
        unsafe {
            std::ptr::write_bytes(self.region.memory.as_mut_ptr().add(range.start), 0, range.len());
        }
        drop(guard);
        self.wrote(range);
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
        let _no_writer = self.region.unfrozen.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: in bounds (checked); bytes below the line never change and bytes above it change only with
        // `unfrozen` locked, which we hold. `copy` is fresh memory.
        unsafe {
            std::ptr::copy_nonoverlapping(self.region.memory.as_ptr().add(range.start), copy.as_mut_ptr(), copy.len());
        }
        copy
    }

    /// A slice of frozen bytes, without a copy; `None` if `range` reaches above the line. Keeps the memory mapped as
    /// long as it lives.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end {
            return None;
        }
        let loan = self.loan.read().unwrap_or_else(PoisonError::into_inner);
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
        *self.loan.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Some(slice)
    }

    #[allow(clippy::panic, reason = "see `write`: going on would overwrite committed bytes")]
    fn check_unfrozen(&self, offset: usize, length: usize) {
        let (line, size) = (self.frozen(), self.len());
        if offset < line || offset.checked_add(length).is_none_or(|end| end > size) {
            panic!("write of {length} bytes at {offset} in a mapping of {size} bytes, frozen below {line}");
        }
    }

    fn wrote(&self, range: Range<usize>) {
        if let Some(hook) = &self.hook {
            hook(range);
        }
    }
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
        m.write(0, b"hello");
        assert!(m.slice(0..5).is_none());
        m.freeze(5);
        assert_eq!(&m.slice(1..4).unwrap()[..], b"ell");
        assert!(m.slice(0..6).is_none());
        m.write(5, b"!");
        m.freeze(6);
        assert_eq!(&m.slice(0..6).unwrap()[..], b"hello!");
        m.freeze(2);
        assert_eq!(m.frozen(), 6);
    }

    #[test]
    fn what_is_published_is_there() {
        let m = mapping();
        m.publish(16, b"sixteen bytes of");
        assert_eq!(m.copy(8..40), b"\0\0\0\0\0\0\0\0sixteen bytes of\0\0\0\0\0\0\0\0");
    }

    #[test]
    #[should_panic(expected = "frozen below 5")]
    fn frozen_bytes_are_never_written() {
        let m = mapping();
        m.freeze(5);
        m.write(4, b"x");
    }

    #[test]
    #[should_panic(expected = "mapping of 4096")]
    fn a_write_past_the_end_is_refused() {
        mapping().write(4090, b"1234567");
    }

    #[test]
    fn a_slice_outlives_its_mapping() {
        let m = mapping();
        m.write(0, b"kept");
        m.freeze(4);
        let slice = m.slice(0..4).unwrap();
        drop(m);
        assert_eq!(&slice[..], b"kept");
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
                m.write(offset, &[7; 16]);
                m.freeze(offset + 16);
            }
        });
    }
}
