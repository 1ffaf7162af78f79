//! A leader hands over to another node, and stands for election itself if that node does not take over.
//!
//! From the moment openraft begins to hand over, this node takes no entry and sends no heartbeat, and openraft does not
//! take that back within the term. If the other node does not stand for election, because it lacks entries or cannot be
//! reached, no node leads. So this node steps down: it gives its vote of the next term to the other node, which did not
//! ask for it, and then stands for election.

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

/// How often this node tries to step down: entries may still arrive between the look at its log and its vote.
const TRIES: usize = 3;

/// The hand-overs of one ledger.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// Hand-overs begun so far. Only the newest is taken back: it replaces those before it.
    begun: Arc<AtomicU64>,
}

impl Handover {
    /// Begins to hand over to `to`, and returns before that has happened. If `to` does not lead after `limit`, this
    /// node steps down.
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
        // Asked after the trigger, and answered after it: Raft does one thing after the other. Its metrics may lag
        // behind.
        let leading =
            raft.with_raft_state(|state| (state.server_state == ServerState::Leader).then(|| state.vote_ref().clone()));
        let Some(leader) = leading.await.map_err(|fatal| fatal.to_string())? else { return Ok(()) };
        let (group, raft, begun) = (log.group().clone(), raft.clone(), self.begun.clone());
        // In a task of its own: the caller may give up waiting before that.
        drop(R::spawn(async move {
            R::sleep(limit).await;
            if begun.load(Ordering::SeqCst) != number {
                return;
            }
            if let Err(fatal) = take_back(&group, &raft, &leader, to, limit).await {
                tracing::debug!(%group, fatal, "Raft stopped while this node handed over the leadership");
            }
        }));
        Ok(())
    }
}

/// This node's vote, and the last entry of its log.
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
            // A candidate has asked for its vote.
            return Ok(());
        }
        // As if `to` asked for this node's vote, with a log as long as this one's. A vote is bound to a term and a
        // node: `to` may still ask for it, and gets it only if its log is not behind.
        let vote = RaftVote::new(leader.leader_id.term.saturating_add(1), to.clone());
        let request = VoteRequest::<TypeConfig<R>> { vote, last_log_id, leadership_transfer: true };
        if raft.vote(request).await.map_err(|fatal| fatal.to_string())?.vote_granted {
            // At `info`: the caller of the hand-over is told the outcome too.
            tracing::info!(
                %group,
                %to,
                waited = %Span(limit),
                "the other node did not take over the leadership: this node steps down and stands for election"
            );
            // When the hand-over began, openraft freed the others from their promise to this leader. A node that this
            // did not reach waits until its promise runs out, as after any silence.
            return raft.trigger().elect(true).await.map_err(|fatal| fatal.to_string());
        }
    }
    tracing::error!(
        %group,
        %to,
        waited = %Span(limit),
        "the other node did not take over the leadership, and this node cannot step down: it takes no appends before \
         another node is elected"
    );
    Ok(())
}
