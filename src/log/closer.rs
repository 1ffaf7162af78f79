//! The right to end a log.

use std::io;
use std::sync::Arc;

use super::failure::Failure;
use super::files::log_files::LogFiles;
use super::flusher::Flusher;
use super::spare::Spare;

/// Ends a log: the node holds it.
#[derive(Clone)]
pub(crate) struct LogCloser {
    pub(in crate::log) files: Arc<LogFiles>,
    pub(in crate::log) flusher: Arc<Flusher>,
    pub(in crate::log) spare: Arc<Spare>,
}

impl LogCloser {
    /// Syncs everything, the commit point too, and unlocks the directory. Blocks until the log's file work is done. The
    /// log takes no write after.
    ///
    /// # Errors
    /// If a sync fails or one failed before.
    pub(crate) fn close(&self) -> io::Result<()> {
        if self.files.failure() == Some(&Failure::Ended) {
            return Ok(());
        }
        self.flusher.flush();
        let closed = self.flusher.sync_hard_state();
        self.abandon();
        self.release();
        closed
    }

    /// Ends all writes and syncs of the log, as if its process were killed. The directory stays locked while a writer's
    /// call is still under way: [`LogCloser::release`] unlocks it.
    pub(crate) fn abandon(&self) {
        self.flusher.abandon();
    }

    /// Ends the file work of a log that was abandoned, and unlocks the directory. Blocks until that work is done.
    pub(crate) fn release(&self) {
        self.spare.wait_for_allocation();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // Jobs run in order and a panic in one does not end the thread, so this one runs.
        self.files.options().background.run(Box::new(move || drop(done)));
        let _ = wait.recv();
        self.files.directory().unlock();
    }
}
