//! Descriptors kept in reserve for writes that must not fail for want of one.

use std::fs::File;
use std::io;

use parking_lot::{Mutex, MutexGuard};

use super::is_exhausted;

/// Descriptors to close when the process has no free one: a vote or a start file must not fail for want of one. A
/// [`ReserveOpener`] that closes some keeps the reserve locked until it has filled it again, so one reserve is enough
/// for all ledgers, one after the other.
static RESERVE: Mutex<Vec<File>> = Mutex::new(Vec::new());
/// Descriptors in the reserve: twice what [`Disk::write_atomic`](super::Disk::write_atomic) needs, because another
/// thread may take a descriptor between the closing of one and the opening of the next.
const RESERVED: usize = 4;

/// Fills the reserve as far as the system allows. Does nothing while a [`ReserveOpener`] uses it, which fills it
/// itself.
pub(super) fn reserve() {
    if let Some(mut reserve) = RESERVE.try_lock() {
        fill(&mut reserve);
    }
}

fn fill(reserve: &mut Vec<File>) {
    while reserve.len() < RESERVED {
        match File::open("/dev/null") {
            Ok(file) => reserve.push(file),
            // The next call tries again.
            Err(_) => return,
        }
    }
}

/// Opens files with the help of the reserve, and fills that again when it is dropped. Drop it after those files.
#[derive(Default)]
pub(super) struct ReserveOpener {
    reserve: Option<MutexGuard<'static, Vec<File>>>,
}

impl ReserveOpener {
    /// Opens a file; closes descriptors of the reserve as long as the process has no free one.
    pub(super) fn open(&mut self, open: impl Fn() -> io::Result<File>) -> io::Result<File> {
        let mut opened = open();
        if opened.as_ref().is_err_and(is_exhausted) {
            let reserve = self.reserve.get_or_insert_with(|| RESERVE.lock());
            while opened.as_ref().is_err_and(is_exhausted) {
                let Some(given_up) = reserve.pop() else { break };
                drop(given_up);
                opened = open();
            }
        }
        opened
    }
}

impl Drop for ReserveOpener {
    fn drop(&mut self) {
        match &mut self.reserve {
            Some(reserve) => fill(reserve),
            None => reserve(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::disk::Disk;
    use crate::disk::real::RealDisk;

    const CHILD: &str = "DLEDGER_TEST_WITHOUT_DESCRIPTORS";

    /// The limit holds for the whole process, so the test runs in a process of its own.
    #[test]
    fn many_at_once_write_down_what_they_must_without_a_free_descriptor() {
        const NAME: &str = "disk::reserve::tests::many_at_once_write_down_what_they_must_without_a_free_descriptor";
        if let Some(dir) = std::env::var_os(CHILD) {
            return write_without_descriptors(Path::new(&dir));
        }
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--test-threads=1", "--nocapture"])
            .env(CHILD, dir.path())
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child has run something else");
    }

    fn write_without_descriptors(dir: &Path) {
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let _lock = RealDisk.lock(&dir.join("lock")).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(!taken.is_empty() && taken.len() < 64);
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                scope.spawn(move || {
                    for round in 0..20 {
                        RealDisk.write_atomic(&dir.join(format!("{writer}")), &[writer, round]).unwrap();
                    }
                });
            }
        });
        // A call that fails gives back the descriptors that it took from the reserve.
        for _ in 0..10 {
            RealDisk.write_atomic(&dir.join("no/such/directory"), b"x").unwrap_err();
            RealDisk.write_atomic(&dir.join("0"), b"x").unwrap();
        }
        drop(taken);
        for writer in 1..8_u8 {
            assert_eq!(std::fs::read(dir.join(format!("{writer}"))).unwrap(), [writer, 19]);
        }
    }
}
