//! How many bytes of clients' appends may be on the node before a ledger has taken them.
//!
//! The node reads a message only when it has room for all of it, and until then the window of the stream bounds what
//! its client may send. So however many clients there are, and whatever keeps the ledgers from taking more, the node
//! holds no more than [`Config::max_client_bytes`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::config::Config;
use crate::wire::client::{MAX_REQUEST_RECORDS, failure, to_status};
use crate::wire::pb::{self, failure::Code};

/// Bytes that a message costs besides its own: what this process keeps of each.
const OVERHEAD: usize = 512;
/// Bytes that a record costs besides its own: its handle, in a list that grows by doubling.
const RECORD_MEMORY: usize = 64;
/// Least bytes that one record takes on the wire: its field and its length.
const LEAST_RECORD: usize = 2;

/// The bytes that a node has for appends no ledger has taken yet.
pub(super) struct AppendBudget {
    /// For messages that the node is reading, or that wait for room in their ledger.
    pub(super) messages: Arc<Semaphore>,
    /// For what streams may send before the node reads it.
    pub(super) streams: Arc<Semaphore>,
    /// What one stream takes of `streams`.
    stream: u32,
    /// The largest batch; a message may be larger by [`REQUEST_SLACK`].
    pub(super) batch: usize,
    pub(super) total: usize,
    wait: Duration,
}

impl AppendBudget {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let half = config.max_client_bytes / 2;
        let stream = config.client_stream();
        Arc::new(Self {
            messages: Arc::new(Semaphore::new(half)),
            // [`Config::validate`] makes this enough for one stream on each connection.
            streams: Arc::new(Semaphore::new(half)),
            stream: u32::try_from(stream).unwrap_or(u32::MAX),
            batch: config.max_batch_bytes,
            total: config.max_client_bytes,
            wait: config.append_timeout,
        })
    }

    /// Room for what one stream may send before this node reads it.
    ///
    /// # Errors
    /// Too many streams are open.
    pub(super) fn window(&self) -> Result<OwnedSemaphorePermit, Status> {
        let window = self.streams.clone().try_acquire_many_owned(self.stream);
        window.map_err(|_| self.busy("so many append streams are open that there is no room for another one"))
    }

    /// How long this node lets a client wait for room, and how long it waits for a client.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    pub(super) fn busy(&self, why: &str) -> Status {
        let remedy = "append again later, or raise --max-client-bytes (`Config::max_client_bytes`) of the node";
        let busy = failure(Code::Busy, format!("{why} ({} bytes are for appends of clients): {remedy}", self.total));
        to_status(&pb::Failure { limit: self.total as u64, ..busy })
    }

    /// What a message of `length` bytes with `records` records takes of the budget.
    pub(super) fn cost(&self, length: usize, records: usize) -> usize {
        // Never more than there is, so that a message alone always fits.
        (length + OVERHEAD + records * RECORD_MEMORY).min(self.total / 2)
    }

    /// Waits for room for a message of `length` bytes, whatever is in it; `None`: there was none in time.
    pub(super) fn room(&self, length: usize, wait: Duration) -> BoxFuture<'static, Option<OwnedSemaphorePermit>> {
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
