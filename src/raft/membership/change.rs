//! Changes of the membership and of the leadership, with what guards them.

use std::time::Duration;

use futures::future::{Either, select};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant};

use super::codec::{self, MemberNode};
use super::view::{Change, MembershipView, view};
use crate::error::MemberError;
use crate::raft::Raft;
use crate::raft::type_config::{Runtime, TypeConfig};
use crate::types::{Member, NodeId};

/// Pause between two looks at the quorum while a change waits for it.
const LOOK: Duration = Duration::from_millis(50);

/// For how many leases a proposed change waits for a quorum that does not answer.
const PATIENCE: u32 = 10;

/// Decides which change is still to be made; `None` if none is.
pub(crate) type Decide<'a> = dyn Fn(&MembershipView) -> Result<Option<Change>, MemberError> + Send + Sync + 'a;

/// Whether the members are as the caller of [`wait_for`] wants them.
pub(crate) type Until<'a> = dyn Fn(&MembershipView) -> bool + Send + Sync + 'a;

/// Waits until the members are seen as `settled` wants them, or Raft has stopped.
pub(crate) async fn wait_for<R: Runtime>(raft: &Raft<R>, lease: Duration, settled: &Until<'_>) {
    let mut metrics = raft.metrics();
    while !settled(&view(raft, lease)) {
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Ends when this node has led without a quorum for `within`, and names the voters that are missing. openraft would
/// wait for ever: it goes on calling itself the leader.
pub(crate) async fn quorum_lost<R: Runtime>(raft: &Raft<R>, lease: Duration, within: Duration) -> String {
    let mut since = None;
    loop {
        let view = view(raft, lease);
        let now = R::Instant::now();
        if !view.leads || view.has_quorum() {
            since = None;
        } else if now.saturating_duration_since(*since.get_or_insert(now)) >= within {
            return view.missing();
        }
        R::sleep(LOOK).await;
    }
}

/// Makes the change that `decide` finds necessary. Ends when it is committed.
///
/// # Errors
/// As `decide`; if the change would put the quorum at risk; if the change did not happen, or it is not known
/// whether it did.
pub(crate) async fn change<R: Runtime>(
    raft: &Raft<R>,
    lease: Duration,
    decide: &Decide<'_>,
) -> Result<(), MemberError> {
    loop {
        let view = view(raft, lease);
        if !view.leads {
            return Err(MemberError::NotMaster { master: leader(raft) });
        }
        if let Some(voters) = view.half_done() {
            // An earlier leader was lost in the middle of this change, which must be completed before another begins.
            propose(raft, lease, &view, ChangeMembers::ReplaceAllVoters(voters)).await?;
            continue;
        }
        let Some(change) = decide(&view)? else { return Ok(()) };
        view.check_quorum(&change)?;
        return propose(raft, lease, &view, view.request(change)?).await;
    }
}

/// Proposes `change` to the membership of `view` and to no other, and waits until it is committed.
async fn propose<R: Runtime>(
    raft: &Raft<R>,
    lease: Duration,
    view: &MembershipView,
    change: ChangeMembers<NodeId, MemberNode>,
) -> Result<(), MemberError> {
    let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: view.set_by };
    let changed = std::pin::pin!(raft.change_membership_if(change, false, [unchanged]));
    // `quorum_lost` counts the voters to be too, which may not have answered this node as voters yet.
    let lost = std::pin::pin!(quorum_lost(raft, lease, PATIENCE * lease));
    match select(changed, lost).await {
        Either::Left((Ok(_), _)) => Ok(()),
        Either::Left((Err(error), _)) => Err(failed(raft, error)),
        Either::Right((missing, _)) => {
            Err(MemberError::Unknown { reason: format!("the quorum was lost over it: {missing} must come back") })
        }
    }
}

fn failed<R: Runtime>(raft: &Raft<R>, error: RaftError<TypeConfig<R>, ClientWriteError<TypeConfig<R>>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MemberError::NotMaster { master: leader(raft) },
        RaftError::APIError(ClientWriteError::PreconditionFailed(_))
        | RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
            MemberError::InProgress
        }
        // Includes what openraft refuses: the checks in `change` should have refused it before.
        RaftError::APIError(error) => MemberError::Unknown { reason: error.to_string() },
        RaftError::Fatal(fatal) => MemberError::Closed { reason: fatal.to_string() },
    }
}

/// The leader this node follows.
pub(crate) fn leader<R: Runtime>(raft: &Raft<R>) -> Option<Member> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let id = metrics.current_leader.as_ref().filter(|leader| **leader != metrics.id)?;
    let node = metrics.membership_config.membership().get_node(id)?;
    Some(codec::member(id, node))
}
