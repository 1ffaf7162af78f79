//! Bounds what the replication streams of a ledger have under way in Raft, however often they are begun anew.
//!
//! Raft answers an append when it is flushed, and keeps what it has to answer until then, whether anybody still waits
//! for it or not. A leader ends a stream that is not answered and begins another one, which sends the same again: while
//! the disk of this node hangs, that goes on for ever, and each stream would leave behind as much as Raft takes from
//! one. So what is left of a stream that has ended counts until Raft has answered it, and meanwhile Raft is given less
//! of the next one. That loses nothing: it could be answered no sooner.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, oneshot};

use crate::raft::Runtime;

/// Requests under way, of all streams of a ledger. As many as openraft takes from one before it waits for an answer: so
/// it never waits with one in its hand, and a stream that has ended is let go of at once.
pub(super) const MOST: usize = 64;

/// What the streams of one ledger may still give to Raft. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Backlog(Arc<Semaphore>);

impl Backlog {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// What a stream that begins has under way: nothing.
    pub(super) fn share(&self) -> Arc<BacklogShare> {
        Arc::new(BacklogShare { left: self.0.clone(), taken: AtomicUsize::new(0) })
    }
}

/// What one stream has under way. Given back when it is dropped: nothing of it is to be answered any more then.
pub(super) struct BacklogShare {
    left: Arc<Semaphore>,
    taken: AtomicUsize,
}

impl BacklogShare {
    /// Waits until Raft may be given one request more.
    pub(super) async fn take(&self) {
        // No error: it is never closed.
        if let Ok(permit) = self.left.acquire().await {
            permit.forget();
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Raft has answered one.
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

/// Raft's answers to the requests of a stream. When they are dropped, those that are to come are still counted.
pub(super) struct CountedAnswers<S> {
    share: Arc<BacklogShare>,
    /// And who waits for the rest of them. `None`: they have ended.
    open: Option<(S, oneshot::Sender<S>)>,
    /// Dropped with these.
    _wanted: oneshot::Sender<()>,
}

impl<S: Stream + Unpin + Send + 'static> CountedAnswers<S> {
    /// `wanted` is dropped when nobody wants any more of them: then the requests are to end.
    pub(super) fn new<R: Runtime>(answers: S, share: Arc<BacklogShare>, wanted: oneshot::Sender<()>) -> Self {
        let (leave, left) = oneshot::channel();
        let theirs = share.clone();
        drop(R::spawn(async move {
            // An error: all have come.
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
