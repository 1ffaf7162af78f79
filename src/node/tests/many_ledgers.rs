//! What many ledgers of one node share.

use std::time::Duration;

use futures::future::join_all;

use super::peers;
use crate::config::{Config, MIN_SEGMENT_SIZE};
use crate::node::Node;
use crate::types::{NodeId, Role};

const GROUPS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn the_ledgers_of_a_node_share_its_connections_and_their_heartbeats_travel_together() {
    let (dir, (peers, _ports)) = (tempfile::tempdir().unwrap(), peers(3));
    let config = |n: u64| Config {
        peers: peers.clone(),
        groups: (0..GROUPS).map(|group| format!("g{group}").parse().unwrap()).collect(),
        data_dir: dir.path().join(format!("n{n}")),
        segment_size: MIN_SEGMENT_SIZE,
        max_record_bytes: 1 << 10,
        max_batch_bytes: 2 << 10,
        ..Config::new(NodeId::new(n), peers.get(&NodeId::new(n)).unwrap().address.clone())
    };
    let start = |n| crate::node::NodeBuilder::from_config(config(n)).start();
    let nodes: Vec<Node> = join_all((0..3).map(start)).await.into_iter().map(Result::unwrap).collect();
    for node in &nodes {
        for ledger in node.ledgers() {
            let known = |role: &Role| matches!(role, Role::Master { .. } | Role::Slave { .. });
            let mut role = ledger.role();
            tokio::time::timeout(Duration::from_secs(60), role.wait_for(known)).await.expect("no master").unwrap();
        }
    }
    let counts = || nodes.iter().map(|node| node.router().heartbeats()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let before = counts();
    let wanted = 20 * 2 * GROUPS as u64;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let (calls, beats) = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            looks.tick().await;
            let now = counts();
            if now.1 - before.1 >= wanted {
                break (now.0 - before.0, now.1 - before.1);
            }
        }
    })
    .await
    .expect("no heartbeats");
    println!("{GROUPS} ledgers on 3 nodes: {beats} heartbeats in {calls} calls");
    // Three nodes lead, each beats to two peers; every round would be a call per ledger and peer. On a busy machine a
    // round may fall apart.
    assert!(calls * 3 <= beats, "{beats} heartbeats in {calls} calls");
    // Three lanes from each of the two others, however many ledgers. On a busy machine some were given up for others
    // meanwhile, and are closed soon.
    let shared = async {
        while nodes.iter().any(|node| node.connections() > 6) {
            looks.tick().await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), shared).await;
    assert!(settled.is_ok(), "{:?} connections", nodes.iter().map(Node::connections).collect::<Vec<_>>());
    for node in &nodes {
        node.shutdown().await;
    }
}
