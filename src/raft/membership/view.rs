//! The members as this node sees them, and what a change would make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, Instant, ServerState};

use super::codec::{self, MemberNode, Membership};
use crate::error::MemberError;
use crate::raft::Raft;
use crate::raft::log_id::LogId;
use crate::raft::type_config::Runtime;
use crate::types::{Incarnation, Member, NodeId};

/// A member that lacks no more entries than this has caught up: the next round brings them.
const CAUGHT_UP: u64 = 512;

/// A change of the membership.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Adds a learner.
    AddLearner(Member),
    /// Makes a learner a voter.
    Promote(NodeId),
    /// Removes a member.
    Remove(NodeId),
    /// Gives a member another address.
    Move(NodeId, String),
}

/// One member, as the leader sees it.
#[derive(Debug, Clone)]
pub(crate) struct MemberView {
    pub(crate) member: Member,
    pub(crate) voter: bool,
    /// Number of the last entry that the leader knows the member to have.
    pub(crate) matched: Option<u64>,
    /// How long ago the leader sent the newest append that the member has answered.
    pub(crate) heard: Option<Duration>,
    /// Whether `heard` is shorter than a lease.
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
    pub(super) set_by: Option<LogId>,
    pub(super) membership: Membership,
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

    /// The voters that a half-done change leads to, if there is such a change.
    pub(super) fn half_done(&self) -> Option<BTreeSet<NodeId>> {
        match &self.membership.get_joint_config()[..] {
            [_, .., last] => Some(last.clone()),
            _ => None,
        }
    }

    pub(super) fn request(&self, change: Change) -> Result<ChangeMembers<NodeId, MemberNode>, MemberError> {
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

    /// The voters after `change`.
    fn voters_after(&self, change: &Change) -> BTreeSet<NodeId> {
        let mut voters = self.membership.get_joint_config().last().cloned().unwrap_or_default();
        match change {
            Change::Promote(id) => drop(voters.insert(id.clone())),
            Change::Remove(id) => drop(voters.remove(id)),
            Change::AddLearner(_) | Change::Move(..) => {}
        }
        voters
    }

    /// Refuses `change` if the members alive would be no quorum after it.
    pub(super) fn check_quorum(&self, change: &Change) -> Result<(), MemberError> {
        let voters = self.voters_after(change);
        let alive = voters.iter().filter(|id| self.get(id).is_some_and(|seen| seen.alive)).count();
        let needed = voters.len() / 2 + 1;
        if alive >= needed {
            return Ok(());
        }
        let missing = self.missing();
        Err(MemberError::QuorumAtRisk { voters: voters.len(), alive, needed, missing })
    }

    /// Whether the members alive are a quorum.
    pub(super) fn has_quorum(&self) -> bool {
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

/// How this node sees the members; only a leader sees how far they are. A member that has not answered for a `lease`
/// does not count as alive.
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

fn node(member: &Member, cluster: Option<Incarnation>) -> (NodeId, MemberNode) {
    let node = MemberNode { address: member.address.clone(), incarnation: member.incarnation, cluster };
    (member.id.clone(), node)
}
