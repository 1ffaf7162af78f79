//! Up to where a read must have seen the log, as the leader says.
//!
//! Why the answers are right is written in `docs/invariants.md`, section *Reads*.

use std::time::Duration;

use futures::future::BoxFuture;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;

use super::config::{Raft, Runtime};
use crate::log::reader::LogReader;
use crate::types::Consistency;

/// How the leader makes sure that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A quorum acknowledged something that was sent a moment ago; if none did, as [`Proof::Round`].
    Lease,
    /// A quorum acknowledges something that is sent now.
    Round,
}

impl Proof {
    /// What a read needs; `None`: nothing.
    pub(crate) fn of(consistency: Consistency) -> Option<Self> {
        match consistency {
            Consistency::Local => None,
            Consistency::Lease => Some(Self::Lease),
            Consistency::Linearizable => Some(Self::Round),
        }
    }
}

/// This node cannot say up to where a read must have seen the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoReadIndex {
    /// It does not lead, or hands over.
    #[error("{0}")]
    NotLeader(String),
    /// It leads, but no quorum has confirmed that in time.
    #[error("{0}")]
    NoQuorum(String),
    /// Raft has stopped.
    #[error("{0}")]
    Closed(String),
}

/// What the node layer asks of a ledger's Raft for reads.
pub(crate) trait ReadIndex: Send + Sync {
    /// Number of the last entry that a read which began before the call must have seen. It is applied here.
    ///
    /// # Errors
    /// If this node does not lead, or cannot prove within `within` that it does.
    fn read_index(&self, proof: Proof, within: Duration) -> BoxFuture<'_, Result<u64, NoReadIndex>>;
}

/// A leader's side of it.
pub(crate) struct Leader<R: Runtime> {
    raft: Raft<R>,
    log: LogReader,
    /// [`Config::lease_window`](crate::Config).
    window: Duration,
}

impl<R: Runtime> Leader<R> {
    pub(crate) fn new(raft: Raft<R>, log: LogReader, window: Duration) -> Self {
        Self { raft, log, window }
    }

    async fn confirmed(&self, option: LinearizerOption) -> Result<u64, NoReadIndex> {
        let linearizer = self.raft.get_read_linearizer(option).await.map_err(|error| match error {
            RaftError::APIError(LinearizableReadError::ForwardToLeader(elsewhere)) => {
                NoReadIndex::NotLeader(elsewhere.to_string())
            }
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(few)) => NoReadIndex::NoQuorum(few.to_string()),
            RaftError::Fatal(fatal) => NoReadIndex::Closed(fatal.to_string()),
        })?;
        // The last committed entry, or the leader's first one if that is not committed yet: only with it the leader
        // knows what its predecessors committed.
        let number = linearizer.read_log_id().index();
        let mut committed = self.log.watch_committed();
        let moved = committed.wait_for(|point| point.number > number).await;
        moved.map_err(|_| NoReadIndex::Closed("the ledger is closed".into()))?;
        Ok(number)
    }
}

impl<R: Runtime> ReadIndex for Leader<R> {
    fn read_index(&self, proof: Proof, within: Duration) -> BoxFuture<'_, Result<u64, NoReadIndex>> {
        let option = match proof {
            // The age counts from when the request was sent. openraft's own lease is the whole election timeout, which
            // is longer than followers hold on to a leader whose process they know to be dead.
            Proof::Lease => LinearizerOption::new(Some(self.window), true),
            Proof::Round => ReadPolicy::ReadIndex.into(),
        };
        Box::pin(async move {
            match R::timeout(within, self.confirmed(option.with_wait_timeout(within))).await {
                Ok(answer) => answer,
                Err(_) => Err(NoReadIndex::NoQuorum(format!("no quorum has answered within {within:?}"))),
            }
        })
    }
}
