//! Committed records as they come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use super::prefetch::Prefetch;
use crate::error::ReadError;
use crate::format::hard_state::LogPoint;
use crate::log::reader::LogReader;
use crate::types::{ReadLimit, Record, Role};

/// A stream of committed records, from an index on, waiting for more. Works on any node and through changes of the
/// master.
///
/// Ends without an error when the ledger is stopped on this node, which is no failure ([`Role::Stopped`]): the tail has
/// then given all that was committed here. Else it ends after an error: the ledger is closed, the bytes are damaged,
/// retention was faster ([`ReadError::Removed`] says where to go on), or the node is no longer a member and the tail
/// has given all that the node has ([`ReadError::NoMember`]).
pub struct Tail {
    records: BoxStream<'static, Result<Record, ReadError>>,
}

struct TailState {
    records: Prefetch,
    committed: watch::Receiver<LogPoint>,
    role: watch::Receiver<Role>,
    over: bool,
}

impl Tail {
    pub(super) fn new(log: LogReader, role: watch::Receiver<Role>, from: u64) -> Self {
        let committed = log.watch_committed();
        let state = TailState { records: Prefetch::new(log, from), committed, role, over: false };
        Self { records: stream::unfold(state, step).boxed() }
    }
}

async fn step(mut state: TailState) -> Option<(Result<Record, ReadError>, TailState)> {
    if state.over {
        return None;
    }
    match state.next_record().await {
        Ok(record) => Some((Ok(record?), state)),
        Err(error) => {
            state.over = true;
            Some((Err(error), state))
        }
    }
}

impl TailState {
    /// `None`: the ledger has been stopped.
    async fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            self.committed.mark_unchanged();
            let record = self.records.next(u64::MAX, ReadLimit::bytes(usize::MAX))?;
            if record.is_some() || !self.wait().await? {
                return Ok(record);
            }
        }
    }

    /// Waits until the commit point moves; returns false if it never will.
    async fn wait(&mut self) -> Result<bool, ReadError> {
        loop {
            match &*self.role.borrow_and_update() {
                Role::Stopped => return Ok(false),
                Role::Closed { reason, .. } => return Err(ReadError::Closed { reason: reason.clone() }),
                Role::Removed { reason, .. } => return Err(ReadError::NoMember { reason: reason.clone() }),
                Role::Master { .. } | Role::Slave { .. } | Role::Electing { .. } => {}
            }
            tokio::select! {
                biased;
                // The log outlives its readers, so its side of the channel is never closed.
                _ = self.committed.changed() => return Ok(true),
                changed = self.role.changed() => {
                    if changed.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

impl Stream for Tail {
    type Item = Result<Record, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.records.poll_next_unpin(context)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tail")
    }
}
