//! Who may lead, and the term that a master is shown with.

use std::collections::BTreeMap;

use super::*;
use crate::raft::membership::codec::MemberNode;

#[test]
fn a_node_asks_for_votes_only_with_the_disk_that_the_membership_means() {
    let (id, stranger) = (NodeId::new(1), NodeId::new(2));
    let disk = Incarnation::from_u128(7);
    let node = MemberNode { address: "h:1".into(), incarnation: disk, cluster: None };
    let nodes = BTreeMap::from([(id.clone(), node)]);
    let membership = Membership::new(vec![[id.clone()].into()], nodes).unwrap();
    assert!(may_lead(&id, disk, &membership));
    assert!(!may_lead(&id, Incarnation::from_u128(8), &membership));
    assert!(!may_lead(&stranger, disk, &membership));
}

#[test]
fn a_master_is_shown_with_the_term_it_is_master_of() {
    // It has heard of term 4 and is about to step down: another node may be master of that.
    let view = ClusterView { term: 4, ..ClusterView::default() };
    assert_eq!(view.term_in(&Role::Master { term: 3 }), 3);
    assert_eq!(view.term_in(&Role::Closed { kind: ClosedKind::Storage, reason: "disk".into() }), 4);
}
