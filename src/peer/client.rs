//! The calling side: one member's openraft network over a [`Transport`].

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption};
use openraft::raft::{AppendEntriesRequest, SnapshotResponse, StreamAppendError, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::storage::Snapshot;

use super::addresses::Addresses;
use super::call_outcomes::CallOutcomes;
use super::convert::{self, Malformed};
use super::replication::ack_recorder::AckRecorder;
use super::replication::guard::ReplicationGuard;
use super::replication::restart_backoff::RestartBackoff;
use super::replication::{AppendOutcome, AppendOutcomes, MemberAnswer};
use crate::raft::election::vote_saves::VoteSaves;
use crate::raft::log_id::{CommittedLeaderId, RaftVote};
use crate::raft::membership::acks::MemberAcks;
use crate::raft::membership::codec::MemberNode;
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::storage::snapshot;
use crate::raft::storage::snapshot::SnapshotData;
use crate::raft::{Runtime, TypeConfig};
use crate::transport::{Lane, Link, Transport, TransportError};
use crate::types::NodeId;
use crate::wire::pb;

type LedgerSnapshot = Snapshot<CommittedLeaderId, NodeId, MemberNode, SnapshotData>;

/// Calls one member. Made by [`PeerNetwork`](super::network::PeerNetwork).
pub(crate) struct PeerClient<R> {
    pub(super) envelope: pb::Envelope,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) addresses: Addresses,
    pub(super) target: NodeId,
    /// The member as the membership named it when this client was made.
    pub(super) node: MemberNode,
    /// Whether this is a heartbeat client, which sends its single request as a call of its own, past all data.
    pub(super) heartbeat: bool,
    pub(super) lease_window: u32,
    pub(super) outcomes: Arc<CallOutcomes>,
    pub(super) floor: PurgeFloor,
    pub(super) acked: MemberAcks,
    pub(super) saves: VoteSaves,
    pub(super) restarts: RestartBackoff,
    pub(super) _runtime: PhantomData<fn() -> R>,
}

/// The error that makes openraft do the right thing: after `Unreachable` it backs off, after `Network` it retries soon.
fn failed<R: Runtime>(error: TransportError) -> RPCError<TypeConfig<R>> {
    match &error {
        TransportError::Refused { .. } | TransportError::Unreachable { .. } => Unreachable::new(&error).into(),
        TransportError::Broken { .. } | TransportError::Timeout { .. } => NetworkError::new(&error).into(),
    }
}

fn malformed<R: Runtime>(error: Malformed) -> RPCError<TypeConfig<R>> {
    Unreachable::new(&error).into()
}

/// A member's answer, and where its log ends if it says so.
fn to_answer<R: Runtime>(answer: pb::AppendResponse) -> Result<MemberAnswer<R>, Malformed> {
    let end = convert::to_end(&answer)?;
    Ok((end, convert::to_append_result::<R>(answer)?))
}

impl<R: Runtime> PeerClient<R> {
    fn envelope(&self) -> pb::Envelope {
        let envelope = self.addresses.stamp(self.envelope.clone());
        pb::Envelope { wire_version: crate::wire::version::wire_version(self.floor.log().format_version()), ..envelope }
    }

    fn link(&self, lane: Lane) -> Arc<dyn Link> {
        self.transport.link(&self.addresses.of(&self.target, &self.node), lane)
    }

    /// Records how a call ended.
    fn note<T>(&self, ended: Result<T, TransportError>) -> Result<T, TransportError> {
        self.outcomes.note::<R, T>(&self.envelope.target, &self.envelope.group, ended)
    }

    /// [`PeerClient::note`] for a call that failed.
    fn noted(&self, error: TransportError) -> TransportError {
        match self.note(Err::<Infallible, _>(error)) {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    /// Records whether an answer was well-formed.
    fn read<T>(&self, read: Result<T, Malformed>) -> Result<T, Malformed> {
        self.outcomes.read::<R, T>(&self.envelope.target, &self.envelope.group, read)
    }

    /// The last entry that this leader reminds the member of having acknowledged.
    fn reminder(&self, leader: &RaftVote) -> Option<pb::LogId> {
        self.acked.reminder(leader, self.node.incarnation).map(convert::from_log_id)
    }

    /// An append without entries, as a call of its own.
    pub(super) async fn send_heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig<R>>,
        option: &RPCOption,
    ) -> AppendOutcome<R> {
        let (leader, previous) = (request.vote.clone(), request.prev_log_id);
        let mut message = convert::from_append(request);
        message.envelope = Some(self.envelope());
        message.lease_window_ms = self.lease_window;
        message.acknowledged = self.reminder(&leader);
        let answer = self.link(Lane::Heartbeat).heartbeat(message, option.hard_ttl()).await;
        let answer = self.note(answer).map_err(failed)?;
        let read = to_answer::<R>(answer).and_then(|(end, result)| match (&result, previous) {
            // openraft asks which entry it was.
            (Err(StreamAppendError::Conflict(_)), None) => {
                let (found, expected) = ("a conflict".into(), "none before the first entry".into());
                Err(Malformed::Contradiction { found, expected })
            }
            _ => Ok((end, result)),
        });
        let (end, result) = self.read(read).map_err(malformed::<R>)?;
        if let (Err(StreamAppendError::Conflict(_)), Some(previous)) = (&result, previous) {
            self.acked.lacks(&leader, (&self.target, self.node.incarnation), previous, end);
        }
        Ok(result)
    }

    async fn replicate<'s, S>(&'s self, mut input: S) -> Result<AppendOutcomes<'s, R>, RPCError<TypeConfig<R>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig<R>>> + OptionalSend + Unpin + 'static,
    {
        // openraft waits out its back-off before it makes a request. Connecting before there is one would mean
        // connecting to a dead peer over and over, without a pause.
        let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
        self.restarts.wait::<R>().await;
        let (leader, previous) = (first.vote.clone(), first.prev_log_id);
        let guard = ReplicationGuard::new(&self.floor, self.target.clone(), previous, self.restarts.clone());
        let sent = Arc::new(AtomicU64::new(guard.first_number()));
        let input = guard.requests(stream::once(future::ready(first)).chain(input));
        // An open stream proves nothing yet: a refusal comes as its first answer.
        let answers = match self.link(Lane::Data).replicate(self.messages(input, &leader, sent.clone())).await {
            Ok(answers) => answers,
            Err(error) => {
                let error = failed::<R>(self.noted(error));
                self.restarts.failed::<R>(&error, false);
                return Err(error);
            }
        };
        let (outcomes, target, group) =
            (self.outcomes.clone(), self.envelope.target.clone(), self.envelope.group.clone());
        let member = (self.target.clone(), self.node.incarnation);
        let numbers = (guard.first_number(), sent);
        let mut recorder = AckRecorder::new(self.acked.clone(), leader, member, self.floor.log().clone(), numbers);
        let answers = answers.map(move |answer| match outcomes.note::<R, _>(&target, &group, answer) {
            Ok(answer) => {
                let read = outcomes.read::<R, _>(&target, &group, to_answer::<R>(answer));
                recorder.answer::<R>(read.map_err(malformed::<R>)?)
            }
            Err(error) => {
                recorder.ended(&error);
                Err(failed(error))
            }
        });
        Ok(guard.answers(answers))
    }

    /// The requests of a replication stream as they travel. Only the first one says who calls whom and carries the
    /// reminder. `sent` follows the number behind the last entry that the transport took.
    fn messages<S>(&self, requests: S, leader: &RaftVote, sent: Arc<AtomicU64>) -> BoxStream<'static, pb::AppendRequest>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig<R>>> + OptionalSend + 'static,
    {
        let (mut envelope, mut reminder) = (Some(self.envelope()), self.reminder(leader));
        let lease_window_ms = self.lease_window;
        let messages = requests.map(move |request| {
            if let Some(last) = request.entries.last() {
                sent.store(last.number().saturating_add(1), Ordering::Relaxed);
            }
            let mut message = convert::from_append(request);
            (message.envelope, message.acknowledged) = (envelope.take(), reminder.take());
            message.lease_window_ms = lease_window_ms;
            message
        });
        messages.boxed()
    }
}

impl<R: Runtime> NetStreamAppend<TypeConfig<R>> for PeerClient<R> {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendOutcomes<'s, R>, RPCError<TypeConfig<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig<R>>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if !self.heartbeat {
                return self.replicate(input).await;
            }
            let Some(request) = input.next().await else { return Ok(stream::empty().boxed()) };
            let answer = self.send_heartbeat(request, &option).await?;
            Ok(stream::iter([Ok(answer)]).boxed())
        })
    }
}

impl<R: Runtime> NetVote<TypeConfig<R>> for PeerClient<R> {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        let message = convert::from_vote_request(&request, self.envelope());
        let answer = self.link(Lane::Control).request_vote(message, option.hard_ttl()).await;
        let answer = self.note(answer).map_err(failed)?;
        self.read(convert::to_vote_response::<R>(answer)).map_err(malformed)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        if !self.saves.may_ask() {
            // A refused pre-vote, from which openraft learns nothing else.
            let nobody = RaftVote::new(0, request.vote.leader_id.voted_for);
            return Ok(VoteResponse::new(nobody, None, false));
        }
        let message = convert::from_vote_request(&request, self.envelope());
        let answer = self.link(Lane::Control).pre_vote(message, option.hard_ttl()).await;
        let answer = self.note(answer).map_err(failed)?;
        self.read(convert::to_vote_response::<R>(answer)).map_err(malformed)
    }
}

impl<R: Runtime> NetSnapshot<TypeConfig<R>> for PeerClient<R> {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: LedgerSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<R>>, StreamingError<TypeConfig<R>>> {
        let mut message = snapshot::to_message(&snapshot.meta, snapshot.snapshot);
        message.envelope = Some(self.envelope());
        message.vote = Some(convert::from_vote(&vote));
        message.acknowledged = self.reminder(&vote);
        message.lease_window_ms = self.lease_window;
        let link = self.link(Lane::Data);
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = link.install_snapshot(message, option.hard_ttl()) => answer,
        };
        let vote = match self.note(answer) {
            Ok(answer) => self.read(convert::to_vote(answer.vote)).map_err(|error| Unreachable::new(&error))?,
            Err(error @ (TransportError::Broken { .. } | TransportError::Timeout { .. })) => {
                return Err(NetworkError::new(&error).into());
            }
            Err(error) => return Err(Unreachable::new(&error).into()),
        };
        Ok(SnapshotResponse::new(vote))
    }
}

impl<R: Runtime> NetTransferLeader<TypeConfig<R>> for PeerClient<R> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        let mut message = convert::from_transfer(&request, self.envelope());
        message.acknowledged = self.reminder(request.from_leader());
        let answer = self.link(Lane::Control).transfer_leader(message, option.hard_ttl()).await;
        let answer = self.note(answer).map_err(failed)?;
        self.read(convert::to_transfer_response(answer, &request)).map_err(malformed)
    }
}

impl<R: Runtime> NetBackoff<TypeConfig<R>> for PeerClient<R> {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

#[cfg(test)]
#[path = "tests/client.rs"]
mod tests;
