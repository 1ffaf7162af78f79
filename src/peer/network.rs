//! openraft's network: makes the clients to the members of one ledger.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use openraft::network::RaftNetworkFactory;

use super::addresses::Addresses;
use super::call_outcomes::CallOutcomes;
use super::client::PeerClient;
use super::envelope::envelope;
use super::outages::Outages;
use super::replication::restart_backoff::RestartBackoff;
use crate::log::directory::Identity;
use crate::raft::election::vote_saves::VoteSaves;
use crate::raft::membership::acks::MemberAcks;
use crate::raft::membership::codec::MemberNode;
use crate::raft::role::standing::Standing;
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::{Runtime, TypeConfig};
use crate::transport::{Transport, TransportError};
use crate::types::NodeId;
use crate::wire::pb;

/// Makes a [`PeerClient`] for each member of one ledger. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerNetwork {
    identity: Identity,
    transport: Arc<dyn Transport>,
    /// Where this node is reached.
    advertised: String,
    addresses: Addresses,
    /// How long a leader on this node may answer lease reads after it sent a request that a quorum answered,
    /// milliseconds.
    lease_window: u32,
    outcomes: Arc<CallOutcomes>,
    floor: PurgeFloor,
    acked: MemberAcks,
    saves: VoteSaves,
}

impl PeerNetwork {
    /// `advertised`: where this node is reached. A leader on this node answers lease reads no longer than
    /// `lease_window` after it sent a request that a quorum answered.
    pub(crate) fn new(
        identity: Identity,
        transport: Arc<dyn Transport>,
        advertised: String,
        lease_window: Duration,
        floor: PurgeFloor,
        acked: MemberAcks,
    ) -> Self {
        // The configuration's upper bound is far below.
        let lease_window = u32::try_from(lease_window.as_millis()).unwrap_or(u32::MAX);
        let (addresses, outcomes, saves) = (Addresses::default(), Arc::default(), VoteSaves::default());
        Self { identity, transport, advertised, addresses, lease_window, outcomes, floor, acked, saves }
    }

    /// The same network, whose failed calls are reported in `outages`, together with those of the node's other ledgers.
    pub(crate) fn telling(self, outages: Outages) -> Self {
        Self { outcomes: Arc::new(CallOutcomes { outages, standing: self.standing() }), ..self }
    }

    /// What the peers say about this node.
    pub(crate) fn standing(&self) -> Standing {
        self.outcomes.standing.clone()
    }

    /// What the members have acknowledged.
    pub(crate) fn acknowledged(&self) -> MemberAcks {
        self.acked.clone()
    }

    /// How long votes take to be saved: [`VoteSaves`] decides when the members may be asked for pre-votes.
    pub(crate) fn vote_saves(&self) -> VoteSaves {
        self.saves.clone()
    }

    /// This node.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The transport that all its clients use.
    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Where its clients look up the members' addresses.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Reports that the process of the member `id` is gone, which no call may have found out yet. [`Outages`] tells the
    /// operator once for all ledgers of the node.
    pub(super) fn tell_gone<R: Runtime>(&self, id: &NodeId, address: &str) {
        let reason = "nothing listens there any more: its process is gone".to_owned();
        let gone = TransportError::Unreachable { address: address.to_owned(), reason };
        self.outcomes.outages.note::<R, ()>(id.as_str(), self.identity.group.as_str(), &Err(gone));
    }

    /// A client to the member `target`. A `heartbeat` client makes each append a call of its own.
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
