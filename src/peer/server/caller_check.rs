//! Checks who calls, before Raft or anything else of the ledger sees the call.

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;

use super::membership_check::{self, ClaimedIdentity};
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::peer::convert::{self, Malformed};
use crate::peer::server::{OrRefusal, malformed};
use crate::raft::Runtime;
use crate::raft::membership::codec;
use crate::raft::storage::snapshot;
use crate::raft::type_config::Metrics;
use crate::types::{Incarnation, NodeId};
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// Checks the callers of one ledger. A refusal says what was found and what was expected.
pub(super) struct CallerCheck<R: Runtime> {
    pub(super) identity: Identity,
    /// [`Peers::agreed`](crate::types::Peers).
    pub(super) peers: String,
    /// The node to which this node has promised that it may form the cluster. Several may ask; only that one may.
    promised: Mutex<Option<(NodeId, Incarnation)>>,
    log: LogReader,
    metrics: Metrics<R>,
}

impl<R: Runtime> CallerCheck<R> {
    pub(super) fn new(identity: Identity, peers: String, log: LogReader, metrics: Metrics<R>) -> Self {
        Self { identity, peers, promised: Mutex::default(), log, metrics }
    }

    /// Refuses a call that is for another disk, or whose sender is not what it says. Returns the sender.
    pub(super) fn check(&self, envelope: Option<&pb::Envelope>) -> OrRefusal<NodeId> {
        let (envelope, sender) = self.check_names(envelope, false)?;
        let target = Incarnation::from_slice(&envelope.target_incarnation);
        if target != Some(self.identity.incarnation) {
            let found = target.map_or("none".into(), |target| target.to_string());
            return Err(refusal(Reason::TargetIncarnation, found, self.identity.incarnation));
        }
        Ok(sender)
    }

    /// Refuses a caller of another cluster of the same name. A survivor that was made a cluster of its own never
    /// rejoins the members it left behind, nor they it.
    fn check_cluster(&self, envelope: &pb::Envelope) -> OrRefusal<()> {
        let own = self.cluster();
        match (Incarnation::from_slice(&envelope.cluster_incarnation), own) {
            (Some(found), Some(own)) if found != own => {
                let found = format!("{} of incarnation {found}", self.identity.cluster);
                Err(refusal(Reason::Cluster, found, format!("{} of incarnation {own}", self.identity.cluster)))
            }
            _ => Ok(()),
        }
    }

    /// The incarnation of the cluster that this node is a member of.
    pub(super) fn cluster(&self) -> Option<Incarnation> {
        let Identity { node, incarnation, .. } = &self.identity;
        codec::cluster_of(self.metrics.borrow_watched().membership_config.membership(), node, *incarnation)
    }

    /// `anybody`: whether the call may name no target.
    fn check_names<'e>(
        &self,
        envelope: Option<&'e pb::Envelope>,
        anybody: bool,
    ) -> OrRefusal<(&'e pb::Envelope, NodeId)> {
        let envelope = envelope.ok_or_else(|| malformed(Malformed::Missing("envelope")))?;
        if envelope.target != self.identity.node.as_str() && !(anybody && envelope.target.is_empty()) {
            return Err(refusal(Reason::Target, &envelope.target, &self.identity.node));
        }
        let sender: NodeId = envelope.sender.parse().map_err(|error| malformed(Malformed::Name(error)))?;
        let Some(incarnation) = Incarnation::from_slice(&envelope.sender_incarnation) else {
            return Err(malformed(Malformed::Missing("sender_incarnation")));
        };
        if sender == self.identity.node {
            return Err(refusal(Reason::Sender, format!("{sender} with disk {incarnation}"), "another node id"));
        }
        // Before the membership, which would be another cluster's. A caller that only asks who is here may be of any
        // cluster.
        match self.check_cluster(envelope) {
            Err(_) if anybody => return Ok((envelope, sender)),
            checked => checked?,
        }
        let acts_by = envelope.membership.map(convert::to_log_id).transpose().map_err(malformed)?;
        // The metrics are not borrowed while the log is read: Raft could not publish any meanwhile.
        let (config, committed) = {
            let metrics = self.metrics.borrow_watched();
            (metrics.membership_config.clone(), metrics.local_committed)
        };
        let address = &envelope.sender_address;
        if acts_by > *config.log_id() {
            // The sender knows a later membership: this node is behind, perhaps since before the sender had its disk.
            return Ok((envelope, sender));
        }
        let who = ClaimedIdentity { id: &sender, disk: incarnation, address, acts_by };
        let Err(refusal) = membership_check::vouch(&self.log, &config, &who) else {
            return Ok((envelope, sender));
        };
        if *config.log_id() <= committed {
            return Err(refusal);
        }
        // A membership that is not committed may never be, and the sender may be calling to replace it.
        match committed.and_then(|committed| snapshot::membership_at(&self.log, committed.index).ok()) {
            Some(before) => membership_check::vouch(&self.log, &before, &who)?,
            // A membership that is not committed has removed nobody.
            None => return Err(pb::Refusal { removed: false, ..refusal }),
        }
        Ok((envelope, sender))
    }

    pub(super) fn check_identify(&self, request: &pb::IdentifyRequest) -> OrRefusal<(NodeId, Incarnation)> {
        let (envelope, sender) = self.check_names(request.envelope.as_ref(), true)?;
        let Some(incarnation) = Incarnation::from_slice(&envelope.sender_incarnation) else {
            return Err(malformed(Malformed::Missing("sender_incarnation")));
        };
        if request.segment_size != self.identity.segment_size {
            let found = format!("segments of {} bytes", request.segment_size);
            let own = self.identity.segment_size;
            let expected = format!("segments of {own} bytes (the segment size is to be the same on all nodes)");
            return Err(refusal(Reason::SegmentSize, found, expected));
        }
        Ok((sender, incarnation))
    }

    /// Promises `former` that it may form the cluster, if it is the first to ask and has the same peers.
    pub(super) fn promise(&self, former: (NodeId, Incarnation), peers: &str) -> OrRefusal<()> {
        if peers != self.peers {
            let own = if self.peers.is_empty() {
                "no peers: a cluster of its own, or one that it joins"
            } else {
                &self.peers
            };
            return Err(refusal(Reason::Peers, peers, own));
        }
        let mut promised = self.promised.lock();
        let (node, disk) = promised.get_or_insert_with(|| former.clone());
        if (&*node, &*disk) != (&former.0, &former.1) {
            let expected = format!(
                "{node} with disk {disk}, which asked first; restart {} if that one is gone",
                self.identity.node
            );
            return Err(refusal(Reason::Peers, format!("{} with disk {}", former.0, former.1), expected));
        }
        Ok(())
    }
}
