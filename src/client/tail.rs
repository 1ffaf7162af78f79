//! A tail that goes on at another node when one fails.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use super::directory::Directory;
use super::error::{ClientError, Tried};
use super::node::{NodeClient, RecordStream};
use crate::types::Record;

/// How soon the nodes are tried again after none was within reach.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

struct Follow {
    directory: Arc<Directory>,
    next: u64,
    /// The node read from, and its records; `None` while there is none.
    current: Option<(String, RecordStream)>,
    /// The node that failed last is tried last.
    failed: Option<Tried>,
    ended: bool,
}

/// Committed records from `from` on, from whichever node answers.
pub(super) fn follow(directory: Arc<Directory>, from: u64) -> RecordStream {
    let state = Follow { directory, next: from, current: None, failed: None, ended: false };
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
        loop {
            let (address, records) = match &mut self.current {
                Some(current) => current,
                None => {
                    let current = self.connect().await?;
                    self.current.insert(current)
                }
            };
            let why = match records.next().await {
                Some(Ok(record)) => {
                    self.next = record.index + 1;
                    return Ok(record);
                }
                Some(Err(error)) if !passes(&error) => return Err(error),
                Some(Err(error)) => error.to_string(),
                None => "the node ended the stream".to_owned(),
            };
            tracing::debug!(address, why, next = self.next, "tail goes on elsewhere");
            self.failed = Some(Tried { address: std::mem::take(address), why });
            self.current = None;
        }
    }

    /// A tail at the first node that gives one.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] after the client's timeout.
    async fn connect(&mut self) -> Result<(String, RecordStream), ClientError> {
        let started = Instant::now();
        loop {
            let mut tried: Vec<Tried> = Vec::new();
            let mut addresses = self.directory.by_preference();
            let failed = self.failed.as_ref().map(|failed| failed.address.as_str());
            addresses.sort_by_key(|address| failed == Some(address));
            for address in addresses {
                match NodeClient::new(self.directory.clone(), address.clone()).tail(self.next).await {
                    Ok(records) => return Ok((address, records)),
                    Err(error) if !passes(&error) => return Err(error),
                    Err(error) => tried.push(Tried { why: error.why(), address }),
                }
            }
            let waited = started.elapsed();
            if waited >= self.directory.settings.timeout {
                return Err(ClientError::Unreachable { waited, tried });
            }
            sleep(PAUSE).await;
        }
    }
}

/// Whether another node may do better. One that lost bytes to damage or is not what it should be is passed over too.
fn passes(error: &ClientError) -> bool {
    error.is_passing() || matches!(error, ClientError::Damaged { .. })
}
