//! Asks for votes where members take longer to save them than openraft waits for an answer.
//!
//! openraft sends the same request itself, after [`PeerVoteCollector`] is done: a member that has answered here has its
//! vote on disk by then, and answers openraft at once.

use std::marker::PhantomData;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use openraft::network::{NetVote, RPCOption};
use openraft::raft::VoteRequest;

use super::network::PeerNetwork;
use crate::raft::election::vote_saves::{VoteCollector, VoteSaves};
use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::membership::codec::{MemberNode, Membership, is_quorum};
use crate::raft::{Runtime, TypeConfig};
use crate::types::NodeId;

/// How long to wait for an answer before asking again: the question may have been lost.
const AGAIN: Duration = Duration::from_millis(400);

/// Asks the voters of one ledger on behalf of a candidate.
pub(crate) struct PeerVoteCollector<R> {
    network: PeerNetwork,
    _runtime: PhantomData<fn() -> R>,
}

/// How a voter answered.
enum VoteOutcome {
    Granted(NodeId),
    Refused(NodeId),
    /// This election is lost, because there is another candidate or a leader; or this node is stopping.
    Over,
}

impl<R: Runtime> PeerVoteCollector<R> {
    pub(crate) fn new(network: PeerNetwork) -> Self {
        Self { network, _runtime: PhantomData }
    }

    /// Asks until there is an answer.
    async fn ask(
        &self,
        id: NodeId,
        node: &MemberNode,
        request: &VoteRequest<TypeConfig<R>>,
        heard: u64,
    ) -> VoteOutcome {
        loop {
            let mut client = self.network.client::<R>(id.clone(), node, false);
            let pause = R::sleep(AGAIN);
            match client.vote(request.clone(), RPCOption::new(AGAIN)).await {
                Ok(answer) if answer.vote_granted => return VoteOutcome::Granted(id),
                Ok(answer) if answer.vote.leader_id.term >= request.vote.leader_id.term => return VoteOutcome::Over,
                Ok(_) => return VoteOutcome::Refused(id),
                Err(_) => pause.await,
            }
            if self.network.vote_saves().is_stopped() || self.network.standing().heard() != heard {
                return VoteOutcome::Over;
            }
        }
    }

    async fn quorum(&self, vote: RaftVote, last: Option<LogId>, membership: Membership) {
        let me = &self.network.identity().node;
        let (request, heard) = (VoteRequest::new(vote, last), self.network.standing().heard());
        let mut possible: Vec<NodeId> = membership.voter_ids().collect();
        let mut granted = vec![me.clone()];
        let others = possible.iter().filter(|id| *id != me).cloned();
        let asked = others.filter_map(|id| membership.get_node(&id).map(|node| (id, node)));
        let mut answers: FuturesUnordered<_> = asked.map(|(id, node)| self.ask(id, node, &request, heard)).collect();
        while !is_quorum(&membership, &granted) && is_quorum(&membership, &possible) {
            match answers.next().await {
                Some(VoteOutcome::Granted(id)) => granted.push(id),
                Some(VoteOutcome::Refused(id)) => possible.retain(|other| *other != id),
                Some(VoteOutcome::Over) | None => return,
            }
        }
    }
}

impl<R: Runtime> VoteCollector for PeerVoteCollector<R> {
    fn collect(
        &self,
        vote: RaftVote,
        last: Option<LogId>,
        membership: Membership,
        within: Duration,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Whether a quorum answers or not, openraft asks next.
            let _: Result<(), _> = R::timeout(within, self.quorum(vote, last, membership)).await;
        })
    }

    fn saves(&self) -> VoteSaves {
        self.network.vote_saves()
    }
}
