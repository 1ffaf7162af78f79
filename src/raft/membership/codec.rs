//! Memberships as bytes: in the log, in snapshots, on the wire.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::log::reader::LogReader;
use crate::raft::log_id::{CommittedLeaderId, log_id};
use crate::types::{Incarnation, Member, MemberStatus, NodeId};
use crate::wire::{incarnation_bytes, pb};

/// A membership of a ledger.
pub(crate) type Membership = openraft::Membership<NodeId, MemberNode>;

/// A membership and the entry that set it.
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, NodeId, MemberNode>;
/// What a snapshot covers.
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, NodeId, MemberNode>;

/// What a membership says of a node besides its id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberNode {
    /// `host:port`.
    pub(crate) address: String,
    /// The id of the node's disk.
    pub(crate) incarnation: Incarnation,
    /// The cluster that the membership is of. The same for all its nodes: openraft keeps nothing else of ours when it
    /// makes one membership of another.
    pub(crate) cluster: Option<Incarnation>,
}

/// Bytes or a message are not a membership.
#[derive(Debug, Clone, thiserror::Error)]
#[error("membership cannot be read: {0}")]
pub(crate) struct MembersError(String);

/// The body of a membership entry.
pub(crate) fn encode(membership: &Membership) -> Vec<u8> {
    to_message(membership).encode_to_vec()
}

/// The reverse of [`encode`].
pub(crate) fn decode(body: &[u8]) -> Result<Membership, MembersError> {
    let message = pb::Membership::decode(body).map_err(|error| MembersError(error.to_string()))?;
    from_message(&message)
}

/// The membership as it travels.
pub(crate) fn to_message(membership: &Membership) -> pb::Membership {
    let voters = |ids: &BTreeSet<NodeId>| pb::Voters { ids: ids.iter().map(NodeId::to_string).collect() };
    let member = |(id, node): (&NodeId, &MemberNode)| pb::Member {
        id: id.to_string(),
        address: node.address.clone(),
        incarnation: node.incarnation.to_bytes().to_vec().into(),
    };
    pb::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        members: membership.nodes().map(member).collect(),
        cluster_incarnation: incarnation_bytes(cluster(membership)),
    }
}

/// The incarnation of the cluster that a membership is of, if it has one.
pub(crate) fn cluster(membership: &Membership) -> Option<Incarnation> {
    membership.nodes().find_map(|(_, node)| node.cluster)
}

/// The cluster that node `id` with this disk is a member of by `membership`. A node that learns the log from the
/// beginning reads memberships from before it joined, even of a cluster that was given up for this one.
pub(crate) fn cluster_of(membership: &Membership, id: &NodeId, disk: Incarnation) -> Option<Incarnation> {
    membership.get_node(id).filter(|node| node.incarnation == disk)?;
    cluster(membership)
}

/// The reverse of [`to_message`].
pub(crate) fn from_message(message: &pb::Membership) -> Result<Membership, MembersError> {
    let fail = |why: String| MembersError(why);
    let id = |id: &String| id.parse::<NodeId>().map_err(|error| fail(error.to_string()));
    let configs = message.configs.iter().map(|voters| voters.ids.iter().map(id).collect::<Result<BTreeSet<_>, _>>());
    let configs = configs.collect::<Result<Vec<_>, _>>()?;
    // openraft would accept such a membership, and then find a quorum in any set of nodes.
    if configs.is_empty() {
        return Err(fail("it has no set of voters".into()));
    }
    let cluster = match &message.cluster_incarnation[..] {
        [] => None,
        bytes => Some(Incarnation::from_slice(bytes).ok_or_else(|| {
            fail(format!("the incarnation of the cluster is {} bytes, and 16 are expected", bytes.len()))
        })?),
    };
    let mut nodes = BTreeMap::new();
    for member in &message.members {
        let incarnation = Incarnation::from_slice(&member.incarnation)
            .ok_or_else(|| fail(format!("incarnation of {} is {} bytes", member.id, member.incarnation.len())))?;
        nodes.insert(id(&member.id)?, MemberNode { address: member.address.clone(), incarnation, cluster });
    }
    Membership::new(configs, nodes).map_err(|error| fail(error.to_string()))
}

/// The membership as it travels, with the entry that set it.
pub(crate) fn stored_to_message(stored: &StoredMembership) -> pb::StoredMembership {
    let log_id = stored.log_id().as_ref().map(|id| pb::LogId { term: id.leader_id.term, number: id.index });
    pb::StoredMembership { log_id, membership: Some(to_message(stored.membership())) }
}

/// The reverse of [`stored_to_message`].
pub(crate) fn stored_from_message(message: &pb::StoredMembership) -> Result<StoredMembership, MembersError> {
    let membership = message.membership.as_ref().ok_or_else(|| MembersError("it is missing".into()))?;
    let id = message.log_id.as_ref().map(|id| log_id(id.term, id.number));
    // The membership before any entry has no voters at all.
    let membership = if membership.configs.is_empty() { Membership::default() } else { from_message(membership)? };
    Ok(StoredMembership::new(id, membership))
}

/// Whether a membership in the log before the one of entry `now` has a node with this disk.
pub(crate) fn was_member(log: &LogReader, disk: Incarnation, now: u64) -> bool {
    let has = |number| {
        // An entry that cannot be read says nothing here; the code that needs the entry reports it.
        let frame = log.frame(number).ok().flatten()?;
        let membership = decode(&frame.body()).ok()?;
        Some(membership.nodes().any(|(_, node)| node.incarnation == disk))
    };
    log.memberships().into_iter().any(|number| number < now && has(number) == Some(true))
}

/// More than half of the voters of every configuration.
pub(crate) fn is_quorum(membership: &Membership, granted: &[NodeId]) -> bool {
    let configs = membership.get_joint_config();
    configs.iter().all(|voters| 2 * voters.iter().filter(|id| granted.contains(id)).count() > voters.len())
}

/// All members for a status.
pub(crate) fn statuses(membership: &Membership) -> Vec<MemberStatus> {
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let status =
        |(id, node): (&NodeId, &MemberNode)| MemberStatus { member: member(id, node), voter: voters.contains(id) };
    membership.nodes().map(status).collect()
}

/// Id and node as one.
pub(crate) fn member(id: &NodeId, node: &MemberNode) -> Member {
    Member { id: id.clone(), address: node.address.clone(), incarnation: node.incarnation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_survives_its_bytes() {
        let node = |n: u64| {
            let (incarnation, cluster) = (Incarnation::from_u128(n.into()), Some(Incarnation::from_u128(7)));
            (NodeId::new(n), MemberNode { address: format!("h{n}:1"), incarnation, cluster })
        };
        let ids = |ids: &[u64]| ids.iter().map(|n| NodeId::new(*n)).collect::<BTreeSet<_>>();
        let joint = vec![ids(&[0, 1, 2]), ids(&[1, 2, 3])];
        let membership = Membership::new(joint, BTreeMap::from_iter((0..5).map(node))).unwrap();
        assert_eq!(decode(&encode(&membership)).unwrap(), membership);
        assert_eq!(cluster(&membership), Some(Incarnation::from_u128(7)));
        let statuses = statuses(&membership);
        assert_eq!(statuses.iter().map(|s| s.voter).collect::<Vec<_>>(), [true, true, true, true, false]);
        assert!(decode(b"\x12\x03\x0a\x01 ").is_err());
    }

    #[test]
    fn a_membership_of_before_there_were_incarnations_of_clusters_is_read() {
        let voters = vec![pb::Voters { ids: vec!["n0".into()] }];
        let members = vec![pb::Member { id: "n0".into(), address: "h:1".into(), incarnation: vec![7; 16].into() }];
        let old = pb::Membership { configs: voters, members, cluster_incarnation: Default::default() };
        let membership = decode(&old.encode_to_vec()).unwrap();
        assert_eq!(cluster(&membership), None);
        assert_eq!(encode(&membership), old.encode_to_vec(), "and written as it was");
        let odd = pb::Membership { cluster_incarnation: vec![1].into(), ..old };
        assert!(decode(&odd.encode_to_vec()).unwrap_err().to_string().contains("16 are expected"));
    }

    /// In such a membership, openraft would find a quorum in any set of nodes.
    #[test]
    fn a_membership_without_voters_is_refused() {
        assert!(decode(b"").unwrap_err().to_string().contains("no set of voters"));
        let message = pb::Membership { configs: vec![pb::Voters::default()], ..pb::Membership::default() };
        assert!(decode(&message.encode_to_vec()).is_err());
    }
}
