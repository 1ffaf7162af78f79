//! A tail that goes on at another node when one fails, is a member no more, or has heard of no master for as long as
//! the client waits for anything.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use crate::client::backoff::pause;
use crate::client::cluster::topology::Directory;
use crate::client::error::ClientError;
use crate::client::error::tried::Wanted;
use crate::client::node::{NodeClient, RecordStream};
use crate::client::try_each::in_turn;
use crate::types::Record;

/// A stream that held for so long was a node within reach, though no record came.
const HELD: Duration = Duration::from_secs(1);

struct Follow {
    directory: Arc<Directory>,
    timeout: Duration,
    next: u64,
    /// The node read from, and its records; `None` while there is none.
    current: Option<Current>,
    /// The node that failed last is tried last.
    failed: Option<String>,
    /// Since when nothing was had of any node. Kept over connects: a node that takes a tail only to fail it is no
    /// better than one that takes none.
    barren: Option<Instant>,
    ended: bool,
}

struct Current {
    address: String,
    records: RecordStream,
    since: Instant,
}

/// Committed records from `from` on, from whichever node answers.
pub(super) fn follow(directory: Arc<Directory>, from: u64, timeout: Duration) -> RecordStream {
    let state = Follow { directory, timeout, next: from, current: None, failed: None, barren: None, ended: false };
    RecordStream::new(stream::unfold(state, |mut follow| async move {
        if follow.ended {
            return None;
        }
        let record = follow.record().await;
        follow.ended = record.is_err();
        Some((record, follow))
    }))
}

impl Follow {
    async fn record(&mut self) -> Result<Record, ClientError> {
        self.directory.in_runtime()?;
        let timeout = self.timeout;
        loop {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => self.connect().await?,
            };
            let error = match current.records.next().await {
                Some(Ok(record)) => {
                    self.next = record.index + 1;
                    self.barren = None;
                    self.current = Some(current);
                    return Ok(record);
                }
                Some(Err(ClientError::Removed { first, .. })) => return self.elsewhere(first, &current.address).await,
                Some(Err(error)) if !passes(&error) => return Err(error),
                Some(Err(error)) => error,
                None => ended(&current.address),
            };
            tracing::debug!(address = current.address, %error, next = self.next, "tail goes on elsewhere");
            self.directory.refused(&current.address, &error);
            self.failed = Some(current.address);
            if current.since.elapsed() >= HELD.min(timeout) {
                self.barren = None;
            }
            // Where records came, the next node is asked at once.
            if let Some(since) = self.barren {
                if since.elapsed() >= timeout {
                    return Err(self.directory.ending(Wanted::Node, since));
                }
                sleep(pause(since.elapsed())).await;
            }
        }
    }

    /// The next record, which the node at `address` has removed: others may have it. One that is behind and waits for
    /// it is given its share of the timeout, as one that is silent.
    ///
    /// # Errors
    /// [`ClientError::Removed`] if none of them gives it, with the lowest index that any of them begins at.
    async fn elsewhere(&mut self, first: u64, address: &str) -> Result<Record, ClientError> {
        let timeout = self.timeout;
        let (index, deadline) = (self.next, Instant::now() + timeout);
        let mut addresses = self.directory.by_preference();
        addresses.retain(|other| other != address);
        let found = in_turn(
            &self.directory,
            addresses,
            timeout,
            deadline,
            false,
            |_| true,
            move |node| async move {
                let mut records = node.tail_while(index, Some(timeout)).await?;
                let record = match records.next().await {
                    Some(record) => record?,
                    None => return Err(ended(node.address())),
                };
                Ok((record, Current { address: node.address().to_owned(), records, since: Instant::now() }))
            },
        );
        let lowest = match found.await {
            Some(Ok((record, current))) => {
                self.next = record.index + 1;
                (self.barren, self.current) = (None, Some(current));
                return Ok(record);
            }
            Some(Err(ClientError::Removed { first: other, .. })) => first.min(other),
            Some(Err(_)) | None => first,
        };
        Err(ClientError::Removed { index, first: lowest })
    }

    /// A tail at the first node that gives one.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] after the client's timeout.
    async fn connect(&mut self) -> Result<Current, ClientError> {
        let timeout = self.timeout;
        let started = *self.barren.get_or_insert_with(Instant::now);
        loop {
            let mut addresses = self.directory.by_preference();
            addresses.sort_by_key(|address| self.failed.as_ref() == Some(address));
            let next = self.next;
            let call = move |node: NodeClient| async move {
                let records = node.tail_while(next, Some(timeout)).await?;
                Ok(Current { address: node.address().to_owned(), records, since: Instant::now() })
            };
            // Asked anew: another node may run there by now.
            let begun = in_turn(&self.directory, addresses, timeout, started + timeout, true, passes, call).await;
            if let Some(current) = begun {
                return current;
            }
            if started.elapsed() >= timeout {
                return Err(self.directory.ending(Wanted::Node, started));
            }
            sleep(pause(started.elapsed())).await;
        }
    }
}

fn ended(address: &str) -> ClientError {
    ClientError::Broken { address: address.to_owned(), reason: "the node ended the stream".into(), reached: true }
}

/// Whether another node may do better. One that lost bytes to damage or is not what it should be is passed over too.
fn passes(error: &ClientError) -> bool {
    error.is_passing() || matches!(error, ClientError::Damaged { .. })
}
