//! A leader that hands over, and takes it back when nobody takes over.
//!
//! From the moment openraft begins to hand over it takes no entry and sends no heartbeat, and it never takes that back
//! within the term. If the other node does not stand for election, because it lacks entries or cannot be reached,
//! nobody leads. So this node steps down: it gives its vote of the next term away, to the node that was to have it and
//! did not ask for it, and stands for election itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::raft::VoteRequest;

use crate::log::reader::LogReader;
use crate::raft::Raft;
use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::type_config::{Runtime, TypeConfig};
use crate::types::{Group, NodeId, Span};

/// How often this node tries to step down: what is between the look at its log and its vote may change it.
const TRIES: usize = 3;

/// The hand-overs of one ledger.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// How often one was begun. Only the newest is taken back: it ends those before it.
    begun: Arc<AtomicU64>,
}

impl Handover {
    /// Begins to hand over to `to`. Ends before that has happened; it may not, and is taken back after `limit`.
    ///
    /// # Errors
    /// If Raft has stopped.
    pub(crate) async fn begin<R: Runtime>(
        &self,
        log: &LogReader,
        raft: &Raft<R>,
        to: NodeId,
        limit: Duration,
    ) -> Result<(), String> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        raft.trigger().transfer_leader(to.clone()).await.map_err(|fatal| fatal.to_string())?;
        // Behind the trigger: Raft does one after the other, and its metrics may lag behind both.
        let leading =
            raft.with_raft_state(|state| (state.server_state == ServerState::Leader).then(|| state.vote_ref().clone()));
        let Some(leader) = leading.await.map_err(|fatal| fatal.to_string())? else { return Ok(()) };
        let (group, raft, begun) = (log.group().clone(), raft.clone(), self.begun.clone());
        // Whoever asked for it may not wait so long.
        drop(R::spawn(async move {
            R::sleep(limit).await;
            if begun.load(Ordering::SeqCst) != number {
                return;
            }
            if let Err(fatal) = take_back(&group, &raft, &leader, to, limit).await {
                tracing::debug!(fatal, "Raft has stopped while the leadership was handed over");
            }
        }));
        Ok(())
    }
}

/// What this node votes for, and the last entry of its log.
async fn vote_and_end<R: Runtime>(raft: &Raft<R>) -> Result<(RaftVote, Option<LogId>), String> {
    let state = raft.with_raft_state(|state| (state.vote_ref().clone(), state.log_ids.last().copied()));
    state.await.map_err(|fatal| fatal.to_string())
}

/// Steps down, if this node still leads under `leader`.
async fn take_back<R: Runtime>(
    group: &Group,
    raft: &Raft<R>,
    leader: &RaftVote,
    to: NodeId,
    limit: Duration,
) -> Result<(), String> {
    for _ in 0..TRIES {
        let (vote, last_log_id) = vote_and_end(raft).await?;
        if vote != *leader {
            // Somebody has asked for its vote.
            return Ok(());
        }
        // As if `to` asked for it, with a log as long as this one. A vote is bound to its term and its node: `to` may
        // still ask for it, and get it only if its log is not behind.
        let vote = RaftVote::new(leader.leader_id.term.saturating_add(1), to.clone());
        let request = VoteRequest::<TypeConfig<R>> { vote, last_log_id, leadership_transfer: true };
        if raft.vote(request).await.map_err(|fatal| fatal.to_string())?.vote_granted {
            // Whoever asked for the hand-over is told what came of it.
            tracing::info!(
                %group,
                %to,
                waited = %Span(limit),
                "the leadership was not taken over: this node steps down, and stands for election"
            );
            // The others have been freed from their promise to this leader when the hand-over began. Where that did not
            // reach them, it runs out, and this node is elected as after any silence.
            return raft.trigger().elect(true).await.map_err(|fatal| fatal.to_string());
        }
    }
    tracing::error!(
        %group,
        %to,
        waited = %Span(limit),
        "the leadership was not taken over, and this node cannot step down: it takes no appends before another one is \
         elected"
    );
    Ok(())
}
