//! Waits for a directory that another process is about to leave.
//!
//! A supervisor may start a node while the one before it is still ending: a pod that is deleted by force, a unit that
//! is restarted. If the new node gave up at once, the supervisor would start it again and again.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{OpenError, user};
use crate::raft::Runtime;
use crate::raft::blocking::run_blocking;

/// How often an attempt is made.
const LOOK: Duration = Duration::from_millis(100);

/// How long to wait for a directory that should be free: a process that looks whether it is free holds it meanwhile.
const MOMENT: Duration = Duration::from_secs(1);

/// Tries `attempt`, on a blocking thread, until it says something else than that the directory is in use, but not for
/// longer than `wait`.
///
/// # Errors
/// What the last attempt said.
pub(super) async fn retry_while_locked<R: Runtime, T: Send + 'static>(
    wait: Duration,
    attempt: impl Fn() -> Result<T, OpenError> + Send + Sync + 'static,
) -> Result<T, OpenError> {
    wait_for::<R, T>(wait, true, attempt).await
}

/// The same for a [`MOMENT`] at most, and not for longer than `most`. It logs nothing: where the node had to wait
/// longer, the log said so when the node started.
///
/// # Errors
/// What the last attempt said.
pub(super) async fn retry_briefly<R: Runtime, T: Send + 'static>(
    most: Duration,
    attempt: impl Fn() -> Result<T, OpenError> + Send + Sync + 'static,
) -> Result<T, OpenError> {
    wait_for::<R, T>(most.min(MOMENT), false, attempt).await
}

async fn wait_for<R: Runtime, T: Send + 'static>(
    wait: Duration,
    tells: bool,
    attempt: impl Fn() -> Result<T, OpenError> + Send + Sync + 'static,
) -> Result<T, OpenError> {
    let attempt = Arc::new(attempt);
    let mut waited = Duration::ZERO;
    let mut told = None;
    loop {
        let tried = attempt.clone();
        let tried = run_blocking::<R, _>(move || tried()).await;
        let lost = |source| Err(OpenError::Io { op: "finish opening", path: "a ledger".into(), source });
        match tried.unwrap_or_else(lost) {
            Err(OpenError::Locked { dir, pid }) if waited < wait => {
                if tells && told != Some(pid) {
                    let (holder, dir) = (user(pid), dir.display());
                    let seconds = (wait - waited).as_secs_f64();
                    tracing::warn!(%dir, "the directory is in use by {holder}: waiting up to {seconds} s for it");
                    told = Some(pid);
                }
                let pause = LOOK.min(wait - waited);
                R::sleep(pause).await;
                waited += pause;
            }
            outcome => {
                if told.is_some() && outcome.is_ok() {
                    tracing::info!(seconds = waited.as_secs_f64(), "the directory is free");
                }
                return outcome;
            }
        }
    }
}
