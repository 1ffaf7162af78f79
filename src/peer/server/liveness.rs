//! Answers heartbeats as soon as Raft has heard of them, however long the disk takes.
//!
//! openraft answers an append, also one without entries, when everything it took before has been flushed. With syncs
//! of a second no heartbeat would be answered in time, and the leader would take a cluster whose disks are slow for a
//! cluster that is gone. Each heartbeat would also wait in the core for a flush that may never come.
//!
//! A heartbeat asks two things: whether this node follows that leader, and whether it has the entry that the leader
//! knows it to have. [`Liveness`] looks the second up in the log. For the first, it gives Raft an append behind an
//! entry that no log has. Raft accepts the leader, extends the leader's lease and learns how far the cluster has
//! committed, all as with any append; then it finds that the entry is missing, and says so at once.
//!
//! One thing Raft learns only from the heartbeat itself: that its log ends as the leader's does, without an entry that
//! this leader has sent, as after a restart. Raft applies committed entries only as far as it knows that the
//! logs agree. So where the commit point stays behind, [`Liveness`] gives Raft the heartbeat as well, and ignores the
//! answer, which waits for the disk. At most one such heartbeat is under way.
//!
//! To ensure correctness:
//! - no log is acknowledged: the leader counts the answer to a heartbeat for its lease only, and the entry named in it
//!   is one that this node had acknowledged before;
//! - the vote is on the disk before the answer is given: Raft executes its commands in order, and [`Liveness`] looks
//!   the vote up besides;
//! - Raft has noted the lease before the answer is given, so the promise that the answer makes is kept.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult};
use tokio::sync::Semaphore;

use crate::format::hard_state::HardVote;
use crate::log::reader::LogReader;
use crate::raft::log_id::holds;
use crate::raft::log_id::{RaftVote, log_id};
use crate::raft::type_config::Metrics;
use crate::raft::{Raft, Runtime, TypeConfig};

type Heartbeat<R> = AppendEntriesRequest<TypeConfig<R>>;
type Stopped<R> = RaftError<TypeConfig<R>>;

/// Number of an entry that no log has: a log that appends one entry a nanosecond gets there in three centuries.
const NOWHERE: u64 = u64::MAX >> 1;

/// Answers the heartbeats of one ledger.
pub(super) struct Liveness<R: Runtime> {
    raft: Raft<R>,
    log: LogReader,
    metrics: Metrics<R>,
    /// One permit, for the heartbeat that may be waiting for the disk.
    behind: Arc<Semaphore>,
}

impl<R: Runtime> Liveness<R> {
    pub(super) fn new(raft: Raft<R>, log: LogReader) -> Self {
        Self { metrics: raft.metrics(), raft, log, behind: Arc::new(Semaphore::new(1)) }
    }

    /// The answer to a heartbeat.
    ///
    /// # Errors
    /// If Raft has stopped.
    pub(super) async fn answer(
        &self,
        heartbeat: Heartbeat<R>,
    ) -> Result<StreamAppendResult<TypeConfig<R>>, Stopped<R>> {
        let previous = heartbeat.prev_log_id;
        // An append with entries may come the same way. Raft answers it after their flush.
        let last = heartbeat.entries.last().map(|entry| entry.id()).or(previous);
        if heartbeat.entries.is_empty() && previous.is_none_or(|entry| holds(&self.log, entry)) {
            let nowhere = Some(log_id(heartbeat.vote.leader_id.term, NOWHERE));
            let (vote, leader_commit) = (heartbeat.vote.clone(), heartbeat.leader_commit);
            let hello = AppendEntriesRequest { vote, prev_log_id: nowhere, entries: Vec::new(), leader_commit };
            match self.raft.append_entries(hello).await? {
                AppendEntriesResponse::HigherVote(vote) => return Ok(Err(StreamAppendError::HigherVote(vote))),
                AppendEntriesResponse::Conflict if is_saved(&self.log, &heartbeat.vote) => {
                    self.commit(heartbeat).await?;
                    return Ok(Ok(previous));
                }
                // Anything unexpected is left to Raft, which answers after the flush.
                AppendEntriesResponse::Conflict
                | AppendEntriesResponse::Success
                | AppendEntriesResponse::PartialSuccess(_) => {}
            }
        }
        let answer = self.raft.append_entries(heartbeat).await?;
        if answer.is_conflict() {
            // The log lacks the entry. An append that begins a log, without an entry before it, never conflicts.
            let missing = previous.unwrap_or_else(|| log_id(0, 0));
            return Ok(Err(StreamAppendError::Conflict(missing)));
        }
        Ok(answer.into_stream_result(previous, last))
    }

    /// Gives Raft `heartbeat` if Raft does not know yet what it says is committed, because this log already ended as
    /// the leader's does.
    async fn commit(&self, heartbeat: Heartbeat<R>) -> Result<(), Stopped<R>> {
        let known = heartbeat.prev_log_id.min(heartbeat.leader_commit);
        // The metrics may lag behind.
        if self.metrics.borrow_watched().local_committed >= known {
            return Ok(());
        }
        let Ok(permit) = self.behind.clone().try_acquire_owned() else { return Ok(()) };
        if self.raft.with_raft_state(|state| state.local_committed().copied()).await? >= known {
            return Ok(());
        }
        let raft = self.raft.clone();
        drop(R::spawn(async move {
            if let Err(error) = raft.append_entries(heartbeat).await {
                tracing::debug!(%error, "Raft did not answer a heartbeat");
            }
            drop(permit);
        }));
        Ok(())
    }
}

/// Whether the disk has the vote for this leader.
fn is_saved(log: &LogReader, leader: &RaftVote) -> bool {
    let id = &leader.leader_id;
    let is_it = |vote: &HardVote| vote.granted && vote.term == id.term && vote.node.as_ref() == Some(&id.voted_for);
    leader.committed && log.vote().as_ref().is_some_and(is_it)
}
