//! The role that openraft's state means: decided here, without waiting for anything.

use std::time::Duration;

use openraft::errors::Fatal;
use openraft::{Instant, ServerState};

use crate::log::reader::LogReader;
use crate::raft::membership::codec::{self, Membership};
use crate::raft::type_config::{RaftMetrics, Runtime, TypeConfig};
use crate::types::{ClosedKind, Incarnation, NodeId, Role};

/// What Raft's metrics do not say of this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    /// Whether a leader has called since the start. Until then openraft may name a leader of before the start.
    pub(super) contact: bool,
    /// Whether the leader has been silent for too long.
    pub(super) silent: bool,
    /// Why this disk is no longer a member.
    pub(super) removed: Option<String>,
}

/// When a leader will have heard nothing from a quorum for too long; `None` if it is the only voter.
///
/// openraft still calls itself the leader then; a broker must not be master any more. The lease, which ends sooner,
/// concerns reads and appends only: they wait until it is renewed.
pub(super) fn alone_at<R: Runtime>(id: &NodeId, metrics: &RaftMetrics<R>, alone: Duration) -> Option<R::Instant> {
    let membership = metrics.membership_config.membership();
    let others = membership.voter_ids().any(|voter| voter != *id);
    metrics.last_quorum_acked.filter(|_| others).map(|acked| *acked + alone)
}

/// Whether a node with this disk may stand for election. A disk that replaces one of the same node id receives the log
/// from the beginning, with memberships in which that id meant the former disk: as the only voter of one of those, it
/// would elect itself.
pub(super) fn may_lead(id: &NodeId, disk: Incarnation, membership: &Membership) -> bool {
    membership.get_node(id).is_some_and(|node| node.incarnation == disk)
}

/// The last role of a ledger whose Raft has ended by itself.
pub(super) fn failed<R: Runtime>(fatal: &Fatal<TypeConfig<R>>, log: &LogReader) -> Role {
    // openraft wraps the log's error in words of its own; the log keeps its first failure, which the operator needs.
    if let Some(failure) = log.failure() {
        return failure.role();
    }
    match (fatal, log.newest_damage()) {
        (Fatal::StorageError(error), Some(_)) => Role::Closed { kind: ClosedKind::Damaged, reason: error.to_string() },
        (Fatal::StorageError(error), None) => Role::Closed { kind: ClosedKind::Storage, reason: error.to_string() },
        (Fatal::Panicked | Fatal::Stopped, _) => {
            Role::Closed { kind: ClosedKind::Internal, reason: "Raft has stopped".into() }
        }
    }
}

/// The role that `metrics` mean.
pub(super) fn role<R: Runtime>(
    id: &NodeId,
    metrics: &RaftMetrics<R>,
    term: u64,
    alone_at: Option<R::Instant>,
    seen: &Signals,
) -> Role {
    let leads = metrics.state == ServerState::Leader;
    let own_term_applied = metrics.last_applied.is_some_and(|last| last.leader_id.term == term);
    let has_quorum = alone_at.is_none_or(|at| R::Instant::now() < at);
    if leads && metrics.vote.committed && own_term_applied && has_quorum {
        return Role::Master { term };
    }
    if let Some(reason) = seen.removed.clone() {
        return Role::Removed { term, reason };
    }
    let membership = metrics.membership_config.membership();
    // openraft names the leader it voted for until it votes for another, whether or not that leader is heard.
    let heard = seen.contact && !seen.silent;
    let master = metrics.current_leader.as_ref().filter(|leader| heard && *leader != id);
    match master.and_then(|leader| Some((leader, membership.get_node(leader)?))) {
        Some((leader, node)) => Role::Slave { term, master: codec::member(leader, node) },
        None => Role::Electing { term },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::membership::codec::MemberNode;
    use crate::raft::role::view::ClusterView;

    #[test]
    fn a_node_asks_for_votes_only_with_the_disk_that_the_membership_means() {
        let (id, stranger) = (NodeId::new(1), NodeId::new(2));
        let disk = Incarnation::from_u128(7);
        let node = MemberNode { address: "h:1".into(), incarnation: disk, cluster: None };
        let nodes = BTreeMap::from([(id.clone(), node)]);
        let membership = Membership::new(vec![[id.clone()].into()], nodes).unwrap();
        assert!(may_lead(&id, disk, &membership));
        assert!(!may_lead(&id, Incarnation::from_u128(8), &membership));
        assert!(!may_lead(&stranger, disk, &membership));
    }

    #[test]
    fn a_master_is_shown_with_the_term_it_is_master_of() {
        // It has heard of term 4 and is about to step down: another node may be master of that.
        let view = ClusterView { term: 4, ..ClusterView::default() };
        assert_eq!(view.term_in(&Role::Master { term: 3 }), 3);
        assert_eq!(view.term_in(&Role::Closed { kind: ClosedKind::Storage, reason: "disk".into() }), 4);
    }
}
