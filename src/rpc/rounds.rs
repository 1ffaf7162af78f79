//! Asks a quorum whether this node leads: one question and one answer each.
//!
//! openraft's own rounds do not do for that: an answer on a replication stream is credited to the newest request it may
//! belong to, which can have been sent after the answer was.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::addresses::Addresses;
use super::convert;
use super::envelope::envelope;
use super::transport::{Lane, Transport};
use crate::log::directory::Identity;
use crate::pb;
use crate::raft::Runtime;
use crate::raft::config::RaftVote;
use crate::raft::members::{MemberNode, Membership, is_quorum};
use crate::raft::reads::Confirm;
use crate::types::NodeId;

/// The members of one ledger, as a leader asks them.
pub(crate) struct Rounds<R> {
    identity: Identity,
    transport: Arc<dyn Transport>,
    advertised: String,
    addresses: Addresses,
    lease_window: u32,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Rounds<R> {
    pub(super) fn new(
        identity: Identity,
        transport: Arc<dyn Transport>,
        advertised: String,
        addresses: Addresses,
        lease_window: u32,
    ) -> Self {
        Self { identity, transport, advertised, addresses, lease_window, _runtime: PhantomData }
    }

    /// The member's id if it takes this node for its leader.
    async fn ask(&self, id: &NodeId, node: &MemberNode, vote: &RaftVote, within: Duration) -> Option<NodeId> {
        // An append of nothing, after nothing: it is taken from the leader and from nobody else.
        let request = pb::AppendRequest {
            envelope: Some(pb::Envelope {
                sender_address: self.advertised.clone(),
                membership: self.addresses.set_by().map(convert::from_log_id),
                ..envelope(&self.identity, id, Some(node.incarnation))
            }),
            vote: Some(convert::from_vote(vote)),
            lease_window_ms: self.lease_window,
            ..Default::default()
        };
        let link = self.transport.link(&self.addresses.of(id, node), Lane::Heartbeat);
        let answer = link.heartbeat(request, within).await.ok()?;
        let taken = convert::to_append_result::<R>(answer).ok()?.is_ok();
        taken.then(|| id.clone())
    }
}

impl<R: Runtime> Confirm for Rounds<R> {
    fn confirm(&self, vote: RaftVote, membership: Membership, within: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let me = &self.identity.node;
            let others = membership.nodes().filter(|(id, _)| *id != me);
            let mut answers: FuturesUnordered<_> = others.map(|(id, node)| self.ask(id, node, &vote, within)).collect();
            let mut taken = vec![me.clone()];
            while !is_quorum(&membership, &taken) {
                match answers.next().await {
                    Some(Some(id)) => taken.push(id),
                    Some(None) => {}
                    None => return false,
                }
            }
            true
        })
    }
}
