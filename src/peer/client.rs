//! The calling side: openraft's network over a [`Transport`].

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::storage::Snapshot;

use super::addresses::Addresses;
use super::call_outcomes::CallOutcomes;
use super::convert::{self, Malformed};
use super::envelope::envelope;
use super::outages::Outages;
use super::read_quorum::ReadQuorum;
use super::replication::ack_recorder::AckRecorder;
use super::replication::lagging::LaggingGuard;
use super::replication::restart_backoff::RestartBackoff;
use super::replication::stalled::stop_when_stalled;
use super::vote_canvass::VoteCanvass;
use crate::log::directory::Identity;
use crate::raft::election::vote_saves::{VoteCollector, VoteSaves};
use crate::raft::membership::acks::MemberAcks;
use crate::raft::membership::codec::MemberNode;
use crate::raft::reads::LeadershipProbe;
use crate::raft::role::standing::Standing;
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::storage::state_machine::{self, SnapshotData};
use crate::raft::type_config::{CommittedLeaderId, LogId, RaftVote};
use crate::raft::{Runtime, TypeConfig};
use crate::transport::{Lane, Link, Transport, TransportError};
use crate::types::NodeId;
use crate::wire::pb;

type LedgerSnapshot = Snapshot<CommittedLeaderId, NodeId, MemberNode, SnapshotData>;
/// An answer to an append, or why there is none.
pub(super) type AppendOutcome<R> = Result<StreamAppendResult<TypeConfig<R>>, RPCError<TypeConfig<R>>>;
/// Where a member's log ends, where it says so, and what it answers to an append.
pub(super) type MemberAnswer<R> = (Option<LogId>, StreamAppendResult<TypeConfig<R>>);
pub(super) type AppendOutcomes<'s, R> = BoxStream<'s, AppendOutcome<R>>;

/// Makes clients to the members of one ledger. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerNetwork {
    identity: Identity,
    transport: Arc<dyn Transport>,
    /// Where this node is reached.
    advertised: String,
    addresses: Addresses,
    /// How long a leader here may answer lease reads after it sent what was answered, milliseconds.
    lease_window: u32,
    outcomes: Arc<CallOutcomes>,
    floor: PurgeFloor,
    acked: MemberAcks,
    saves: VoteSaves,
}

/// Calls to one member.
pub(crate) struct PeerClient<R> {
    envelope: pb::Envelope,
    transport: Arc<dyn Transport>,
    addresses: Addresses,
    target: NodeId,
    /// As the membership named it when the client was made.
    node: MemberNode,
    /// A heartbeat client sends its single request as a call of its own, past all data.
    heartbeat: bool,
    lease_window: u32,
    outcomes: Arc<CallOutcomes>,
    floor: PurgeFloor,
    acked: MemberAcks,
    saves: VoteSaves,
    restarts: RestartBackoff,
    _runtime: PhantomData<fn() -> R>,
}

impl PeerNetwork {
    /// `advertised`: where this node is reached. A leader here answers lease reads no longer than `lease_window` after
    /// it sent what a quorum answered.
    pub(crate) fn new(
        identity: Identity,
        transport: Arc<dyn Transport>,
        advertised: String,
        lease_window: Duration,
        floor: PurgeFloor,
        acked: MemberAcks,
    ) -> Self {
        // The bounds of the configuration are far below.
        let lease_window = u32::try_from(lease_window.as_millis()).unwrap_or(u32::MAX);
        let (addresses, outcomes, saves) = (Addresses::default(), Arc::default(), VoteSaves::default());
        Self { identity, transport, advertised, addresses, lease_window, outcomes, floor, acked, saves }
    }

    /// The same, whose calls that fail are told together with those of the node's other ledgers.
    pub(crate) fn telling(self, outages: Outages) -> Self {
        Self { outcomes: Arc::new(CallOutcomes { outages, standing: self.standing() }), ..self }
    }

    /// What the peers say of this node is told there.
    pub(crate) fn standing(&self) -> Standing {
        self.outcomes.standing.clone()
    }

    /// What asks a quorum whether this node leads.
    pub(crate) fn leadership_probe<R: Runtime>(&self) -> Arc<dyn LeadershipProbe> {
        Arc::new(ReadQuorum::<R>::new(self.clone()))
    }

    /// What the members have acknowledged.
    pub(crate) fn acknowledged(&self) -> MemberAcks {
        self.acked.clone()
    }

    /// What asks for votes that take long to be saved.
    pub(crate) fn vote_collector<R: Runtime>(&self) -> Arc<dyn VoteCollector> {
        Arc::new(VoteCanvass::<R>::new(self.clone()))
    }

    /// What saving votes costs on this node, as it is told: it decides when the members are asked for pre-votes.
    pub(crate) fn vote_saves(&self) -> VoteSaves {
        self.saves.clone()
    }

    /// This node.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What connects it.
    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Where its clients look for the members.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Has the operator told that the process of the member `id` is gone, which no call has found out yet: once for all
    /// ledgers of the node.
    pub(super) fn tell_gone<R: Runtime>(&self, id: &NodeId, address: &str) {
        let reason = "nobody listens there any more: its process is gone".to_owned();
        let gone = TransportError::Unreachable { address: address.to_owned(), reason };
        self.outcomes.outages.note::<R, ()>(id.as_str(), self.identity.group.as_str(), &Err(gone));
    }

    /// A `heartbeat` client makes each append a call of its own.
    pub(super) fn client<R>(&self, target: NodeId, node: &MemberNode, heartbeat: bool) -> PeerClient<R> {
        let envelope = pb::Envelope {
            sender_address: self.advertised.clone(),
            ..envelope(&self.identity, &target, Some(node.incarnation))
        };
        PeerClient {
            envelope,
            transport: self.transport.clone(),
            addresses: self.addresses.clone(),
            target,
            node: node.clone(),
            heartbeat,
            lease_window: self.lease_window,
            outcomes: self.outcomes.clone(),
            floor: self.floor.clone(),
            acked: self.acked.clone(),
            saves: self.saves.clone(),
            restarts: RestartBackoff::default(),
            _runtime: PhantomData,
        }
    }
}

impl<R: Runtime> RaftNetworkFactory<TypeConfig<R>> for PeerNetwork {
    type Network = PeerClient<R>;

    async fn new_client(&mut self, target: NodeId, node: &MemberNode) -> PeerClient<R> {
        self.client(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &MemberNode) -> PeerClient<R> {
        self.client(target, node, true)
    }
}

/// What openraft does about it: after `Unreachable` it backs off, after `Network` it tries again soon.
fn failed<R: Runtime>(error: TransportError) -> RPCError<TypeConfig<R>> {
    match &error {
        TransportError::Refused { .. } | TransportError::Unreachable { .. } => Unreachable::new(&error).into(),
        TransportError::Broken { .. } | TransportError::Timeout { .. } => NetworkError::new(&error).into(),
    }
}

fn malformed<R: Runtime>(error: Malformed) -> RPCError<TypeConfig<R>> {
    Unreachable::new(&error).into()
}

/// Where the member's log ends if it says so, and its answer.
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

    /// Takes down how a call ended.
    fn note<T>(&self, ended: Result<T, TransportError>) -> Result<T, TransportError> {
        self.outcomes.note::<R, T>(&self.envelope.target, &self.envelope.group, ended)
    }

    /// As [`PeerClient::note`], of a call that failed.
    fn noted(&self, error: TransportError) -> TransportError {
        match self.note(Err::<Infallible, _>(error)) {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    /// Takes down whether an answer made sense.
    fn read<T>(&self, read: Result<T, Malformed>) -> Result<T, Malformed> {
        self.outcomes.read::<R, T>(&self.envelope.target, &self.envelope.group, read)
    }

    /// What the member is to be told that it has acknowledged.
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
        // openraft waits out its back-off where it makes a request. To connect before there is one would be to connect
        // to a dead peer over and over, without a pause.
        let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
        self.restarts.wait::<R>().await;
        let (leader, began) = (first.vote.clone(), first.prev_log_id);
        let acked = first.prev_log_id.map_or(0, |id| id.index + 1);
        let (floor, of) = (self.floor.clone(), (self.floor.log().group().clone(), self.target.clone()));
        let input = stream::once(future::ready(first)).chain(input);
        let (input, stranded) = stop_when_stalled(input, move |number| floor.is_gone(number), of.clone());
        let (mut envelope, mut reminder) = (Some(self.envelope()), self.reminder(&leader));
        let lease_window_ms = self.lease_window;
        let sent = Arc::new(AtomicU64::new(acked));
        let sending = sent.clone();
        let requests = input.map(move |request| {
            if let Some(last) = request.entries.last() {
                sending.store(last.number().saturating_add(1), Ordering::Relaxed);
            }
            let mut message = convert::from_append(request);
            (message.envelope, message.acknowledged) = (envelope.take(), reminder.take());
            message.lease_window_ms = lease_window_ms;
            message
        });
        // That the stream opens says nothing yet: a refusal comes as its first answer.
        let answers = match self.link(Lane::Data).replicate(requests.boxed()).await {
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
        let mut heard = AckRecorder::new(self.acked.clone(), leader, member, self.floor.log().clone(), (acked, sent));
        let answers = answers.map(move |answer| match outcomes.note::<R, _>(&target, &group, answer) {
            Ok(answer) => {
                let read = outcomes.read::<R, _>(&target, &group, to_answer::<R>(answer));
                heard.answer::<R>(read.map_err(malformed::<R>)?)
            }
            Err(error) => {
                heard.ended(&error);
                Err(failed(error))
            }
        });
        let answers = LaggingGuard::watch(stranded.told(answers).boxed(), acked, self.floor.wanted(), of);
        Ok(self.restarts.watch(answers, began).boxed())
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
            // As if it had said no, and nothing that openraft would learn from.
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
        let mut message = state_machine::to_message(&snapshot.meta, snapshot.snapshot);
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
