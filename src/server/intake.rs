//! Appends as they come in: how many bytes of them may be on the node before a ledger has taken them.
//!
//! A message is only read when the node has room for all of it, and until then what its client may send is bounded by
//! the window of its stream. So however many clients there are, and whatever keeps the ledgers from taking more, the
//! node holds no more than it was told to.

use std::borrow::Borrow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::Stream;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Body as _;

use crate::config::Config;
use crate::rpc::client_wire::{REQUEST_SLACK, failure, oversized, to_status};
use crate::rpc::pb::{self, failure::Code};

/// gRPC's frame of a message: whether it is compressed, and its length (4).
const HEADER: usize = 5;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 512;

/// The room that a node has for appends no ledger has taken yet.
pub(super) struct Intake {
    /// For messages that are being read, or wait for room in their ledger.
    messages: Arc<Semaphore>,
    /// For what streams may send before they are read.
    streams: Arc<Semaphore>,
    /// What one stream takes of it.
    stream: u32,
    /// The largest batch; a message may be larger by [`REQUEST_SLACK`].
    batch: usize,
    total: usize,
    wait: Duration,
}

impl Intake {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let half = config.max_client_bytes / 2;
        let stream = config.client_stream();
        Arc::new(Self {
            messages: Arc::new(Semaphore::new(half)),
            // At least one for each connection that there may be: [`Config::validate`] sees to it.
            streams: Arc::new(Semaphore::new(half)),
            stream: u32::try_from(stream).unwrap_or(u32::MAX),
            batch: config.max_batch_bytes,
            total: config.max_client_bytes,
            wait: config.append_timeout,
        })
    }

    /// The requests in `body`, each of which waits no longer than `limit` for room, nor than this node lets any append
    /// wait.
    ///
    /// # Errors
    /// There are too many streams.
    pub(super) fn requests(self: &Arc<Self>, body: Body, limit: Option<Duration>) -> Result<Requests, Status> {
        let Ok(window) = self.streams.clone().try_acquire_many_owned(self.stream) else {
            return Err(self.busy("so many append streams are open that there is no room for another one"));
        };
        let wait = limit.unwrap_or(self.wait).min(self.wait);
        let (intake, state, rest) = (self.clone(), State::Header, Bytes::new());
        Ok(Requests { intake, body, wait, state, rest, late: None, _window: window })
    }

    fn busy(&self, why: &str) -> Status {
        let remedy = "append again later, or raise --max-client-bytes (`Config::max_client_bytes`) of the node";
        let busy = failure(Code::Busy, format!("{why} ({} bytes are for appends of clients): {remedy}", self.total));
        to_status(&pb::Failure { limit: self.total as u64, ..busy })
    }

    /// Room for a message of `length` bytes, once there is; `None`: not in time.
    fn room(&self, length: usize, wait: Duration) -> BoxFuture<'static, Option<OwnedSemaphorePermit>> {
        // Never more than there is: a message alone can always have it.
        let cost = u32::try_from((length + OVERHEAD).min(self.total / 2)).unwrap_or(u32::MAX);
        let messages = self.messages.clone();
        match messages.clone().try_acquire_many_owned(cost) {
            Ok(room) => std::future::ready(Some(room)).boxed(),
            Err(_) => async move {
                let room = tokio::time::timeout(wait, messages.acquire_many_owned(cost)).await;
                room.ok()?.ok()
            }
            .boxed(),
        }
    }
}

/// A request, and the room that it takes until a ledger has taken it.
pub(super) struct Taken {
    pub(super) request: pb::AppendRecordsRequest,
    pub(super) room: OwnedSemaphorePermit,
}

impl Borrow<pb::AppendRecordsRequest> for Taken {
    fn borrow(&self) -> &pb::AppendRecordsRequest {
        &self.request
    }
}

/// The requests of one call. After an error it ends.
pub(super) struct Requests {
    intake: Arc<Intake>,
    body: Body,
    wait: Duration,
    state: State,
    /// Bytes that have come and are not looked at yet.
    rest: Bytes,
    /// When the rest of a message is not waited for any more, once it was waited for: it holds room.
    late: Option<Pin<Box<Sleep>>>,
    _window: OwnedSemaphorePermit,
}

enum State {
    /// The next is a message's header.
    Header,
    /// Waits for room for a message of so many bytes.
    Waiting(usize, BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    /// Reads a message of so many bytes.
    Message(usize, BytesMut, OwnedSemaphorePermit),
    Over,
}

impl Requests {
    /// Whether there are at least `wanted` bytes in `rest` in the end. Only what is called for is read.
    fn poll_rest(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<bool, Status>> {
        while self.rest.len() < wanted {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(Ok(false)) };
            // Trailers say nothing here.
            let Ok(data) = frame?.into_data() else { continue };
            self.rest = match self.rest.is_empty() {
                true => data,
                false => [&self.rest[..], &data].concat().into(),
            };
        }
        Poll::Ready(Ok(true))
    }

    /// The length of the next message; `None` if there is none.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<usize>, Status>> {
        if !ready!(self.poll_rest(cx, HEADER))? {
            return Poll::Ready(if self.rest.is_empty() { Ok(None) } else { Err(cut()) });
        }
        let compressed = self.rest.get_u8();
        let length = self.rest.get_u32() as usize;
        if compressed != 0 {
            return Poll::Ready(Err(Status::unimplemented("the request is compressed: send it as it is")));
        }
        if length > self.intake.batch + REQUEST_SLACK {
            return Poll::Ready(Err(to_status(&oversized(self.intake.batch))));
        }
        Poll::Ready(Ok(Some(length)))
    }

    /// The message that is being read, once all of it has come.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        mut message: BytesMut,
        room: OwnedSemaphorePermit,
    ) -> Poll<Result<Taken, Status>> {
        loop {
            let some = self.rest.split_to(self.rest.len().min(length - message.len()));
            message.extend_from_slice(&some);
            if message.len() == length {
                (self.state, self.late) = (State::Header, None);
                let request = pb::AppendRecordsRequest::decode(message.freeze());
                let request = request.map_err(|error| to_status(&failure(Code::Malformed, error)));
                return Poll::Ready(request.map(|request| Taken { request, room }));
            }
            match self.poll_rest(cx, 1) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(cut())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.wait)));
                    if late.poll_unpin(cx).is_ready() {
                        let why = format!("the rest of an append did not come within {:?}", self.wait);
                        return Poll::Ready(Err(self.intake.busy(&why)));
                    }
                    self.state = State::Message(length, message, room);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Taken, Status>>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Header => match self.poll_header(cx) {
                    Poll::Pending => {
                        self.state = State::Header;
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(None)) => return Poll::Ready(None),
                    Poll::Ready(Ok(Some(length))) => State::Waiting(length, self.intake.room(length, self.wait)),
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                },
                State::Waiting(length, mut room) => match room.poll_unpin(cx) {
                    Poll::Pending => {
                        self.state = State::Waiting(length, room);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(room)) => State::Message(length, BytesMut::with_capacity(length), room),
                    Poll::Ready(None) => {
                        let why = format!("for {:?} there was no room for an append", self.wait);
                        return Poll::Ready(Some(Err(self.intake.busy(&why))));
                    }
                },
                State::Message(length, message, room) => match self.poll_message(cx, length, message, room) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(request) => return Poll::Ready(Some(request)),
                },
            };
        }
    }
}

fn cut() -> Status {
    Status::internal("the call ends within a request")
}

impl Stream for Requests {
    type Item = Result<Taken, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let request = self.poll_request(cx);
        if matches!(request, Poll::Ready(None | Some(Err(_)))) {
            // Nothing more is read, and what was sent is let go.
            (self.state, self.rest, self.body) = (State::Over, Bytes::new(), Body::empty());
        }
        request
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
