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
    /// A leader has called since the start: the vote may be one that was saved before, for a leader that is long gone.
    pub(super) contact: bool,
    /// The leader has been silent for too long.
    pub(super) silent: bool,
    /// Why it is a member no more.
    pub(super) removed: Option<String>,
}

/// When a leader has heard nothing from a quorum for too long; `None` if it needs nobody else.
///
/// openraft goes on calling itself the leader; a broker must not. The lease, which is over sooner, is a matter of reads
/// and writes, which wait for it to be renewed: it is no role.
pub(super) fn alone_at<R: Runtime>(id: &NodeId, metrics: &RaftMetrics<R>, alone: Duration) -> Option<R::Instant> {
    let membership = metrics.membership_config.membership();
    let others = membership.voter_ids().any(|voter| voter != *id);
    metrics.last_quorum_acked.filter(|_| others).map(|acked| *acked + alone)
}

/// Whether a node with this disk may ask for votes. One that replaces a disk of its name learns the log from the
/// beginning, and with it memberships in which its name stood for the disk before: a small enough one would make it a
/// leader on its own.
pub(super) fn may_lead(id: &NodeId, disk: Incarnation, membership: &Membership) -> bool {
    membership.get_node(id).is_some_and(|node| node.incarnation == disk)
}

/// What a ledger is whose Raft has ended by itself.
pub(super) fn failed<R: Runtime>(fatal: &Fatal<TypeConfig<R>>, log: &LogReader) -> Role {
    // Raft's own words wrap the log's; the log's first reason is the one to tell.
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
    // openraft names the leader it voted for until it votes for another, heard or not.
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
