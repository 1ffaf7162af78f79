//! What nodes must have in common to become one cluster, and what they need not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use std::time::Duration;

use common::{Cluster, GROUP, committed, fast, patient};
use dledger::{AppendError, Config, Ledger, NodeBuilder, NodeId, Peers};

/// Node `n` with a peer list of its own.
fn builder(cluster: &Cluster, n: usize, peers: Peers) -> NodeBuilder {
    cluster.builder(n).peers(peers)
}

/// The members a node knows once it knows any.
async fn members(ledger: &Ledger) -> Vec<(String, String)> {
    let known = async {
        // There is no watch of the members.
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            let members = ledger.status().members;
            if !members.is_empty() {
                break members;
            }
            looks.tick().await;
        }
    };
    patient(known).await.into_iter().map(|m| (m.member.id.to_string(), m.member.address)).collect()
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
    fn limit(config: &mut Config, bytes: usize) {
        (config.max_record_bytes, config.max_batch_bytes) = (bytes, bytes);
    }
    let mut cluster = Cluster::start_with(3, |config| {
        fast(config);
        config.segment_size = 32 << 20;
        limit(config, 16 << 20);
    })
    .await;
    let small = cluster.slave().await;
    cluster.stop(small).await;
    let restarted = cluster.builder(small).configure(|config| limit(config, 64 << 10)).start().await.unwrap();
    let master = cluster.ledger(cluster.master().await);
    assert_eq!(patient(master.append(vec![7; 12 << 20])).await.unwrap().index, 0);
    committed(&restarted.ledger(GROUP).unwrap(), 1).await;
    restarted.shutdown().await;
    cluster.stop_all().await;
}
