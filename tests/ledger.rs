//! A ledger of one node and of three: append, get, read, tail, roles.

mod common;

use common::{Cluster, GROUP, fast, patient};
use dledger::{Node, NodeId, ReadError};
use futures::StreamExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_is_master_and_serves_what_it_acked() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::builder(NodeId::new(0), "127.0.0.1:0")
        .group(GROUP.parse().unwrap())
        .data_dir(dir.path())
        .start()
        .await
        .unwrap();
    let ledger = node.ledger(GROUP).unwrap();
    let ack = patient(ledger.append("hello")).await.unwrap();
    assert_eq!(ack.index, 0);
    let record = ledger.get(0).await.unwrap();
    assert_eq!((&record.body[..], record.position, record.term), (&b"hello"[..], ack.position, ack.term));
    let acks = patient(ledger.append_batch(["a", "bc", ""])).await.unwrap();
    assert_eq!(acks.iter().map(|ack| ack.index).collect::<Vec<_>>(), [1, 2, 3]);
    for ack in acks {
        assert_eq!(ledger.get(ack.index).await.unwrap().position, ack.position);
    }
    assert!(ledger.role().borrow().is_master());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_hold_every_record_at_its_index_and_position() {
    let cluster = Cluster::start_with(3, fast).await;
    let master = cluster.ledger(cluster.master().await);
    let appends = (0..2000).map(|n| {
        let master = master.clone();
        async move { (master.append(format!("record {n}")).await.unwrap(), format!("record {n}")) }
    });
    let acked: Vec<_> = patient(futures::stream::iter(appends).buffer_unordered(200).collect()).await;
    cluster.committed(2000).await;
    for n in 0..3 {
        let ledger = cluster.ledger(n);
        for (ack, body) in &acked {
            let record = ledger.get(ack.index).await.unwrap();
            assert_eq!((&record.body[..], record.position), (body.as_bytes(), ack.position));
        }
        assert_eq!(ledger.get(2000).await, Err(ReadError::NotYet { index: 2000, committed: 2000 }));
    }
}
