//! Bounds what the replication streams of a ledger have under way in Raft, however often they are begun anew.
//!
//! Raft answers an append when it is flushed, and keeps each until then, whether a caller still waits for the answer or
//! not. A leader ends a stream that this node does not answer, and begins another, which sends the same requests again.
//! While the disk of this node hangs, the leader does so for ever, and each stream would leave behind as many requests
//! as Raft takes from one stream. So the requests of a stream that has ended count until Raft has answered them, and
//! meanwhile Raft gets fewer of the next stream. That loses nothing: Raft could answer them no sooner.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, oneshot};

use crate::raft::Runtime;

/// Most requests that all streams of a ledger have under way. As many as openraft takes from one stream before it waits
/// for an answer: so it never waits with a request in its hand, and drops a stream that has ended at once.
pub(super) const MOST: usize = 64;

/// How many requests the streams of one ledger may still give to Raft. Clones share the count.
#[derive(Debug, Clone)]
pub(super) struct Backlog(Arc<Semaphore>);

impl Backlog {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// The share of a stream that begins: it has no request under way.
    pub(super) fn share(&self) -> Arc<BacklogShare> {
        Arc::new(BacklogShare { left: self.0.clone(), taken: AtomicUsize::new(0) })
    }
}

/// How many requests one stream has under way. Dropping it returns them: Raft has no more of them to answer then.
pub(super) struct BacklogShare {
    left: Arc<Semaphore>,
    taken: AtomicUsize,
}

impl BacklogShare {
    /// Waits until Raft may get one more request.
    pub(super) async fn take(&self) {
        // Never an error: the semaphore is never closed.
        if let Ok(permit) = self.left.acquire().await {
            permit.forget();
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Raft has answered one request.
    fn answered(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.left.add_permits(1);
    }
}

impl Drop for BacklogShare {
    fn drop(&mut self) {
        self.left.add_permits(*self.taken.get_mut());
    }
}

/// Raft's answers to the requests of one stream. After they are dropped, a task still counts the outstanding answers.
pub(super) struct CountedAnswers<S> {
    share: Arc<BacklogShare>,
    /// The answers, and the task that takes the rest of them. `None`: the answers have ended.
    open: Option<(S, oneshot::Sender<S>)>,
    /// Dropped with the answers, which ends the requests.
    _wanted: oneshot::Sender<()>,
}

impl<S: Stream + Unpin + Send + 'static> CountedAnswers<S> {
    /// `wanted` is dropped together with these answers, so that the other end can close the requests.
    pub(super) fn new<R: Runtime>(answers: S, share: Arc<BacklogShare>, wanted: oneshot::Sender<()>) -> Self {
        let (leave, left) = oneshot::channel();
        let theirs = share.clone();
        drop(R::spawn(async move {
            // An error: all answers have come.
            let Ok(mut rest): Result<S, _> = left.await else { return };
            while rest.next().await.is_some() {
                theirs.answered();
            }
        }));
        Self { share, open: Some((answers, leave)), _wanted: wanted }
    }
}

impl<S: Stream + Unpin> Stream for CountedAnswers<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Some((answers, _)) = &mut self.open else { return Poll::Ready(None) };
        let next = ready!(answers.poll_next_unpin(cx));
        match &next {
            Some(_) => self.share.answered(),
            None => self.open = None,
        }
        Poll::Ready(next)
    }
}

impl<S> Drop for CountedAnswers<S> {
    fn drop(&mut self) {
        if let Some((rest, leave)) = self.open.take() {
            // The task is gone with its runtime, and so is Raft.
            let _ = leave.send(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;
    use crate::raft::TokioRuntime;

    /// Takes as much as there is.
    fn fill(share: &BacklogShare) -> usize {
        (0..).take_while(|_| share.take().now_or_never().is_some()).count()
    }

    #[tokio::test]
    async fn what_raft_has_not_answered_counts_when_the_stream_has_ended() {
        let backlog = Backlog::new();
        let old = backlog.share();
        assert_eq!(fill(&old), MOST);
        let (answer, answers) = futures::channel::mpsc::unbounded::<()>();
        let (wanted, gone) = oneshot::channel();
        let mut answers = CountedAnswers::new::<TokioRuntime>(answers, old.clone(), wanted);
        answer.unbounded_send(()).unwrap();
        answers.next().await.unwrap();
        assert_eq!(fill(&backlog.share()), 1, "one was answered");
        drop(answers);
        gone.await.expect_err("the requests are to end");
        assert_eq!(fill(&backlog.share()), 1, "what was taken comes back with its share");
        let next = backlog.share();
        assert_eq!(fill(&next), 1);
        for _ in 0..3 {
            answer.unbounded_send(()).unwrap();
        }
        // Raft has stopped, or refuses the rest.
        answer.close_channel();
        drop(old);
        let more = stream::iter(0..MOST - 1).then(|_| next.take());
        assert_eq!(more.count().await, MOST - 1, "all came back");
    }
}
