//! What nodes must have in common to become one cluster, and what they need not.

use std::time::Duration;

use dledger::{AppendError, Config, Ledger, Node, NodeBuilder, NodeId, Peer, Peers};

use crate::common::{GROUP, kit, master_ledger, patient};

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
        let cluster = kit(3).down().unwrap();
        let two =
            Peers::new(cluster.peers().iter().filter(|peer| peer.id != NodeId::new(0)).cloned().collect()).unwrap();
        let builder = |n| cluster.node_builder(n).unwrap();
        // Both ask the node that comes last at about the same time.
        let (zero, one) = tokio::join!(builder(0).start(), builder(1).peers(two).start());
        let nodes = [zero.unwrap(), one.unwrap(), builder(2).start().await.unwrap()];
        // Ten rounds of asking: a node that could form a cluster has done so by then.
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
    let mut cluster = kit(3).down().unwrap();
    let mut turned: Vec<_> = cluster.peers().iter().cloned().collect();
    turned.reverse();
    let turned = Peers::new(turned).unwrap();
    cluster.restart(0).await.unwrap();
    cluster.restart_with(1, |builder| builder.peers(turned)).await.unwrap();
    cluster.restart(2).await.unwrap();
    for n in 0..3 {
        assert_eq!(members(&cluster.ledger(n).unwrap()).await.len(), 3);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_known_by_the_address_it_advertises() {
    let mut cluster = kit(3).down().unwrap();
    let listed: Vec<_> = cluster.peers().iter().map(|peer| peer.address.clone()).collect();
    let advertised = |n: usize| listed[n].replace("127.0.0.1", "localhost");
    for n in 0..2 {
        cluster.restart_with(n, |builder| builder.advertise(advertised(n))).await.unwrap();
    }
    cluster.restart(2).await.unwrap();
    let expected = [("n0", advertised(0)), ("n1", advertised(1)), ("n2", listed[2].clone())];
    let expected = expected.map(|(id, address)| (id.to_owned(), address));
    for n in 0..3 {
        assert_eq!(members(&cluster.ledger(n).unwrap()).await, expected);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_entries_larger_than_it_would_append_itself() {
    fn limit(config: &mut Config, bytes: usize) {
        (config.max_record_bytes, config.max_batch_bytes) = (bytes, bytes);
    }
    let builder = kit(3).segment_size(32 << 20).configure(|config| limit(config, 16 << 20));
    let mut cluster = builder.start().await.unwrap();
    let small = cluster.wait_for_slave().await.unwrap();
    cluster.stop(small).await.unwrap();
    let smaller = |builder: NodeBuilder| builder.configure(|config| limit(config, 64 << 10));
    cluster.restart_with(small, smaller).await.unwrap();
    let master = master_ledger(&cluster).await;
    assert_eq!(patient(master.append(vec![7; 12 << 20])).await.unwrap().index, 0);
    cluster.wait_committed_on(&[small], 1).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_peers_are_of_two_clusters_appends_to_neither_and_names_both() {
    let mut cluster = kit(3).spares(1).start().await.unwrap();
    // Somebody wanted it to join, and wrote something else.
    let stray = |builder: NodeBuilder| builder.single().configure(|config| config.join = false);
    cluster.restart_with(3, stray).await.unwrap();
    let mut known = Vec::new();
    for n in 0..4 {
        let ledger = cluster.ledger(n).unwrap();
        members(&ledger).await;
        known.push(ledger.status().cluster_incarnation);
    }
    assert!(known[0].is_some() && known[..3].iter().all(|of| *of == known[0]), "{known:?}");
    assert!(known[3].is_some() && known[3] != known[0], "{known:?}");
    for _ in 0..5 {
        let error = patient(cluster.client().append("x")).await.unwrap_err();
        let said = error.to_string();
        let address = cluster.address(3).unwrap().to_owned();
        let named = [known[0].unwrap().to_string(), known[3].unwrap().to_string(), address];
        assert!(named.iter().all(|name| said.contains(name)), "{named:?} are not in {said:?}");
    }
    for n in 0..4 {
        assert_eq!(cluster.ledger(n).unwrap().status().end, 0);
    }
    cluster.stop_all().await;
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
