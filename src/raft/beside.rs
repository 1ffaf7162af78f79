//! File work beside the runtime.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::config::Runtime;

/// Runs what reads and writes files on a thread of its own: a segment takes its time, a sector may take long, and a
/// runtime of one thread would stand still meanwhile.
///
/// # Errors
/// If it panicked, or the runtime is shutting down.
pub(crate) fn beside<R: Runtime, T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, io::Result<T>> {
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = work.clone();
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    Box::pin(async move {
        let done = R::spawn_blocking(move || take(&theirs).map(|work| work())).await;
        match done {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(io::ErrorKind::Interrupted.into()),
            // A simulation has one thread, and does not call.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => match take(&work) {
                Some(work) => Ok(work()),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    })
}
