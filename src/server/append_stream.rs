//! The append stream: submits requests one after the other in the order they come, and awaits their outcomes together.
//!
//! All of it is one stream that the connection polls: the node does not read from a client that does not take its
//! answers, and does nothing here per record.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, Stream, StreamExt};

use crate::types::BatchAck;
use crate::wire::client::{from_status, to_status};
use crate::wire::pb::{self, append_records_response::Result as Answered};

/// Most requests of one stream that await their outcome; the node reads the next when it answers one of them.
const MAX_AWAITED: usize = 4096;

type AppendOutcome = Result<BatchAck, pb::Failure>;

/// The answers to the requests of one append stream.
///
/// To ensure correctness: a request is handed to `submit` only after the one before it was taken or refused, so their
/// order in the log is the order of the stream.
pub(super) struct AppendAnswers<R, S, P> {
    /// `None` once it has ended.
    requests: Option<R>,
    submit: S,
    submitting: Option<(u64, BoxFuture<'static, Result<P, pb::Failure>>)>,
    awaited: FuturesUnordered<AwaitedAnswer<P>>,
    refused: VecDeque<pb::AppendRecordsResponse>,
    /// Resolves to why the stream takes no more requests. `None` once it has.
    closed: Option<BoxFuture<'static, pb::Failure>>,
    /// What the stream ends with, behind all answers: it tells the client that requests without an answer were not
    /// taken.
    end: Option<tonic::Status>,
}

/// An outcome on its way, with the id of its request.
struct AwaitedAnswer<P> {
    id: u64,
    outcome: P,
}

impl<P: Future<Output = AppendOutcome> + Unpin> Future for AwaitedAnswer<P> {
    type Output = pb::AppendRecordsResponse;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.outcome.poll_unpin(cx));
        Poll::Ready(match outcome {
            Ok(ack) => appended(self.id, ack),
            Err(failure) => failed(self.id, failure),
        })
    }
}

/// The answer to a request whose records are committed.
pub(super) fn appended(id: u64, ack: BatchAck) -> pb::AppendRecordsResponse {
    let BatchAck { first_index, first_position, term, count } = ack;
    let appended = pb::AppendedRecords { first_index, term, first_position, count };
    pb::AppendRecordsResponse { id, result: Some(Answered::Appended(appended)) }
}

fn failed(id: u64, failure: pb::Failure) -> pb::AppendRecordsResponse {
    pb::AppendRecordsResponse { id, result: Some(Answered::Failure(failure)) }
}

impl<R, Q, S, F, P> AppendAnswers<R, S, P>
where
    R: Stream<Item = Result<Q, tonic::Status>> + Unpin,
    Q: Borrow<pb::AppendRecordsRequest>,
    S: FnMut(Q) -> F + Unpin,
    F: Future<Output = Result<P, pb::Failure>> + Send + 'static,
    P: Future<Output = AppendOutcome> + Unpin,
{
    /// `submit` fixes a request's place in the order and returns its outcome as a future; it may wait for room. Once
    /// `closed` says why, the stream takes no more: a client that keeps its side open must not hold up the node's end.
    pub(super) fn new(requests: R, submit: S, closed: impl Future<Output = pb::Failure> + Send + 'static) -> Self {
        Self {
            requests: Some(requests),
            submit,
            submitting: None,
            awaited: FuturesUnordered::new(),
            refused: VecDeque::new(),
            closed: Some(closed.boxed()),
            end: None,
        }
    }

    fn look_for_close(&mut self, cx: &mut Context<'_>) {
        let Some(Poll::Ready(failure)) = self.closed.as_mut().map(|closed| closed.poll_unpin(cx)) else { return };
        (self.closed, self.requests) = (None, None);
        // The request waits for room that nobody will make. Dropped, it was not taken.
        if let Some((id, _)) = self.submitting.take() {
            self.refused.push_back(failed(id, failure.clone()));
        }
        self.end.get_or_insert_with(|| to_status(&failure));
    }

    /// Takes requests until there are none, there is no room, or one is refused.
    fn take_requests(&mut self, cx: &mut Context<'_>) {
        while self.awaited.len() < MAX_AWAITED && self.refused.is_empty() {
            if let Some((id, submitting)) = &mut self.submitting {
                let id = *id;
                let Poll::Ready(submitted) = submitting.poll_unpin(cx) else { return };
                self.submitting = None;
                match submitted {
                    Ok(outcome) => self.awaited.push(AwaitedAnswer { id, outcome }),
                    Err(failure) => self.refused.push_back(failed(id, failure)),
                }
                continue;
            }
            let Some(requests) = &mut self.requests else { return };
            match requests.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    let id = request.borrow().id;
                    self.submitting = Some((id, (self.submit)(request).boxed()));
                }
                Poll::Ready(Some(Err(broken))) => {
                    // Submitted requests go on, and the client gets their answers if it still takes them.
                    tracing::debug!(%broken, "append stream broke");
                    self.requests = None;
                    // The connection still stands if the failure is the node's own.
                    self.end = from_status(&broken).is_some().then_some(broken);
                }
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return,
            }
        }
    }
}

impl<R, Q, S, F, P> Stream for AppendAnswers<R, S, P>
where
    R: Stream<Item = Result<Q, tonic::Status>> + Unpin,
    Q: Borrow<pb::AppendRecordsRequest>,
    S: FnMut(Q) -> F + Unpin,
    F: Future<Output = Result<P, pb::Failure>> + Send + 'static,
    P: Future<Output = AppendOutcome> + Unpin,
{
    type Item = Result<pb::AppendRecordsResponse, tonic::Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.look_for_close(cx);
        // Requests first: an outcome loses nothing by one request more, but a request that is not submitted cannot
        // travel with its neighbours.
        this.take_requests(cx);
        if let Some(refused) = this.refused.pop_front() {
            return Poll::Ready(Some(Ok(refused)));
        }
        match this.awaited.poll_next_unpin(cx) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Ready(None) if this.requests.is_none() && this.submitting.is_none() => {
                this.closed = None;
                Poll::Ready(this.end.take().map(Err))
            }
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[path = "tests/append_stream.rs"]
mod tests;
