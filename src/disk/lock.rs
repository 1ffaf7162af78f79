//! A lock on a file, which ends when its holder drops it.

use std::fs::File;
use std::io;

use rustix::fs::FlockOperation;

/// Holds a lock and lets go of it when it is dropped.
///
/// Closing the file is not enough: the lock belongs to the open file, and a process that this one forks shares that
/// open file until it executes its program. Another process that asks for the lock in that moment would find it taken,
/// although no process means to hold it.
struct FlockGuard(File);

/// Takes the lock of `file` as `operation` says; held until the caller drops the returned value.
///
/// # Errors
/// `WouldBlock` if another open file holds it.
pub(super) fn hold(file: File, operation: FlockOperation) -> io::Result<Box<dyn Send + Sync>> {
    rustix::fs::flock(&file, operation)?;
    Ok(Box::new(FlockGuard(file)))
}

impl Drop for FlockGuard {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            // Closing the file still frees it, unless a forked process shares the file.
            tracing::warn!(%error, "cannot unlock a file now: its lock ends when the file is closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_although_a_process_that_was_forked_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::options().create(true).truncate(false).write(true).open(dir.path().join("lock")).unwrap();
        for operation in [FlockOperation::NonBlockingLockExclusive, FlockOperation::NonBlockingLockShared] {
            let file = open();
            // A fork makes another descriptor of the same open file, as this does.
            let forked = file.try_clone().unwrap();
            let held = hold(file, operation).unwrap();
            let error = hold(open(), FlockOperation::NonBlockingLockExclusive).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            drop(held);
            assert!(hold(open(), FlockOperation::NonBlockingLockExclusive).is_ok(), "{operation:?}");
            drop(forked);
        }
    }
}
