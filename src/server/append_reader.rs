//! Reads the append requests of one call, each when the node has room for it.

use std::borrow::Borrow;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::Stream;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Body as _;

use super::append_budget::AppendBudget;
use crate::types::Span;
use crate::wire::client::{MAX_REQUEST_RECORDS, REQUEST_SLACK, failure, oversized, to_status, too_many};
use crate::wire::pb::{self, failure::Code};

/// Bytes of gRPC's frame before a message: whether the message is compressed (1), and its length (4).
const HEADER: usize = 5;
/// Number of the field `AppendRecordsRequest.records`.
const RECORDS_FIELD: u32 = 4;
/// A client that sends less than 64 KiB of a message within the wait hangs: even a far one sends a window in each round
/// trip.
const LEAST_PROGRESS: usize = 64 << 10;

/// A request that was read, and the room that it takes until a ledger has taken it.
pub(super) struct AdmittedAppend {
    pub(super) request: pb::AppendRecordsRequest,
    pub(super) room: OwnedSemaphorePermit,
    /// When its first bytes came: from then on the time that its client gives it runs.
    pub(super) since: Instant,
}

impl Borrow<pb::AppendRecordsRequest> for AdmittedAppend {
    fn borrow(&self) -> &pb::AppendRecordsRequest {
        &self.request
    }
}

/// The requests of one call, as a stream. It ends after an error.
pub(super) struct AppendReader {
    budget: Arc<AppendBudget>,
    body: Body,
    wait: Duration,
    state: ReadState,
    /// Bytes that have come and are not decoded yet.
    rest: Bytes,
    /// When the first bytes of the present message came.
    since: Instant,
    /// When the present message, which holds room, must have got further.
    late: Option<ProgressDeadline>,
    _window: OwnedSemaphorePermit,
}

/// When the reader gives a message up, unless enough more of it has come.
struct ProgressDeadline {
    at: Pin<Box<Sleep>>,
    /// How much had come when the deadline was set.
    had: usize,
}

enum ReadState {
    /// Next comes the header of a message.
    Header,
    /// Waits for room for a message of this many bytes.
    Waiting(usize, BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    /// Reads a message of this many bytes.
    Message(usize, BytesMut, OwnedSemaphorePermit),
    Over,
}

impl AppendReader {
    /// Reads the requests in `body`. Each waits for room no longer than `limit`, nor than this node lets any append
    /// wait.
    ///
    /// # Errors
    /// Too many streams are open.
    pub(super) fn new(budget: &Arc<AppendBudget>, body: Body, limit: Option<Duration>) -> Result<Self, Status> {
        let (budget, window) = (budget.clone(), budget.window()?);
        let wait = limit.unwrap_or(budget.wait()).min(budget.wait());
        let (state, rest, since) = (ReadState::Header, Bytes::new(), Instant::now());
        Ok(Self { budget, body, wait, state, rest, since, late: None, _window: window })
    }

    /// Reads until there are `wanted` bytes in `rest`, and no further; false if the body ends before.
    fn poll_rest(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<bool, Status>> {
        while self.rest.len() < wanted {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(Ok(false)) };
            // Trailers carry nothing that a request needs.
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
            return Poll::Ready(Err(malformed("the request is compressed: send it as it is")));
        }
        if length > self.budget.batch + REQUEST_SLACK {
            return Poll::Ready(Err(to_status(&oversized(self.budget.batch))));
        }
        Poll::Ready(Ok(Some(length)))
    }

    /// Reads on; ready once all of the message has come.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        mut message: BytesMut,
        room: OwnedSemaphorePermit,
    ) -> Poll<Result<AdmittedAppend, Status>> {
        loop {
            let some = self.rest.split_to(self.rest.len().min(length - message.len()));
            message.extend_from_slice(&some);
            if message.len() == length {
                (self.state, self.late) = (ReadState::Header, None);
                return Poll::Ready(self.taken(message.freeze(), room));
            }
            match self.poll_rest(cx, 1) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(cut())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if let Err(hangs) = self.look_for_progress(cx, message.len()) {
                        return Poll::Ready(Err(hangs));
                    }
                    self.state = ReadState::Message(length, message, room);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Goes on waiting for the rest of a message of which `have` bytes have come.
    ///
    /// # Errors
    /// Too few bytes have come for too long.
    fn look_for_progress(&mut self, cx: &mut Context<'_>, have: usize) -> Result<(), Status> {
        let wait = self.wait;
        loop {
            let late = self.late.get_or_insert_with(|| ProgressDeadline { at: Box::pin(sleep(wait)), had: have });
            if late.at.poll_unpin(cx).is_pending() {
                return Ok(());
            }
            if have - late.had < LEAST_PROGRESS {
                return Err(self.budget.busy(&format!("the rest of an append did not come within {}", Span(wait))));
            }
            self.late = None;
        }
    }

    /// The request in `message`, with the part of `room` that it needs.
    fn taken(&self, message: Bytes, mut room: OwnedSemaphorePermit) -> Result<AdmittedAppend, Status> {
        let length = message.len();
        let records = count_records(message.clone()).map_err(malformed)?;
        if records > MAX_REQUEST_RECORDS {
            return Err(to_status(&too_many(records)));
        }
        let request = pb::AppendRecordsRequest::decode(message).map_err(malformed)?;
        let surplus = room.num_permits().saturating_sub(self.budget.cost(length, records));
        drop(room.split(surplus));
        Ok(AdmittedAppend { request, room, since: self.since })
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AdmittedAppend, Status>>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, ReadState::Over) {
                ReadState::Over => return Poll::Ready(None),
                ReadState::Header => match self.poll_header(cx) {
                    Poll::Pending => {
                        self.state = ReadState::Header;
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(None)) => return Poll::Ready(None),
                    Poll::Ready(Ok(Some(length))) => {
                        self.since = Instant::now();
                        ReadState::Waiting(length, self.budget.room(length, self.wait))
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                },
                ReadState::Waiting(length, mut room) => match room.poll_unpin(cx) {
                    Poll::Pending => {
                        self.state = ReadState::Waiting(length, room);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(room)) => ReadState::Message(length, BytesMut::with_capacity(length), room),
                    Poll::Ready(None) => {
                        let why = format!("for {} there was no room for an append", Span(self.wait));
                        return Poll::Ready(Some(Err(self.budget.busy(&why))));
                    }
                },
                ReadState::Message(length, message, room) => match self.poll_message(cx, length, message, room) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(request) => return Poll::Ready(Some(request)),
                },
            };
        }
    }
}

fn cut() -> Status {
    malformed("the call ends within a request")
}

/// A fault of the client's, with which a stream ends behind its answers.
fn malformed(what: impl Display) -> Status {
    to_status(&failure(Code::Malformed, what))
}

/// How many records an append request has, counted before any is decoded: an empty record takes 2 bytes on the wire and
/// many more in memory.
fn count_records(mut message: Bytes) -> Result<usize, DecodeError> {
    let mut records = 0;
    while message.has_remaining() {
        let (field, wire_type) = decode_key(&mut message)?;
        records += usize::from(field == RECORDS_FIELD);
        skip_field(wire_type, field, &mut message, DecodeContext::default())?;
    }
    Ok(records)
}

impl Stream for AppendReader {
    type Item = Result<AdmittedAppend, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let request = self.poll_request(cx);
        if matches!(request, Poll::Ready(None | Some(Err(_)))) {
            // The reader reads no more, and drops what the client sent.
            (self.state, self.rest, self.body) = (ReadState::Over, Bytes::new(), Body::empty());
        }
        request
    }
}

#[cfg(test)]
#[path = "tests/append_reader.rs"]
mod tests;
