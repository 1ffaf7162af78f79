//! What nodes must have in common to become one cluster, and what they need not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use std::time::Duration;

use common::{Cluster, GROUP, committed, fast, patient};
use dledger::{AppendError, Config, Ledger, NodeBuilder, NodeId, Peers, Role};

/// Node `n` with a peer list of its own.
fn builder(cluster: &Cluster, n: usize, peers: Peers) -> NodeBuilder {
    cluster.builder(n).peers(peers)
}

/// The members a node knows once it knows a master.
async fn members(ledger: &Ledger) -> Vec<(String, String)> {
    let mut role = ledger.role();
    patient(role.wait_for(|role| matches!(role, Role::Master { .. } | Role::Slave { .. }))).await.unwrap();
    let members = ledger.status().members.into_iter().map(|m| (m.member.id.to_string(), m.member.address));
    members.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_different_peer_lists_do_not_form_two_clusters() {
    for _ in 0..3 {
        let cluster = Cluster::down(3, fast);
        let all = cluster.peers.clone();
        let two = Peers::new(all.iter().filter(|peer| peer.id != NodeId::new(0)).cloned().collect()).unwrap();
        // The last to come is asked by both at about the same time.
        let (zero, one) = tokio::join!(builder(&cluster, 0, all.clone()).start(), builder(&cluster, 1, two).start());
        let nodes = [zero.unwrap(), one.unwrap(), builder(&cluster, 2, all).start().await.unwrap()];
        // Ten rounds of asking: whoever could form a cluster has done so by then.
        let within = Some(Duration::from_secs(1));
        let appends = nodes.iter().map(|node| {
            let ledger = node.ledger(GROUP).unwrap();
            async move { ledger.submit(vec!["x".into()], within).await?.await }
        });
        for outcome in patient(futures::future::join_all(appends)).await {
            assert!(matches!(outcome, Err(AppendError::NoMaster { .. })), "{outcome:?}");
        }
        for node in &nodes {
            let status = node.ledger(GROUP).unwrap().status();
            assert_eq!((status.term, &*status.members), (0, &[][..]), "{status:?}");
            node.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_peer_list_does_not_matter() {
    let cluster = Cluster::down(3, fast);
    let mut turned: Vec<_> = cluster.peers.iter().cloned().collect();
    turned.reverse();
    let turned = Peers::new(turned).unwrap();
    let mut nodes = Vec::new();
    for n in 0..3 {
        let peers = if n == 1 { turned.clone() } else { cluster.peers.clone() };
        nodes.push(builder(&cluster, n, peers).start().await.unwrap());
    }
    for node in &nodes {
        assert_eq!(members(&node.ledger(GROUP).unwrap()).await.len(), 3);
    }
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_known_by_the_address_it_advertises() {
    let cluster = Cluster::down(3, fast);
    let listed = |n: usize| cluster.peers.get(&NodeId::new(n as u64)).unwrap().address.clone();
    let advertised = |n: usize| listed(n).replace("127.0.0.1", "localhost");
    let mut nodes = Vec::new();
    for n in 0..3 {
        let builder = cluster.builder(n);
        let builder = if n == 2 { builder } else { builder.advertise(advertised(n)) };
        nodes.push(builder.start().await.unwrap());
    }
    let expected = [("n0", advertised(0)), ("n1", advertised(1)), ("n2", listed(2))];
    let expected = expected.map(|(id, address)| (id.to_owned(), address));
    for node in &nodes {
        assert_eq!(members(&node.ledger(GROUP).unwrap()).await, expected);
    }
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_entries_larger_than_it_would_append_itself() {
    let cluster = Cluster::down(3, |config: &mut Config| {
        fast(config);
        config.segment_size = 32 << 20;
    });
    let mut nodes = Vec::new();
    for n in 0..3 {
        // Whoever leads, it has a neighbour with other limits.
        let limit = if n == 2 { 64 << 10 } else { 16 << 20 };
        let limited = |config: &mut Config| (config.max_record_bytes, config.max_batch_bytes) = (limit, limit);
        nodes.push(cluster.builder(n).configure(limited).start().await.unwrap());
    }
    // The one with the low limit may be the master: then there is no large entry until another one is.
    loop {
        let roles = nodes[..2].iter().map(|node| {
            let ledger = node.ledger(GROUP).unwrap();
            async move { members(&ledger).await }
        });
        futures::future::join_all(roles).await;
        let leader = nodes[..2].iter().find(|node| node.ledger(GROUP).unwrap().status().role.is_master());
        if let Some(leader) = leader {
            let appended = leader.ledger(GROUP).unwrap().append(vec![7; 12 << 20]);
            assert_eq!(patient(appended).await.unwrap().index, 0);
            break;
        }
        nodes.pop().unwrap().shutdown().await;
        let mut electing = nodes[0].ledger(GROUP).unwrap().role();
        patient(electing.wait_for(|role| matches!(role, Role::Electing { .. }) || role.is_master())).await.unwrap();
        let wait = nodes.iter().map(|node| {
            let mut role = node.ledger(GROUP).unwrap().role();
            Box::pin(async move { role.wait_for(Role::is_master).await.map(drop) })
        });
        patient(futures::future::select_all(wait)).await.0.unwrap();
        let limited = |config: &mut Config| (config.max_record_bytes, config.max_batch_bytes) = (64 << 10, 64 << 10);
        nodes.push(cluster.builder(2).configure(limited).start().await.unwrap());
    }
    for node in &nodes {
        committed(&node.ledger(GROUP).unwrap(), 1).await;
    }
    for node in nodes {
        node.shutdown().await;
    }
}
