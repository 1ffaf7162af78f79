//! File work beside the runtime.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::type_config::Runtime;

#[cfg(feature = "internals")]
thread_local! {
    static INLINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on this thread is part of a simulation in tokio's time: what it hands to another thread would be done
/// sooner or later by the machine's clock, and no two runs of a seed would be the same.
#[cfg(feature = "internals")]
pub fn inline_on_this_thread() {
    INLINE.set(true);
}

/// Runs what reads and writes files on a thread of its own: a segment takes its time, a sector may take long, and a
/// runtime of one thread would stand still meanwhile.
///
/// # Errors
/// If it panicked, or the runtime is shutting down.
pub(crate) fn run_blocking<R: Runtime, T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, io::Result<T>> {
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = work.clone();
    let take = |work: &Mutex<Option<_>>| work.lock().take();
    Box::pin(async move {
        #[cfg(feature = "internals")]
        if INLINE.get() {
            return take(&work).map(|work| work()).ok_or_else(|| io::ErrorKind::Interrupted.into());
        }
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
