//! What many clients, long streams and a missing quorum may cost: bounded, said by name, and nobody else's harm.

use std::time::Duration;

use dledger::{Client, ClientError, Node, NodeClient, NodeId, ReadLimit, Record, RecordStream};
use futures::StreamExt;
use tempfile::TempDir;

use crate::common::{GROUP, kit, master_ledger, patient};

/// More than enough for a call that nothing holds up, and short enough to see that something does.
const CALL: Duration = Duration::from_secs(15);

/// A node alone that clients can reach.
async fn node() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let builder =
        Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(GROUP.parse().unwrap()).data_dir(dir.path());
    let builder = builder.configure(|config| config.durability = dledger::Durability::Interval(CALL));
    (dir, dledger::server::serve(builder).await.unwrap())
}

fn client(node: &Node) -> (Client, NodeClient) {
    let peers = format!("n0={}", node.local_addr()).parse().unwrap();
    let client = Client::builder(peers, GROUP.parse().unwrap()).timeout(CALL).build();
    let node = client.node(&NodeId::new(0)).unwrap();
    (client, node)
}

/// 16 MiB in the log: more than any window that a stream could have.
async fn filled(client: &Client) -> u64 {
    for _ in 0..16 {
        client.append(vec![7; 1 << 20]).await.unwrap();
    }
    16
}

async fn next(records: &mut RecordStream) -> Record {
    patient(records.next()).await.unwrap().unwrap()
}

/// Every kind of call ends as if nobody else were there.
async fn serves(client: &Client, one: &NodeClient, first: u64) {
    one.status().await.unwrap();
    assert_eq!(one.get(first).await.unwrap().index, first);
    assert_eq!(client.get(first).await.unwrap().index, first);
    assert_eq!(one.index_at(0, dledger::Consistency::Local).await.unwrap(), 0);
    assert_eq!(client.read(first.., ReadLimit { records: 1, bytes: 1 }).await.unwrap().len(), 1);
    assert_eq!(one.members().await.unwrap().len(), 1);
    client.append("one more").await.unwrap();
    assert_eq!(next(&mut client.tail(first)).await.index, first);
    assert_eq!(next(&mut one.tail(first).await.unwrap()).await.index, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_read_hold_up_no_other_call() {
    let (_dir, node) = node().await;
    let (client, one) = client(&node);
    filled(&client).await;
    let unlimited = ReadLimit { records: usize::MAX, bytes: usize::MAX };
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(one.tail(0).await.unwrap());
        unread.push(one.read_stream(0.., unlimited).await.unwrap());
        unread.push(client.tail(0));
    }
    for stream in &mut unread {
        // From here on it has all that its window takes, and nobody asks for more.
        assert_eq!(next(stream).await.index, 0);
    }
    serves(&client, &one, 3).await;
    // What was left is not lost: the streams go on.
    for stream in &mut unread {
        assert_eq!(next(stream).await.index, 1);
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_a_connection_takes_are_served_and_do_not_end_for_others() {
    let (_dir, node) = node().await;
    let (client, one) = client(&node);
    client.append("first").await.unwrap();
    let mut tails = Vec::new();
    // A connection takes 1024.
    for _ in 0..1030 {
        tails.push(patient(one.tail(0)).await.unwrap());
    }
    for tail in &mut tails {
        assert_eq!(next(tail).await.index, 0);
    }
    serves(&client, &one, 0).await;
    for tail in &mut tails {
        assert_eq!(next(tail).await.body, "one more");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_dropped_end_nobodys_connection() {
    let (_dir, node) = node().await;
    let (client, one) = client(&node);
    let end = filled(&client).await;
    let unlimited = ReadLimit { records: usize::MAX, bytes: usize::MAX };
    let mut kept = one.tail(0).await.unwrap();
    for round in 0..300 {
        // Dropped while records are on their way.
        drop(one.tail(round % 10).await.unwrap());
        drop(one.read_stream(round % 10.., unlimited).await.unwrap());
    }
    serves(&client, &one, 3).await;
    for index in 0..end {
        assert_eq!(next(&mut kept).await.index, index, "the stream of a node client breaks where its connection does");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_all_at_once_end_nobodys_connection() {
    let (_dir, node) = node().await;
    let (client, one) = client(&node);
    client.append("first").await.unwrap();
    let mut kept = one.tail(0).await.unwrap();
    for _ in 0..20 {
        let mut calls: Vec<_> = (0..100).map(|_| Box::pin(one.tail(0))).collect();
        // The client sends each and waits for none.
        for call in &mut calls {
            let _ = futures::poll!(call.as_mut());
        }
        drop(calls);
    }
    serves(&client, &one, 0).await;
    assert_eq!(next(&mut kept).await.body, "first");
    assert_eq!(next(&mut kept).await.body, "one more");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_all_their_places_harm_no_node_and_the_next_is_told_what_to_raise() {
    let mut cluster = kit(3).configure(|config| config.max_connections = 8).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    let peers = cluster.peers().clone();
    let builder = cluster.client_builder().timeout(Duration::from_secs(2));
    let client = || builder.clone().build();
    let mut seated = Vec::new();
    for _ in 0..8 {
        let client = client();
        for peer in peers.iter() {
            patient(client.status(&peer.id)).await.unwrap();
        }
        seated.push(client);
    }
    let late = client();
    let told = [late.status(&NodeId::new(0)).await.unwrap_err(), late.append("no place").await.unwrap_err()];
    for error in told {
        assert!(matches!(&error, ClientError::Busy { message } if message.contains("--max-connections")), "{error}");
    }
    // A full node still answers that it lives.
    let probe = |live: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dledger"));
        command.args(["health", "--group", GROUP, "--id", "n0", "--bind", cluster.address(0).unwrap()]).args(live);
        command.output().unwrap().status.code()
    };
    assert_eq!((probe(&["--live"]), probe(&["--live", "--json"]), probe(&[])), (Some(0), Some(0), Some(1)));
    // Nodes come and go all the same: one restarts, and then the master does.
    for restarted in [cluster.wait_for_slave().await.unwrap(), cluster.wait_for_master().await.unwrap()] {
        cluster.stop(restarted).await.unwrap();
        cluster.restart(restarted).await.unwrap();
        let master = master_ledger(&cluster).await;
        patient(master.append("from within")).await.unwrap();
    }
    cluster.wait_committed(2).await.unwrap();
    // Clients that leave make room.
    drop(seated);
    patient(async { while late.append("now").await.is_err() {} }).await;
    cluster.stop_all().await;
}
