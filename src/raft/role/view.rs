//! The cluster as this node shows it.

use crate::raft::log_id::LogId;
use crate::raft::membership::codec;
use crate::raft::type_config::{RaftMetrics, Runtime};
use crate::types::{Incarnation, MemberStatus, Role};

/// What the role task publishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterView {
    pub(crate) term: u64,
    pub(crate) members: Vec<MemberStatus>,
    /// The entry that set them.
    pub(crate) set_by: Option<LogId>,
    /// The incarnation of the cluster that they are of, if this node is one of them.
    pub(crate) cluster: Option<Incarnation>,
}

impl ClusterView {
    /// The term of a node in `role`. The view is published before the role: a node that has heard of the next term may
    /// for a moment still be shown as master, and that is of its own.
    pub(crate) fn term_in(&self, role: &Role) -> u64 {
        role.term().unwrap_or(self.term)
    }
}

pub(super) fn view<R: Runtime>(metrics: &RaftMetrics<R>, disk: Incarnation, term: u64) -> ClusterView {
    let membership = metrics.membership_config.membership();
    let (members, cluster) = (codec::statuses(membership), codec::cluster_of(membership, &metrics.id, disk));
    ClusterView { term, members, set_by: *metrics.membership_config.log_id(), cluster }
}
