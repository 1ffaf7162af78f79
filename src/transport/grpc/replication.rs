//! The caller's side of a replication stream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Status, Streaming};

use super::status;
use crate::transport::TransportError;
use crate::wire::pb;

/// How many times per stall timeout [`ReplicationAnswers`] checks for a stall. It notices a stall at most two checks
/// late, at no cost per message.
const CHECKS_PER_STALL: u32 = 8;

/// The requests as tonic takes them: counted, and closed from outside by [`RequestsGuard`].
///
/// Dropping tonic's answers does not stop hyper from polling the requests, so [`RequestsGuard`] closes them.
pub(crate) struct ReplicationRequests(Arc<Shared>);

/// Closes [`ReplicationRequests`]: dropping it drops the requests at once, even while tonic is not polling them.
pub(crate) struct RequestsGuard(Arc<Shared>);

struct Shared {
    requests: Mutex<Option<BoxStream<'static, pb::AppendRequest>>>,
    sent: AtomicU64,
    /// The task that polls the requests, woken when they are closed.
    polling: AtomicWaker,
}

impl ReplicationRequests {
    pub(crate) fn new(requests: BoxStream<'static, pb::AppendRequest>) -> (Self, RequestsGuard) {
        let shared = Arc::new(Shared {
            requests: Mutex::new(Some(requests)),
            sent: AtomicU64::new(0),
            polling: AtomicWaker::new(),
        });
        (Self(shared.clone()), RequestsGuard(shared))
    }
}

impl Stream for ReplicationRequests {
    type Item = pb::AppendRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.polling.register(cx.waker());
        let mut requests = self.0.requests.lock();
        let Some(open) = requests.as_mut() else {
            return Poll::Ready(None);
        };
        let next = ready!(open.as_mut().poll_next(cx));
        match next {
            Some(_) => drop(self.0.sent.fetch_add(1, Ordering::Relaxed)),
            None => *requests = None,
        }
        Poll::Ready(next)
    }
}

impl Drop for RequestsGuard {
    fn drop(&mut self) {
        let requests = self.0.requests.lock().take();
        self.0.polling.wake();
        drop(requests);
    }
}

/// The answers, which end with an error when the peer has stalled.
///
/// To ensure correctness: the server gives every request one answer. A request counts as sent once it has been taken
/// from the caller; as long as all are answered the stream may be silent for ever.
pub(crate) struct ReplicationAnswers<S = Streaming<pb::AppendResponse>> {
    address: String,
    /// `None` once the stream has ended.
    open: Option<Open<S>>,
    answered: u64,
    stall: Duration,
    look: Interval,
    /// Since when an answer has been due, and the number of answers at that time.
    silent: Option<(Instant, u64)>,
    on_stall: Box<dyn Fn() + Send>,
}

struct Open<S> {
    answers: S,
    guard: RequestsGuard,
}

impl<S> ReplicationAnswers<S>
where
    S: Stream<Item = Result<pb::AppendResponse, Status>> + Unpin,
{
    /// `on_stall` is called when the stream is found to be stalled.
    pub(crate) fn new(
        address: String,
        answers: S,
        guard: RequestsGuard,
        stall: Duration,
        on_stall: impl Fn() + Send + 'static,
    ) -> Self {
        let every = (stall / CHECKS_PER_STALL).max(Duration::from_millis(1));
        let mut look = tokio::time::interval(every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = Some(Open { answers, guard });
        Self { address, open, answered: 0, stall, look, silent: None, on_stall: Box::new(on_stall) }
    }

    /// The number of unanswered requests if there has been no answer for too long.
    ///
    /// Silence counts from the first check that found an answer due, never from before: the caller may not have polled
    /// for answers meanwhile.
    fn stalled(&mut self, sent: u64) -> Option<u64> {
        let unanswered = sent.saturating_sub(self.answered);
        let now = Instant::now();
        match self.silent {
            _ if unanswered == 0 => self.silent = None,
            Some((since, at)) if at == self.answered => return (now - since >= self.stall).then_some(unanswered),
            _ => self.silent = Some((now, self.answered)),
        }
        None
    }
}

impl<S> Stream for ReplicationAnswers<S>
where
    S: Stream<Item = Result<pb::AppendResponse, Status>> + Unpin,
{
    type Item = Result<pb::AppendResponse, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(open) = &mut this.open else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(next) = Pin::new(&mut open.answers).poll_next(cx) {
            return Poll::Ready(match next {
                Some(Ok(answer)) => {
                    this.answered += 1;
                    Some(Ok(answer))
                }
                Some(Err(status)) => {
                    this.open = None;
                    Some(Err(status::to_error(&this.address, &status)))
                }
                None => {
                    this.open = None;
                    None
                }
            });
        }
        let sent = open.guard.0.sent.load(Ordering::Relaxed);
        loop {
            ready!(this.look.poll_tick(cx));
            if let Some(unanswered) = this.stalled(sent) {
                this.open = None;
                (this.on_stall)();
                let reason = format!("stalled: {unanswered} requests unanswered, no answer for {:?}", this.stall);
                return Poll::Ready(Some(Err(TransportError::Broken { address: this.address.clone(), reason })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use futures::{FutureExt, StreamExt, stream};

    use super::*;

    const STALL: Duration = Duration::from_secs(5);

    /// A stream whose requests the test pulls as tonic would and whose answers the test gives.
    fn replication()
    -> (ReplicationRequests, mpsc::UnboundedSender<Result<pb::AppendResponse, Status>>, ReplicationAnswers<Given>) {
        let (requests, guard) = ReplicationRequests::new(stream::repeat(pb::AppendRequest::default()).boxed());
        let (give, given) = mpsc::unbounded();
        (requests, give, ReplicationAnswers::new("a:1".into(), given, guard, STALL, || {}))
    }
    type Given = mpsc::UnboundedReceiver<Result<pb::AppendResponse, Status>>;

    async fn rest(answers: &mut ReplicationAnswers<Given>, wait: Duration) -> Option<Option<Result<(), String>>> {
        let next = tokio::time::timeout(wait, answers.next()).await.ok()?;
        Some(next.map(|answer| answer.map(drop).map_err(|e| e.to_string())))
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_stream_is_not_stalled_and_a_silent_one_is() {
        let (mut requests, give, mut answers) = replication();
        assert_eq!(rest(&mut answers, STALL * 10).await, None);
        requests.next().await.unwrap();
        requests.next().await.unwrap();
        give.unbounded_send(Ok(pb::AppendResponse::default())).unwrap();
        give.unbounded_send(Ok(pb::AppendResponse::default())).unwrap();
        assert_eq!(rest(&mut answers, STALL).await, Some(Some(Ok(()))));
        assert_eq!(rest(&mut answers, STALL).await, Some(Some(Ok(()))));
        assert_eq!(rest(&mut answers, STALL * 10).await, None);

        requests.next().await.unwrap();
        let error = rest(&mut answers, STALL * 2).await.unwrap().unwrap().unwrap_err();
        assert!(error.contains("stalled: 1 requests unanswered"), "{error}");
        assert_eq!(rest(&mut answers, STALL).await, Some(None));
        assert!(requests.next().await.is_none(), "a stalled stream must not be fed any more");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_are_progress() {
        let (mut requests, give, mut answers) = replication();
        for _ in 0..20 {
            requests.next().await.unwrap();
        }
        for _ in 0..19 {
            assert_eq!(rest(&mut answers, STALL * 3 / 4).await, None);
            give.unbounded_send(Ok(pb::AppendResponse::default())).unwrap();
            assert_eq!(rest(&mut answers, STALL).await, Some(Some(Ok(()))));
        }
        let error = rest(&mut answers, STALL * 2).await.unwrap().unwrap().unwrap_err();
        assert!(error.contains("stalled"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_look_is_no_stall() {
        let (mut requests, give, mut answers) = replication();
        assert_eq!(rest(&mut answers, STALL).await, None);
        tokio::time::advance(STALL * 10).await;
        requests.next().await.unwrap();
        assert_eq!(rest(&mut answers, STALL / 2).await, None);
        give.unbounded_send(Ok(pb::AppendResponse::default())).unwrap();
        assert_eq!(rest(&mut answers, STALL).await, Some(Some(Ok(()))));
    }

    #[tokio::test]
    async fn dropping_the_answers_drops_the_requests_at_once_and_wakes_their_reader() {
        struct Flag(Arc<()>);
        let alive = Arc::new(());
        let flag = Flag(alive.clone());
        let never = stream::poll_fn(move |_| {
            let _held = &flag.0;
            Poll::<Option<pb::AppendRequest>>::Pending
        });
        let (mut requests, guard) = ReplicationRequests::new(never.boxed());
        let reader = tokio::spawn(async move { requests.next().await });
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(guard);
        assert_eq!(Arc::strong_count(&alive), 1);
        let end = tokio::time::timeout(Duration::from_secs(20), reader).await.expect("not woken");
        assert!(end.unwrap().is_none());
    }

    #[test]
    fn closed_requests_end() {
        let (mut requests, guard) = ReplicationRequests::new(stream::empty().boxed());
        assert!(requests.next().now_or_never().unwrap().is_none());
        assert!(requests.next().now_or_never().unwrap().is_none());
        drop(guard);
    }
}
