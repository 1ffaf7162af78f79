//! Changes of the membership and of the leadership, with what guards them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{Either, select};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant, ServerState};

use super::codec::{self, MemberNode, Membership};
use crate::error::MemberError;
use crate::raft::type_config::{LogId, Raft, Runtime, TypeConfig};
use crate::types::{Incarnation, Member, NodeId};

/// A member that lacks no more entries than this has caught up: the next round brings them.
const CAUGHT_UP: u64 = 512;

/// How often the quorum is looked at while a change waits for it.
const LOOK: Duration = Duration::from_millis(50);

/// For how many leases a change that was proposed waits for a quorum that does not answer.
const PATIENCE: u32 = 10;

/// What is to become of the membership.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A learner more.
    AddLearner(Member),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A member less.
    Remove(NodeId),
    /// A member is reached elsewhere.
    Move(NodeId, String),
}

/// One member, as the leader sees it.
#[derive(Debug, Clone)]
pub(crate) struct MemberView {
    pub(crate) member: Member,
    pub(crate) voter: bool,
    /// The last entry it is known to have.
    pub(crate) matched: Option<u64>,
    /// How long ago the newest append was sent that it answered.
    pub(crate) heard: Option<Duration>,
    /// Whether that is lately.
    pub(crate) alive: bool,
}

/// All members, and how the leader sees them.
#[derive(Debug, Clone)]
pub(crate) struct MembershipView {
    pub(crate) leads: bool,
    /// The last entry of the log.
    pub(crate) last: u64,
    pub(crate) members: Vec<MemberView>,
    /// The entry that set the membership.
    set_by: Option<LogId>,
    membership: Membership,
}

impl MembershipView {
    pub(crate) fn get(&self, id: &NodeId) -> Option<&MemberView> {
        self.members.iter().find(|seen| seen.member.id == *id)
    }

    /// Entries that the member lacks.
    pub(crate) fn behind(&self, seen: &MemberView) -> u64 {
        self.last.saturating_sub(seen.matched.unwrap_or(0))
    }

    /// Whether the member has, or will have after the next round, all that is in the log.
    pub(crate) fn has_caught_up(&self, seen: &MemberView) -> bool {
        seen.alive && seen.matched.is_some() && self.behind(seen) <= CAUGHT_UP
    }

    /// The voters to be, if a change of them is half done.
    fn half_done(&self) -> Option<BTreeSet<NodeId>> {
        match &self.membership.get_joint_config()[..] {
            [_, .., last] => Some(last.clone()),
            _ => None,
        }
    }

    fn request(&self, change: Change) -> Result<ChangeMembers<NodeId, MemberNode>, MemberError> {
        let only = |id: NodeId| BTreeSet::from([id]);
        let node = |member: &Member| node(member, codec::cluster(&self.membership));
        Ok(match change {
            Change::AddLearner(member) => ChangeMembers::AddNodes(BTreeMap::from([node(&member)])),
            Change::Promote(id) => ChangeMembers::AddVoterIds(only(id)),
            Change::Remove(id) if self.get(&id).is_some_and(|seen| seen.voter) => ChangeMembers::RemoveVoters(only(id)),
            Change::Remove(id) => ChangeMembers::RemoveNodes(only(id)),
            Change::Move(id, address) => {
                let Some(seen) = self.get(&id) else { return Err(self.unknown(&id)) };
                let moved = Member { address, ..seen.member.clone() };
                ChangeMembers::SetNodes(BTreeMap::from([node(&moved)]))
            }
        })
    }

    /// The voters, if `change` is made of them.
    fn voters_after(&self, change: &Change) -> BTreeSet<NodeId> {
        let mut voters = self.membership.get_joint_config().last().cloned().unwrap_or_default();
        match change {
            Change::Promote(id) => drop(voters.insert(id.clone())),
            Change::Remove(id) => drop(voters.remove(id)),
            Change::AddLearner(_) | Change::Move(..) => {}
        }
        voters
    }

    /// Whether those that answer would be a quorum after `change`.
    fn check_quorum(&self, change: &Change) -> Result<(), MemberError> {
        let voters = self.voters_after(change);
        let alive = voters.iter().filter(|id| self.get(id).is_some_and(|seen| seen.alive)).count();
        let needed = voters.len() / 2 + 1;
        if alive >= needed {
            return Ok(());
        }
        let missing = self.missing();
        Err(MemberError::QuorumAtRisk { voters: voters.len(), alive, needed, missing })
    }

    /// Whether those that answer are a quorum.
    fn has_quorum(&self) -> bool {
        let alive: Vec<_> = self.members.iter().filter(|seen| seen.alive).map(|seen| seen.member.id.clone()).collect();
        codec::is_quorum(&self.membership, &alive)
    }

    /// The voters that have not answered lately, for people.
    pub(crate) fn missing(&self) -> String {
        let missing = self.members.iter().filter(|seen| seen.voter && !seen.alive);
        let missing: Vec<_> = missing.map(|seen| format!("{} at {}", seen.member.id, seen.member.address)).collect();
        if missing.is_empty() { "nobody is missing".into() } else { missing.join(", ") }
    }

    pub(crate) fn unknown(&self, id: &NodeId) -> MemberError {
        let members = self.members.iter().map(|seen| seen.member.id.as_str()).collect::<Vec<_>>().join(", ");
        MemberError::UnknownMember { id: id.clone(), members }
    }
}

/// How this node sees the members; only a leader sees how far they are. `lease`: who has not answered for so long is
/// not alive.
pub(crate) fn view<R: Runtime>(raft: &Raft<R>, lease: Duration) -> MembershipView {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership().clone();
    let now = R::Instant::now();
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let leads = metrics.state == ServerState::Leader;
    let seen = |(id, node): (&NodeId, &MemberNode)| {
        let me = *id == metrics.id;
        let of = |answers: &BTreeMap<NodeId, _>| answers.get(id).cloned().flatten();
        let matched = metrics.replication.as_ref().and_then(of).map(|id: LogId| id.index);
        let acked = metrics.heartbeat.as_ref().and_then(|answers| answers.get(id).cloned().flatten());
        let heard = acked.map(|at| now.saturating_duration_since(*at));
        MemberView {
            member: codec::member(id, node),
            voter: voters.contains(id),
            matched: if me { metrics.last_log_index } else { matched },
            heard: if me { Some(Duration::ZERO) } else { heard },
            alive: me || heard.is_some_and(|heard| heard < lease),
        }
    };
    MembershipView {
        leads,
        last: metrics.last_log_index.unwrap_or(0),
        members: membership.nodes().map(seen).collect(),
        set_by: *metrics.membership_config.log_id(),
        membership,
    }
}

/// Decides what is still to be done; nothing, if it is done already.
pub(crate) type Decide<'a> = dyn Fn(&MembershipView) -> Result<Option<Change>, MemberError> + Send + Sync + 'a;

/// Whether the members are as somebody waits for.
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

/// Ends when this node leads and has had no quorum for so long, `within`, and says who is missing. openraft would wait
/// for ever: it goes on calling itself the leader.
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
/// As `decide`; if the change would put the quorum at risk; if it did not happen, or is not known to.
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
            // The change of a leader that was lost over it. First things first.
            propose(raft, lease, &view, ChangeMembers::ReplaceAllVoters(voters)).await?;
            continue;
        }
        let Some(change) = decide(&view)? else { return Ok(()) };
        view.check_quorum(&change)?;
        return propose(raft, lease, &view, view.request(change)?).await;
    }
}

/// To the membership of `view` and no other.
async fn propose<R: Runtime>(
    raft: &Raft<R>,
    lease: Duration,
    view: &MembershipView,
    change: ChangeMembers<NodeId, MemberNode>,
) -> Result<(), MemberError> {
    let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: view.set_by };
    let changed = std::pin::pin!(raft.change_membership_if(change, false, [unchanged]));
    // The voters to be are counted too, and may not have been heard of as such yet.
    let lost = std::pin::pin!(quorum_lost(raft, lease, PATIENCE * lease));
    match select(changed, lost).await {
        Either::Left((Ok(_), _)) => Ok(()),
        Either::Left((Err(error), _)) => Err(failed(raft, error)),
        Either::Right((missing, _)) => {
            Err(MemberError::Unknown { reason: format!("the quorum was lost over it: {missing} must come back") })
        }
    }
}

fn node(member: &Member, cluster: Option<Incarnation>) -> (NodeId, MemberNode) {
    let node = MemberNode { address: member.address.clone(), incarnation: member.incarnation, cluster };
    (member.id.clone(), node)
}

fn failed<R: Runtime>(raft: &Raft<R>, error: RaftError<TypeConfig<R>, ClientWriteError<TypeConfig<R>>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MemberError::NotMaster { master: leader(raft) },
        RaftError::APIError(ClientWriteError::PreconditionFailed(_))
        | RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
            MemberError::InProgress
        }
        // Also what openraft refuses: the guards before should have known.
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
