//! [`Completion`]: tells its caller the outcome of a flush.

use std::io;

/// Called once with the outcome of a flush that covers what was written before it was queued.
pub(crate) struct Completion(Option<Box<dyn FnOnce(io::Result<()>) + Send>>);

impl Completion {
    pub(crate) fn new(done: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    pub(super) fn complete(mut self, result: io::Result<()>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }

    /// A newer completion of the same pass speaks for this one: Raft takes completions as a watermark.
    pub(super) fn superseded(mut self) {
        self.0 = None;
    }
}

impl Drop for Completion {
    /// A flush that is forgotten would look like a slow disk for ever, so its caller hears of it.
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(io::Error::other("the flusher is gone")));
        }
    }
}
