//! Appends as they come in: how many bytes of them may be on the node before a ledger has taken them.
//!
//! A message is only read when the node has room for all of it, and until then what its client may send is bounded by
//! the window of its stream. So however many clients there are, and whatever keeps the ledgers from taking more, the
//! node holds no more than it was told to.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Body as _;

use crate::config::Config;
use crate::types::Span;
use crate::wire::client::{MAX_REQUEST_RECORDS, REQUEST_SLACK, failure, oversized, to_status, too_many};
use crate::wire::pb::{self, failure::Code};

/// gRPC's frame of a message: whether it is compressed, and its length (4).
const HEADER: usize = 5;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 512;
/// What a record costs besides its bytes: its handle, in a list that grows by doubling.
const RECORD_MEMORY: usize = 64;
/// `AppendRecordsRequest.records`.
const RECORDS_FIELD: u32 = 4;
/// Least bytes that one record takes on the wire.
const LEAST_RECORD: usize = 2;
/// A client that sends less than that of a message within the wait hangs; a far one sends a window in each round trip.
const LEAST_PROGRESS: usize = 64 << 10;

/// The room that a node has for appends no ledger has taken yet.
pub(super) struct AppendBudget {
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

impl AppendBudget {
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
    pub(super) fn requests(self: &Arc<Self>, body: Body, limit: Option<Duration>) -> Result<AppendReader, Status> {
        let Ok(window) = self.streams.clone().try_acquire_many_owned(self.stream) else {
            return Err(self.busy("so many append streams are open that there is no room for another one"));
        };
        let wait = limit.unwrap_or(self.wait).min(self.wait);
        let (budget, state, rest) = (self.clone(), ReadState::Header, Bytes::new());
        Ok(AppendReader { budget, body, wait, state, rest, since: Instant::now(), late: None, _window: window })
    }

    /// How long this node lets a client wait, and waits for one.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    fn busy(&self, why: &str) -> Status {
        let remedy = "append again later, or raise --max-client-bytes (`Config::max_client_bytes`) of the node";
        let busy = failure(Code::Busy, format!("{why} ({} bytes are for appends of clients): {remedy}", self.total));
        to_status(&pb::Failure { limit: self.total as u64, ..busy })
    }

    /// What a message of `length` bytes takes with so many records in it.
    fn cost(&self, length: usize, records: usize) -> usize {
        // Never more than there is: a message alone can always have it.
        (length + OVERHEAD + records * RECORD_MEMORY).min(self.total / 2)
    }

    /// Room for a message of `length` bytes, whatever is in it, once there is; `None`: not in time.
    fn room(&self, length: usize, wait: Duration) -> BoxFuture<'static, Option<OwnedSemaphorePermit>> {
        let cost = self.cost(length, (length / LEAST_RECORD).min(MAX_REQUEST_RECORDS));
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
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
pub(super) struct AdmittedAppend {
    pub(super) request: pb::AppendRecordsRequest,
    pub(super) room: OwnedSemaphorePermit,
    /// Since its first bytes were seen: of the time that its client gives it.
    pub(super) since: Instant,
}

impl Borrow<pb::AppendRecordsRequest> for AdmittedAppend {
    fn borrow(&self) -> &pb::AppendRecordsRequest {
        &self.request
    }
}

/// The requests of one call. After an error it ends.
pub(super) struct AppendReader {
    budget: Arc<AppendBudget>,
    body: Body,
    wait: Duration,
    state: ReadState,
    /// Bytes that have come and are not looked at yet.
    rest: Bytes,
    /// When the message that is under way was first seen.
    since: Instant,
    /// The rest of a message that is waited for: it holds room.
    late: Option<ProgressDeadline>,
    _window: OwnedSemaphorePermit,
}

/// When the rest of a message is not waited for any more, unless enough of it has come since.
struct ProgressDeadline {
    at: Pin<Box<Sleep>>,
    /// How much had come when that was set.
    had: usize,
}

enum ReadState {
    /// The next is a message's header.
    Header,
    /// Waits for room for a message of so many bytes.
    Waiting(usize, BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    /// Reads a message of so many bytes.
    Message(usize, BytesMut, OwnedSemaphorePermit),
    Over,
}

impl AppendReader {
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
            return Poll::Ready(Err(malformed("the request is compressed: send it as it is")));
        }
        if length > self.budget.batch + REQUEST_SLACK {
            return Poll::Ready(Err(to_status(&oversized(self.budget.batch))));
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

    /// Goes on waiting for the rest of a message of which so many bytes have come.
    ///
    /// # Errors
    /// Too few have come for too long.
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

    /// The request in `message`, with what it needs of `room`.
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

/// The client's fault, which a stream ends with behind its answers.
fn malformed(what: impl Display) -> Status {
    to_status(&failure(Code::Malformed, what))
}

/// How many records an append request has, before any is decoded: an empty one takes 2 bytes on the wire and many more
/// in memory.
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
            // Nothing more is read, and what was sent is let go.
            (self.state, self.rest, self.body) = (ReadState::Over, Bytes::new(), Body::empty());
        }
        request
    }
}

#[cfg(test)]
#[path = "tests/append_budget.rs"]
mod tests;
