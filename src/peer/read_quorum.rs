//! Asks a quorum whether this node leads: each member one question, which has one answer.
//!
//! openraft's own rounds do not prove that: an answer on a replication stream is credited to the newest request it may
//! belong to, which can have been sent after the answer was.

use std::marker::PhantomData;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use openraft::network::RPCOption;
use openraft::raft::AppendEntriesRequest;

use super::network::PeerNetwork;
use crate::raft::Runtime;
use crate::raft::log_id::RaftVote;
use crate::raft::membership::codec::{MemberNode, Membership, is_quorum};
use crate::raft::reads::LeadershipProbe;
use crate::types::NodeId;

/// Asks the members of one ledger whether they take this node for their leader.
pub(crate) struct ReadQuorum<R> {
    network: PeerNetwork,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ReadQuorum<R> {
    pub(crate) fn new(network: PeerNetwork) -> Self {
        Self { network, _runtime: PhantomData }
    }

    /// The member's id if it takes this node for its leader.
    async fn ask(&self, id: &NodeId, node: &MemberNode, vote: RaftVote, within: Duration) -> Option<NodeId> {
        // An append of nothing, behind nothing: a member accepts it from its leader only.
        let request = AppendEntriesRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
        let answer =
            self.network.client::<R>(id.clone(), node, true).send_heartbeat(request, &RPCOption::new(within)).await;
        matches!(answer, Ok(Ok(_))).then(|| id.clone())
    }
}

impl<R: Runtime> LeadershipProbe for ReadQuorum<R> {
    fn confirm(&self, vote: RaftVote, membership: Membership, within: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let me = &self.network.identity().node;
            let others = membership.nodes().filter(|(id, _)| *id != me);
            let mut answers: FuturesUnordered<_> =
                others.map(|(id, node)| self.ask(id, node, vote.clone(), within)).collect();
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
