//! A ledger of one node and of three: append, get, read, tail, roles.

use std::time::Duration;

use dledger::{AppendError, Node, NodeId, ReadError};
use futures::StreamExt;

use crate::common::{GROUP, kit, patient};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_is_master_and_serves_what_it_acked() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::builder(NodeId::new(0), "127.0.0.1:0")
        .single()
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
    let cluster = kit(3).start().await.unwrap();
    let master = cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap();
    let appends = (0..2000).map(|n| {
        let master = master.clone();
        async move { (master.append(format!("record {n}")).await.unwrap(), format!("record {n}")) }
    });
    let acked: Vec<_> = patient(futures::stream::iter(appends).buffer_unordered(200).collect()).await;
    cluster.wait_committed(2000).await.unwrap();
    for n in 0..3 {
        let ledger = cluster.ledger(n).unwrap();
        for (ack, body) in &acked {
            let record = ledger.get(ack.index).await.unwrap();
            assert_eq!((&record.body[..], record.position), (body.as_bytes(), ack.position));
        }
        assert_eq!(ledger.get(2000).await, Err(ReadError::NotYet { index: 2000, committed: 2000 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_with_an_endless_timeout_harms_nobody() {
    let cluster = kit(1).start().await.unwrap();
    let ledger = cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap();
    let endless = ledger.submit(vec!["a".into()], Some(Duration::MAX)).await.unwrap();
    assert_eq!(patient(endless).await.unwrap().first_index, 0);
    assert_eq!(patient(ledger.append("b")).await.unwrap().index, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_a_quorum_stops_saying_that_it_is_one_and_says_it_again() {
    let mut cluster = kit(3).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    patient(cluster.ledger(master).unwrap().append("a")).await.unwrap();
    let others: Vec<usize> = (0..3).filter(|n| *n != master).collect();
    for n in &others {
        cluster.stop(*n).await.unwrap();
    }
    let mut role = cluster.ledger(master).unwrap().role();
    patient(role.wait_for(|role| !role.is_master())).await.unwrap();
    cluster.restart(others[0]).await.unwrap();
    cluster.wait_for_master().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_ends_within_its_timeout_even_when_others_hold_the_budget() {
    let builder = kit(3).configure(|config| {
        config.max_inflight_bytes = 1 << 20;
        config.append_timeout = Duration::from_secs(3600);
    });
    let mut cluster = builder.start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    let ledger = cluster.ledger(master).unwrap();
    for n in (0..3).filter(|n| *n != master) {
        cluster.stop(n).await.unwrap();
    }
    let mut held = Vec::new();
    while let Ok(pending) = ledger.try_submit(vec![vec![0; 200 << 10].into()]) {
        held.push(pending);
    }
    let short = Some(Duration::from_millis(300));
    let error = patient(ledger.submit(vec![vec![1; 200 << 10].into()], short)).await.unwrap_err();
    assert_eq!(error, AppendError::Busy { inflight_limit: 1 << 20 });
}
