//! Committed records as they come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use super::ahead::Ahead;
use crate::error::ReadError;
use crate::format::hard_state::LogPoint;
use crate::log::reader::LogReader;
use crate::types::{ReadLimit, Record, Role};

/// A stream of committed records, from an index on, waiting for more. Works on any node and through changes of the
/// master. Ends after an error: the ledger is closed, the bytes are damaged, retention was faster
/// ([`ReadError::Removed`] says where to go on), or the node is a member no more and all that it has was read
/// ([`ReadError::NoMember`]).
pub struct Tail {
    records: BoxStream<'static, Result<Record, ReadError>>,
}

struct State {
    records: Ahead,
    committed: watch::Receiver<LogPoint>,
    role: watch::Receiver<Role>,
    over: bool,
}

impl Tail {
    pub(super) fn new(log: LogReader, role: watch::Receiver<Role>, from: u64) -> Self {
        let committed = log.watch_committed();
        let state = State { records: Ahead::new(log, from), committed, role, over: false };
        Self { records: stream::unfold(state, step).boxed() }
    }
}

async fn step(mut state: State) -> Option<(Result<Record, ReadError>, State)> {
    if state.over {
        return None;
    }
    match state.next_record().await {
        Ok(record) => Some((Ok(record), state)),
        Err(error) => {
            state.over = true;
            Some((Err(error), state))
        }
    }
}

impl State {
    async fn next_record(&mut self) -> Result<Record, ReadError> {
        loop {
            self.committed.mark_unchanged();
            match self.records.next(u64::MAX, ReadLimit::bytes(usize::MAX))? {
                Some(record) => return Ok(record),
                None => self.wait().await?,
            }
        }
    }

    /// Until the commit point moves.
    async fn wait(&mut self) -> Result<(), ReadError> {
        let closed = |reason: &str| Err(ReadError::Closed { reason: reason.to_owned() });
        loop {
            match &*self.role.borrow_and_update() {
                Role::Closed { reason } => return closed(reason),
                Role::Removed { reason, .. } => return Err(ReadError::NoMember { reason: reason.clone() }),
                Role::Master { .. } | Role::Slave { .. } | Role::Electing { .. } => {}
            }
            tokio::select! {
                biased;
                // The log outlives its readers, so its side of the channel is never closed.
                _ = self.committed.changed() => return Ok(()),
                changed = self.role.changed() => {
                    if changed.is_err() {
                        return closed("the node is shutting down");
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
