//! Answers that a client does not take.
//!
//! The connection polls a call's answers only while its client has a window for them. A client that has none, by intent
//! or because it hangs, would keep for ever what its call holds on the node: room of the
//! [`AppendBudget`](super::append_budget::AppendBudget), and a place among the streams. While nobody polls the call,
//! none of its own timers runs.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::wire::client::{failure, to_status};
use crate::wire::pb::failure::Code;

/// A stream of answers that lets go of all it holds when nobody asks for the next one in time.
pub(super) struct AnswerTimeout<T> {
    answers: Arc<Mutex<TimedAnswers<T>>>,
    watch: AbortHandle,
}

struct TimedAnswers<T> {
    stream: Option<BoxStream<'static, Result<T, Status>>>,
    /// Since when the next answer is not asked for; `None` while it is waited for.
    unasked: Option<Instant>,
    /// What a client that comes back is told.
    given_up: Option<Status>,
}

impl<T: Send + 'static> AnswerTimeout<T> {
    /// `wait`: how long a client may leave its answers before they are given up.
    pub(super) fn within(wait: Duration, answers: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Self {
        let answers = TimedAnswers { stream: Some(answers.boxed()), unasked: Some(Instant::now()), given_up: None };
        let answers = Arc::new(Mutex::new(answers));
        let watch = tokio::spawn(watch(Arc::downgrade(&answers), wait)).abort_handle();
        Self { answers, watch }
    }
}

fn locked<T>(answers: &Mutex<TimedAnswers<T>>) -> MutexGuard<'_, TimedAnswers<T>> {
    // A poll that panicked has ended its connection; what is left of the stream is only dropped.
    answers.lock()
}

async fn watch<T>(answers: Weak<Mutex<TimedAnswers<T>>>, wait: Duration) {
    let mut look = Instant::now() + wait;
    loop {
        sleep_until(look).await;
        let Some(answers) = answers.upgrade() else { return };
        let mut answers = locked(&answers);
        match answers.unasked {
            Some(since) if since + wait <= Instant::now() => {
                // What became of what it took and did not answer is not told any more.
                let why = format!("the answers of the call were not taken for {wait:.0?}: read them as they come");
                answers.given_up = Some(to_status(&failure(Code::UnknownOutcome, why)));
                answers.stream = None;
                return;
            }
            Some(since) => look = since + wait,
            None => look = Instant::now() + wait,
        }
    }
}

impl<T> Stream for AnswerTimeout<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut answers = locked(&self.answers);
        let Some(stream) = &mut answers.stream else { return Poll::Ready(answers.given_up.take().map(Err)) };
        let answer = stream.poll_next_unpin(cx);
        answers.unasked = answer.is_ready().then(Instant::now);
        if matches!(answer, Poll::Ready(None)) {
            answers.stream = None;
        }
        answer
    }
}

impl<T> Drop for AnswerTimeout<T> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;
    use crate::wire::client::from_status;

    const WAIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn what_a_call_holds_is_let_go_when_its_answers_are_not_taken() {
        for polled in [false, true] {
            let (sender, receiver) = mpsc::unbounded::<Result<u64, Status>>();
            let mut answers = AnswerTimeout::within(WAIT, receiver);
            if polled {
                sender.unbounded_send(Ok(1)).unwrap();
                assert_eq!(answers.next().await.unwrap().unwrap(), 1);
            }
            tokio::task::yield_now().await;
            tokio::time::advance(WAIT).await;
            tokio::task::yield_now().await;
            assert!(sender.is_closed(), "polled: {polled}");
            // It does not end as if all had been answered, nor as if what was not answered had been refused.
            let status = answers.next().await.unwrap().unwrap_err();
            assert_eq!(from_status(&status).unwrap().code(), Code::UnknownOutcome, "{status}");
            assert!(answers.next().await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_an_answer_may_wait_for_long() {
        let (sender, receiver) = mpsc::unbounded::<Result<u64, Status>>();
        let mut answers = AnswerTimeout::within(WAIT, receiver);
        assert!(futures::poll!(answers.next()).is_pending());
        for _ in 0..10 {
            tokio::time::advance(WAIT).await;
            tokio::task::yield_now().await;
        }
        sender.unbounded_send(Ok(7)).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), 7);
        drop(sender);
        assert!(answers.next().await.is_none());
    }
}
