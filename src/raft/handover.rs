//! A leader that hands over, and takes it back when nobody takes over.
//!
//! From the moment openraft begins to hand over it takes no entry and sends no heartbeat, and it never takes that back
//! within the term. If the other node does not stand for election, because it lacks entries or cannot be reached,
//! nobody leads. So this node steps down: it gives its vote of the next term away, to the node that was to have it and
//! did not ask for it, and stands for election itself.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::VoteRequest;

use super::config::{LogId, Raft, RaftVote, Runtime, TypeConfig};
use super::roles::Metrics;
use crate::types::NodeId;

/// Begins to hand over to `to`. Ends before that has happened; it may not, and is taken back after `limit`.
///
/// # Errors
/// If Raft has stopped.
pub(super) async fn begin<R: Runtime>(raft: &Raft<R>, to: NodeId, limit: Duration) -> Result<(), String> {
    let leader = leading::<R>(&raft.metrics());
    raft.trigger().transfer_leader(to.clone()).await.map_err(|fatal| fatal.to_string())?;
    let Some(leader) = leader else { return Ok(()) };
    let raft = raft.clone();
    // Whoever asked for it may not wait so long.
    drop(R::spawn(async move {
        R::sleep(limit).await;
        let leads_on = leading::<R>(&raft.metrics()).as_ref() == Some(&leader);
        if !leads_on {
            return;
        }
        tracing::warn!(%to, waited = ?limit, "the leadership was not taken over: this node steps down, and stands for \
            election");
        if let Err(fatal) = take_back(&raft, leader, to).await {
            tracing::debug!(fatal, "Raft has stopped while the leadership was handed over");
        }
    }));
    Ok(())
}

/// The vote under which this node leads, if it does.
fn leading<R: Runtime>(metrics: &Metrics<R>) -> Option<RaftVote> {
    let metrics = metrics.borrow_watched();
    let vote = &metrics.vote;
    (vote.committed && vote.leader_id.voted_for == metrics.id).then(|| vote.clone())
}

async fn take_back<R: Runtime>(raft: &Raft<R>, leader: RaftVote, to: NodeId) -> Result<(), String> {
    let last = raft.with_raft_state(|state| state.log_ids.last().copied());
    let last: Option<LogId> = last.await.map_err(|fatal| fatal.to_string())?;
    // As if `to` asked for it, with a log as long as this one. A vote is bound to its term and its node: `to` may still
    // ask for it, and get it only if its log is not behind.
    let vote = RaftVote::new(leader.leader_id.term.saturating_add(1), to);
    let request = VoteRequest::<TypeConfig<R>> { vote, last_log_id: last, leadership_transfer: true };
    raft.vote(request).await.map_err(|fatal| fatal.to_string())?;
    // The others have been freed from their promise to this leader when the hand-over began. Where that did not reach
    // them, it runs out, and this node is elected as after any silence.
    raft.trigger().elect(true).await.map_err(|fatal| fatal.to_string())
}
