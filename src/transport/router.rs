//! Finds the ledger that a peer's call is for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream;
use parking_lot::RwLock;

use crate::transport::{PeerHandler, ReplyStream, RequestStream};
use crate::types::{ClusterName, Group};
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;
use crate::wire::version::WIRE_VERSIONS;

/// All ledgers of a node, by group. Refuses calls of an unknown wire version, for another cluster or for an unknown
/// group.
pub struct Router {
    cluster: ClusterName,
    groups: RwLock<BTreeMap<String, Arc<dyn PeerHandler>>>,
    /// Whether the node stops, which is why `groups` is empty.
    stops: AtomicBool,
    /// Calls that brought heartbeats, and the heartbeats in them.
    heartbeats: (AtomicU64, AtomicU64),
}

impl Router {
    /// Of a node of `cluster`, without a ledger.
    pub fn new(cluster: ClusterName) -> Self {
        Self { cluster, groups: RwLock::default(), stops: AtomicBool::new(false), heartbeats: Default::default() }
    }

    /// Adds a ledger. Replaces one of the same group.
    pub(crate) fn insert(&self, group: &Group, handler: Arc<dyn PeerHandler>) {
        let mut groups = self.groups.write();
        groups.insert(group.to_string(), handler);
    }

    /// Removes a ledger: calls for it are refused from now on.
    pub(crate) fn remove(&self, group: &Group) {
        self.groups.write().remove(group.as_str());
    }

    /// Counts a call that brings `beats` heartbeats.
    pub(crate) fn count_heartbeats(&self, beats: usize) {
        self.heartbeats.0.fetch_add(1, Ordering::Relaxed);
        self.heartbeats.1.fetch_add(beats as u64, Ordering::Relaxed);
    }

    /// How many calls have brought heartbeats, and how many heartbeats.
    #[cfg(test)]
    pub(crate) fn heartbeats(&self) -> (u64, u64) {
        (self.heartbeats.0.load(Ordering::Relaxed), self.heartbeats.1.load(Ordering::Relaxed))
    }

    /// Removes all ledgers because the node stops: from now on calls are refused with that reason.
    pub fn clear(&self) {
        self.stops.store(true, Ordering::Relaxed);
        self.groups.write().clear();
    }

    /// The ledger that `envelope` names.
    ///
    /// # Errors
    /// The wire version, the cluster or the group is wrong.
    pub fn route(&self, envelope: Option<&pb::Envelope>) -> Result<Arc<dyn PeerHandler>, pb::Refusal> {
        let Some(envelope) = envelope else {
            return Err(refusal(Reason::Malformed, "no envelope", "an envelope"));
        };
        if !WIRE_VERSIONS.contains(&envelope.wire_version) {
            let known = format!("{} or {}", WIRE_VERSIONS.start(), WIRE_VERSIONS.end());
            return Err(refusal(Reason::WireVersion, envelope.wire_version, known));
        }
        if envelope.cluster != self.cluster.as_str() {
            return Err(refusal(Reason::Cluster, &envelope.cluster, &self.cluster));
        }
        let groups = self.groups.read();
        match groups.get(&envelope.group) {
            Some(handler) => Ok(handler.clone()),
            None if self.stops.load(Ordering::Relaxed) => {
                Err(refusal(Reason::Closed, "a node that stops", "a running ledger"))
            }
            None => {
                let hosted = groups.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(refusal(Reason::Group, &envelope.group, hosted))
            }
        }
    }

    /// Serves a replication stream, whose first message says which ledger it is for.
    ///
    /// # Errors
    /// The envelope is refused, or the stream ends or breaks before its first message.
    pub async fn replicate(&self, mut requests: RequestStream) -> Result<ReplyStream, pb::Refusal> {
        let first = match requests.next().await {
            Some(Ok(first)) => first,
            Some(Err(broken)) => return Err(refusal(Reason::Malformed, broken, "a first message")),
            None => return Err(refusal(Reason::Malformed, "the end of the stream", "a first message")),
        };
        let handler = self.route(first.envelope.as_ref())?;
        let envelope = first.envelope.clone().unwrap_or_default();
        let all = stream::once(async move { Ok(first) }).chain(requests).boxed();
        handler.replicate(envelope, all).await
    }
}
