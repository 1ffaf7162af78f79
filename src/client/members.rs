//! The members of a ledger, from afar.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::client::backoff::pause;
use crate::client::client::Client;
use crate::client::cluster::search::Search;
use crate::client::error::ClientError;
use crate::client::error::timed_out::Wanted;
use crate::client::node::NodeClient;
use crate::types::{Member, MemberProgress, NodeId};
use crate::wire::client::millis;
use crate::wire::pb::{self, change_members_request::Change};
use crate::wire::status::member;

impl NodeClient {
    /// The members as this node sees them; how far each of them is, only the master knows.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::UnknownGroup`], [`ClientError::WrongCluster`].
    pub async fn members(&self) -> Result<Vec<MemberProgress>, ClientError> {
        let request = pb::MembersRequest { cluster: self.topology().cluster(), group: self.topology().group() };
        let mut service = self.topology().admin(self.address())?;
        let answer = self.answer(service.members(request)).await?.into_inner();
        answer.members.into_iter().map(TryInto::try_into).collect::<Result<_, _>>().map_err(|what| self.malformed(what))
    }

    /// Asks this node, which may not be the master.
    async fn change(&self, change: Change, wait: Duration) -> Result<ChangeReply, ClientError> {
        let request = pb::ChangeMembersRequest {
            cluster: self.topology().cluster(),
            group: self.topology().group(),
            wait_ms: millis(wait),
            change: Some(change),
        };
        let mut service = self.topology().admin(self.address())?;
        let answer = service.change_members(request).await;
        let answer = answer.map_err(|status| self.failed(status))?.into_inner();
        Ok(ChangeReply { answer, by: self.clone() })
    }
}

/// What came of a change.
struct ChangeReply {
    answer: pb::ChangeMembersResponse,
    /// The node that made it.
    by: NodeClient,
}

impl ChangeReply {
    /// The node at `address`, which was added or took a place.
    fn member(self, address: &str) -> Result<Member, ClientError> {
        let Self { answer: pb::ChangeMembersResponse { id, incarnation }, by } = self;
        member(id, address.into(), &incarnation).map_err(|what| by.malformed(what))
    }
}

/// Changes of the members. Each call finds the master, and follows it if the change makes another node master. Each may
/// be called again after an error: a change that has happened already succeeds at once.
///
/// A call takes the client's timeout at most, plus `wait` where it waits for a member.
impl Client {
    /// The node at `address` becomes a learner; see [`Ledger::add_learner`](crate::Ledger::add_learner). Returns who
    /// it is.
    ///
    /// # Errors
    /// [`ClientError::Members`] if it is refused; [`ClientError::NoMaster`], [`ClientError::Broken`].
    pub async fn add_learner(&self, address: &str) -> Result<Member, ClientError> {
        self.change(Change::AddLearner(address.into()), Duration::ZERO).await?.member(address)
    }

    /// The learner `id` becomes a voter; see [`Ledger::promote`](crate::Ledger::promote).
    ///
    /// # Errors
    /// As [`Client::add_learner`].
    pub async fn promote(&self, id: &NodeId, wait: Duration) -> Result<(), ClientError> {
        self.change(Change::Promote(id.to_string()), wait).await.map(drop)
    }

    /// The member `id` is taken out; see [`Ledger::remove_member`](crate::Ledger::remove_member).
    ///
    /// # Errors
    /// As [`Client::add_learner`].
    pub async fn remove_member(&self, id: &NodeId) -> Result<(), ClientError> {
        self.change(Change::Remove(id.to_string()), Duration::ZERO).await.map(drop)
    }

    /// The node at `address` takes the place of `id`; see
    /// [`Ledger::replace_member`](crate::Ledger::replace_member). Returns who it is.
    ///
    /// # Errors
    /// As [`Client::add_learner`].
    pub async fn replace_member(&self, id: &NodeId, address: &str, wait: Duration) -> Result<Member, ClientError> {
        let at = pb::MemberAt { id: id.to_string(), address: address.into() };
        self.change(Change::Replace(at), wait).await?.member(address)
    }

    /// The member `id` is reached at `address`; see [`Ledger::move_member`](crate::Ledger::move_member).
    ///
    /// # Errors
    /// As [`Client::add_learner`].
    pub async fn move_member(&self, id: &NodeId, address: &str) -> Result<(), ClientError> {
        let at = pb::MemberAt { id: id.to_string(), address: address.into() };
        self.change(Change::Move(at), Duration::ZERO).await.map(drop)
    }

    /// `to` becomes the master; see [`Ledger::transfer_leadership`](crate::Ledger::transfer_leadership).
    ///
    /// # Errors
    /// As [`Client::add_learner`].
    pub async fn transfer_leadership(&self, to: &NodeId) -> Result<(), ClientError> {
        self.change(Change::Transfer(to.to_string()), Duration::ZERO).await.map(drop)
    }

    async fn change(&self, change: Change, wait: Duration) -> Result<ChangeReply, ClientError> {
        let topology = self.topology();
        topology.in_runtime()?;
        let timeout = self.timeout();
        let deadline = Instant::now() + timeout + wait;
        // Only a master that has taken up the change uses the `wait`: without a master the client's timeout counts
        // alone.
        let mut without = Instant::now();
        loop {
            let mut search = Search::new(topology, without);
            let Ok(found) = timeout_at(deadline.min(without + timeout), search.master()).await else {
                return Err(topology.timed_out(Wanted::Master, without));
            };
            let node = NodeClient::new(topology.clone(), found?, timeout);
            let asked = Instant::now();
            match timeout_at(deadline, node.change(change.clone(), wait)).await {
                // The master that was to go has handed over, or another node has been elected.
                Ok(Err(ClientError::NotMaster { .. })) => {
                    if asked.elapsed() > timeout {
                        without = Instant::now();
                    }
                    sleep(pause(asked.duration_since(without))).await;
                }
                Ok(outcome) => return outcome,
                Err(_) => {
                    let message = "no answer in time: it may be under way. Look at the members, and ask again";
                    return Err(ClientError::Members { message: message.into() });
                }
            }
        }
    }
}
