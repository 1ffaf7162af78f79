//! Drops what a call holds whose client does not take its answers.
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
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::wire::client::{failure, to_status};
use crate::wire::pb::failure::Code;

/// A stream of answers that drops all it holds when nobody asks for the next answer in time.
pub(super) struct AnswerTimeout<T> {
    answers: Arc<Mutex<TimedAnswers<T>>>,
    _watch: AbortOnDropHandle<()>,
}

struct TimedAnswers<T> {
    stream: Option<BoxStream<'static, Result<T, Status>>>,
    /// Since when nobody has asked for the next answer; `None` while the connection waits for it.
    unasked: Option<Instant>,
    /// What a client that comes back gets.
    given_up: Option<Status>,
}

impl<T: Send + 'static> AnswerTimeout<T> {
    /// `wait`: how long a client may leave its answers.
    pub(super) fn within(wait: Duration, answers: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Self {
        let answers = TimedAnswers { stream: Some(answers.boxed()), unasked: Some(Instant::now()), given_up: None };
        let answers = Arc::new(Mutex::new(answers));
        let watch = AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&answers), wait)));
        Self { answers, _watch: watch }
    }
}

/// Drops the answers once nobody has asked for one for `wait`.
async fn watch<T>(answers: Weak<Mutex<TimedAnswers<T>>>, wait: Duration) {
    let mut look = Instant::now() + wait;
    loop {
        sleep_until(look).await;
        let Some(answers) = answers.upgrade() else { return };
        let mut answers = answers.lock();
        match answers.unasked {
            Some(since) if since + wait <= Instant::now() => {
                // The client cannot learn the outcome of requests that the call took and did not answer.
                let why =
                    format!("the client did not take the answers of the call for {wait:.0?}: read them as they come");
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
        let mut answers = self.answers.lock();
        let Some(stream) = &mut answers.stream else { return Poll::Ready(answers.given_up.take().map(Err)) };
        let answer = stream.poll_next_unpin(cx);
        answers.unasked = answer.is_ready().then(Instant::now);
        if matches!(answer, Poll::Ready(None)) {
            answers.stream = None;
        }
        answer
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
