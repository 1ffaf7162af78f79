//! What nodes must have in common to become one cluster, and what they need not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use std::time::Duration;

use common::{Cluster, GROUP, committed, fast, patient};
use dledger::{AppendError, Config, Ledger, Node, NodeBuilder, NodeId, Peer, Peers};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_peers_are_of_two_clusters_appends_to_neither_and_names_both() {
    let cluster = Cluster::with_spares(3, 1, fast);
    let nodes = (0..3).map(|n| dledger::server::serve(cluster.builder(n)));
    let mut nodes: Vec<Node> = futures::future::try_join_all(nodes).await.unwrap();
    // Somebody wanted it to join, and wrote something else.
    let stray = cluster.builder(3).peers(Peers::default()).single();
    nodes.push(dledger::server::serve(stray).await.unwrap());
    let incarnations = |nodes: &[Node]| -> Vec<_> {
        nodes.iter().map(|node| node.ledger(GROUP).unwrap().status().cluster_incarnation).collect()
    };
    for node in &nodes {
        members(&node.ledger(GROUP).unwrap()).await;
    }
    let known = incarnations(&nodes);
    assert!(known[0].is_some() && known[..3].iter().all(|of| *of == known[0]), "{known:?}");
    assert!(known[3].is_some() && known[3] != known[0], "{known:?}");
    for _ in 0..5 {
        let client = dledger::Client::builder(cluster.peers.clone(), GROUP.parse().unwrap()).build();
        let error = patient(client.append("x")).await.unwrap_err();
        let said = error.to_string();
        let named = [known[0].unwrap().to_string(), known[3].unwrap().to_string(), cluster.address(3).to_owned()];
        assert!(named.iter().all(|name| said.contains(name)), "{named:?} are not in {said:?}");
    }
    for node in &nodes {
        assert_eq!(node.ledger(GROUP).unwrap().status().end, 0);
        node.shutdown().await;
    }
}

/// A node that nobody has told which cluster it is of.
fn untold(dir: &std::path::Path) -> NodeBuilder {
    Node::builder(NodeId::new(0), "127.0.0.1:0").group(GROUP.parse().unwrap()).data_dir(dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_of_no_cluster_is_refused_with_the_ways_named_and_forms_none() {
    let alone = Peers::new(vec![Peer { id: NodeId::new(0), address: "127.0.0.1:40911".into() }]).unwrap();
    for peers in [Peers::default(), alone] {
        let dir = tempfile::tempdir().unwrap();
        let refused = untold(dir.path()).peers(peers).start().await;
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        for way in ["--peers", "--join", "--single"] {
            assert!(said.contains(way), "{way} is not in {said:?}");
        }
        assert!(!dir.path().join(GROUP).exists(), "a directory was made");
    }
}
