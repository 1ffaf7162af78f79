//! Who calls whom, at the head of every call between nodes.

use crate::log::directory::Identity;
use crate::types::{Incarnation, NodeId};
use crate::wire::pb;
use crate::wire::version::WIRE_VERSION;

/// The envelope of a call to the node `target` with that disk.
pub(crate) fn envelope(me: &Identity, target: &NodeId, incarnation: Option<Incarnation>) -> pb::Envelope {
    pb::Envelope {
        wire_version: WIRE_VERSION,
        cluster: me.cluster.to_string(),
        group: me.group.to_string(),
        sender: me.node.to_string(),
        sender_incarnation: me.incarnation.to_bytes().to_vec().into(),
        target: target.to_string(),
        target_incarnation: incarnation.map(|i| i.to_bytes().to_vec()).unwrap_or_default().into(),
        sender_address: String::new(),
        membership: None,
        cluster_incarnation: Default::default(),
    }
}

/// The envelope of a call to the node that answers at an address, whatever its id and disk.
pub(crate) fn envelope_to_anybody(me: &Identity) -> pb::Envelope {
    pb::Envelope { target: String::new(), ..envelope(me, &me.node, None) }
}

/// A request to a node to identify itself. By answering, it does not promise to join a cluster.
pub(crate) fn look(me: &Identity, envelope: pb::Envelope) -> pb::IdentifyRequest {
    pb::IdentifyRequest { envelope: Some(envelope), segment_size: me.segment_size, join: true, peers: String::new() }
}
