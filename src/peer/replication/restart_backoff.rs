//! When a replication stream that brought nothing may begin again.
//!
//! openraft pauses when a peer cannot be reached, and forgets the failures at the first answer of any kind. Two nodes
//! that answer each other but make no progress, whatever the reason, would keep each other busy for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::StreamAppendError;

use super::AppendOutcome;
use crate::raft::log_id::LogId;
use crate::raft::{Runtime, TypeConfig};

/// Cost of a conflict. A leader that looks for the end of a log finds it with fewer than [`FREE`] of them.
const CONFLICT: u32 = 1;
/// Cost of an error.
const ERROR: u32 = 16;
/// Cost up to which there is no pause.
const FREE: u32 = 64;
/// The first pause; each further cost of [`ERROR`] doubles it.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// What the streams to one peer have cost since the last one that brought the peer further. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::peer) struct RestartBackoff(Arc<AtomicU32>);

fn pause(cost: u32) -> Duration {
    match cost.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(over) => (FIRST * (1 << (over / ERROR).min(6))).min(LONGEST),
    }
}

impl RestartBackoff {
    /// Waits until the next stream may begin.
    pub(in crate::peer) async fn wait<R: Runtime>(&self) {
        let pause = pause(self.0.load(Ordering::Relaxed));
        if !pause.is_zero() {
            R::sleep(pause).await;
        }
    }

    fn add(&self, cost: u32) {
        // The longest pause is reached far below this bound, which only keeps the sum from overflowing.
        self.0.fetch_add(cost, Ordering::Relaxed);
        self.0.fetch_min(1 << 20, Ordering::Relaxed);
    }

    /// Counts a stream that ended with `error`. `answered`: whether the peer took an append of this stream before the
    /// error; a conflict or a higher vote is no such answer.
    pub(in crate::peer) fn failed<R: Runtime>(&self, error: &RPCError<TypeConfig<R>>, answered: bool) {
        match error {
            // openraft itself pauses after this error.
            RPCError::Unreachable(_) if !answered => {}
            _ => self.add(ERROR),
        }
    }

    /// Counts the answers of a stream whose first request comes behind the entry `began`.
    pub(in crate::peer) fn watch<'s, R: Runtime>(
        &self,
        answers: impl Stream<Item = AppendOutcome<R>> + 's,
        began: Option<LogId>,
    ) -> impl Stream<Item = AppendOutcome<R>> + 's {
        let (pace, mut answered) = (self.clone(), false);
        answers.inspect(move |answer| {
            match answer {
                Ok(Ok(matched)) if *matched > began => pace.0.store(0, Ordering::Relaxed),
                Ok(Ok(_)) => {}
                Ok(Err(StreamAppendError::Conflict(_))) => pace.add(CONFLICT),
                // The leader steps down.
                Ok(Err(StreamAppendError::HigherVote(_))) => {}
                Err(error) => pace.failed(error, answered),
            }
            answered |= matches!(answer, Ok(Ok(_)));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::{FutureExt, stream};
    use openraft::errors::{NetworkError, Unreachable};

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::raft::log_id::log_id;

    fn error() -> AppendOutcome<TokioRuntime> {
        Err(NetworkError::new(&io::Error::other("reset")).into())
    }

    fn stream(pace: &RestartBackoff, answers: Vec<AppendOutcome<TokioRuntime>>) -> Duration {
        pace.watch(stream::iter(answers), Some(log_id(1, 5))).collect::<Vec<_>>().now_or_never().unwrap();
        pause(pace.0.load(Ordering::Relaxed))
    }

    #[test]
    fn streams_that_bring_nothing_begin_ever_more_seldom_and_one_that_does_ends_that() {
        let pace = RestartBackoff::default();
        let nothing_new = || Ok(Ok(Some(log_id(1, 5))));
        let pauses: Vec<_> = (0..12).map(|_| stream(&pace, vec![nothing_new(), error()]).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(stream(&pace, vec![Ok(Ok(Some(log_id(1, 6)))), nothing_new()]), Duration::ZERO);
        // openraft itself pauses after a peer that cannot be reached; not if that one answered before.
        let unreachable = || Err(Unreachable::new(&io::Error::other("refused")).into());
        (0..100).for_each(|_| assert_eq!(stream(&pace, vec![unreachable()]), Duration::ZERO));
        (0..4).for_each(|_| _ = stream(&pace, vec![nothing_new(), unreachable()]));
        assert_eq!(stream(&pace, vec![nothing_new(), unreachable()]), FIRST);
    }

    #[test]
    fn a_leader_finds_the_end_of_a_log_without_a_pause_and_does_not_look_for_ever() {
        let pace = RestartBackoff::default();
        let conflict = || Ok(Err(StreamAppendError::Conflict(log_id(1, 5))));
        (0..64).for_each(|_| assert_eq!(stream(&pace, vec![conflict()]), Duration::ZERO));
        assert_eq!(stream(&pace, vec![conflict()]), FIRST);
        (0..10_000).for_each(|_| _ = stream(&pace, vec![conflict()]));
        assert_eq!(stream(&pace, vec![conflict()]), LONGEST);
    }
}
