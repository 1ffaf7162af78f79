//! Where the members of one ledger are reached.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::convert;
use crate::raft::membership::codec::MemberNode;
use crate::raft::role::task::ClusterView;
use crate::types::NodeId;
use crate::wire::incarnation_bytes;
use crate::wire::pb;

/// Where members are reached. openraft makes its clients once, and keeps them when a member moves.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<OnceLock<watch::Receiver<ClusterView>>>);

impl Addresses {
    /// From now on, what the membership says counts.
    pub(crate) fn follow(&self, view: watch::Receiver<ClusterView>) {
        // A network belongs to one ledger.
        let _ = self.0.set(view);
    }

    /// Says by which membership, and of which cluster, the caller acts.
    pub(super) fn stamp(&self, envelope: pb::Envelope) -> pb::Envelope {
        let Some(view) = self.0.get().map(watch::Receiver::borrow) else { return envelope };
        pb::Envelope {
            membership: view.set_by.map(convert::from_log_id),
            cluster_incarnation: incarnation_bytes(view.cluster),
            ..envelope
        }
    }

    /// Where the member `id` with this disk is; `known`, if the membership does not say.
    pub(super) fn of(&self, id: &NodeId, node: &MemberNode) -> String {
        let view = self.0.get().map(watch::Receiver::borrow);
        let members = view.iter().flat_map(|view| &view.members).map(|status| &status.member);
        let mut same = members.filter(|member| member.id == *id && member.incarnation == node.incarnation);
        same.next().map_or_else(|| node.address.clone(), |member| member.address.clone())
    }
}
