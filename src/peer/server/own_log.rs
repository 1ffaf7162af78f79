//! What the receiving side knows from its own log before it asks Raft.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest};

use super::{AppendIntake, OrRefusal, PeerServer, ended};
use crate::log::reader::LogReader;
use crate::peer::convert;
use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::membership::codec::SnapshotMeta;
use crate::raft::{Raft, Runtime, TypeConfig};
use crate::wire::pb;

/// The last entry committed here.
pub(super) async fn committed<R: Runtime>(raft: &Raft<R>, log: &LogReader) -> OrRefusal<Option<LogId>> {
    raft.with_raft_state(|state| state.local_committed().copied()).await.map_err(ended(log))
}

impl<R: Runtime> PeerServer<R> {
    /// A snapshot says that its last entry is committed. If the log holds that entry, an append without entries tells
    /// openraft so, and openraft then does not need the snapshot. Without that append, openraft would take the log for
    /// one that ends where the snapshot does (docs/findings.md).
    pub(super) async fn commit_what_is_held(&self, leader: &RaftVote, snapshot: &SnapshotMeta) -> OrRefusal<()> {
        let Some(last) = snapshot.last_log_id else { return Ok(()) };
        let held = self.intake.raft.with_raft_state(move |state| state.log_ids.get(last.index) == Some(last));
        if !held.await.map_err(ended(&self.log))? {
            return Ok(());
        }
        let (vote, last) = (leader.clone(), Some(last));
        let append = AppendEntriesRequest { vote, prev_log_id: last, entries: Vec::new(), leader_commit: last };
        // The answer does not matter: openraft answers the snapshot, which comes next, in the same way.
        self.intake.raft.append_entries(append).await.map(drop).map_err(ended(&self.log))
    }

    /// The answer to a candidate whose log lacks what this node has acknowledged and lost since: the answer that
    /// this node would have given if it still had those entries.
    pub(super) async fn votes_as_before(
        &self,
        request: &VoteRequest<TypeConfig<R>>,
    ) -> OrRefusal<Option<pb::VoteResponse>> {
        let lost = self.intake.lost_entries.lacking(&self.log).filter(|lost| request.last_log_id < Some(*lost));
        let Some(acknowledged) = lost else { return Ok(None) };
        let vote =
            self.intake.raft.with_raft_state(|state| state.vote_ref().clone()).await.map_err(ended(&self.log))?;
        let candidate = &request.vote.leader_id.voted_for;
        tracing::warn!(group = %self.log.group(), %candidate, %acknowledged,
            "refusing a vote: this node has acknowledged entries that the candidate lacks, and has lost them. Start \
            the node that led, which has them");
        let (vote, last_log_id) = (Some(convert::from_vote(&vote)), Some(convert::from_log_id(acknowledged)));
        Ok(Some(pb::VoteResponse { vote, granted: false, last_log_id }))
    }
}

impl<R: Runtime> AppendIntake<R> {
    /// Notes what a leader says that this node has acknowledged to it, unless that leader's term is over. To be called
    /// before Raft may do anything that this node would not do if it knew.
    pub(super) fn remind(&self, reminder: Option<LogId>, leader: &RaftVote) {
        let term = self.metrics.borrow_watched().current_term;
        if let Some(reminder) = reminder.filter(|_| leader.leader_id.term >= term) {
            self.lost_entries.note(reminder, &self.log);
        }
    }

    /// Raft's answer to an append as it travels. A conflict also says where the log ends.
    pub(super) async fn answer(&self, result: StreamAppendResult<TypeConfig<R>>) -> OrRefusal<pb::AppendResponse> {
        let conflict = matches!(result, Err(StreamAppendError::Conflict(_)));
        let answer = convert::from_append_result::<R>(result);
        if !conflict {
            return Ok(answer);
        }
        let last = self.raft.with_raft_state(|state| state.log_ids.last().copied()).await.map_err(ended(&self.log))?;
        Ok(pb::AppendResponse { end: Some(pb::Matched { last: last.map(convert::from_log_id) }), ..answer })
    }
}
