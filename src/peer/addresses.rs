//! Where the members of one ledger are reached.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::convert;
use crate::raft::membership::codec::MemberNode;
use crate::raft::role::view::ClusterView;
use crate::types::NodeId;
use crate::wire::incarnation_bytes;
use crate::wire::pb;

/// The members' current addresses. openraft makes its clients once, and keeps them when a member moves.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<OnceLock<watch::Receiver<ClusterView>>>);

impl Addresses {
    /// From now on the membership in `view` says where members are.
    pub(crate) fn follow(&self, view: watch::Receiver<ClusterView>) {
        // Set once: a network belongs to one ledger.
        let _ = self.0.set(view);
    }

    /// Adds by which membership the caller acts, and of which cluster.
    pub(super) fn stamp(&self, envelope: pb::Envelope) -> pb::Envelope {
        let Some(view) = self.0.get().map(watch::Receiver::borrow) else { return envelope };
        pb::Envelope {
            membership: view.set_by.map(convert::from_log_id),
            cluster_incarnation: incarnation_bytes(view.cluster),
            ..envelope
        }
    }

    /// The address of the member `id` with this disk; `node`'s address if the membership does not have the member.
    pub(super) fn of(&self, id: &NodeId, node: &MemberNode) -> String {
        let view = self.0.get().map(watch::Receiver::borrow);
        let members = view.iter().flat_map(|view| &view.members).map(|status| &status.member);
        let mut same = members.filter(|member| member.id == *id && member.incarnation == node.incarnation);
        same.next().map_or_else(|| node.address.clone(), |member| member.address.clone())
    }
}
