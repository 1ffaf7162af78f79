//! What the program that embeds a node sees of its end: a clean stop, a drop, a runtime that is gone, a kill.

use std::time::Duration;

use dledger::testkit::Cluster;
use dledger::{AppendError, Durability, Ledger, LedgerFiles, Node, OpenError, ReadError, Role, StartError};
use futures::{FutureExt, StreamExt};

use crate::common::{GROUP, bodies, kit, master_ledger, patient};

/// A cluster of one that is its own master.
async fn alone() -> (Cluster, Node, Ledger) {
    let cluster = kit(1).down().unwrap();
    let node = cluster.node_builder(0).unwrap().start().await.unwrap();
    let ledger = master(&node).await;
    (cluster, node, ledger)
}

async fn master(node: &Node) -> Ledger {
    let ledger = node.ledger(GROUP).unwrap();
    patient(ledger.role().wait_for(Role::is_master)).await.unwrap();
    ledger
}

/// Starts the first node, as soon as the process that had its port has released it.
async fn started_again(cluster: &Cluster) -> Node {
    patient(async {
        loop {
            match dledger::server::serve(cluster.node_builder(0).unwrap()).await {
                Err(StartError::Bind { .. }) => tokio::task::yield_now().await,
                started => break started.unwrap(),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_stopped_has_not_failed_and_a_tail_of_it_ends() {
    let (_cluster, node, ledger) = alone().await;
    let other = node.create_ledger("other".parse().unwrap()).await.unwrap();
    patient(other.role().wait_for(Role::is_master)).await.unwrap();
    let (mut tail, mut tail_of_other) = (ledger.tail(0), other.tail(0));
    patient(ledger.append("a")).await.unwrap();
    patient(other.append("b")).await.unwrap();

    patient(node.remove_ledger("other", LedgerFiles::Keep)).await.unwrap();
    assert_eq!(*other.role().borrow(), Role::Stopped);
    assert_eq!(patient(tail_of_other.next()).await.unwrap().unwrap().body, "b");
    assert_eq!(patient(tail_of_other.next()).await, None);
    assert!(ledger.role().borrow().is_master());

    patient(node.shutdown()).await;
    assert_eq!(*ledger.role().borrow(), Role::Stopped);
    // All that was committed comes first.
    assert_eq!(patient(tail.next()).await.unwrap().unwrap().body, "a");
    assert_eq!(patient(tail.next()).await, None);
    // A call that cannot be served is refused all the same.
    let AppendError::Closed { reason } = patient(ledger.append("b")).await.unwrap_err() else { panic!("appended") };
    assert_eq!(reason, "it was stopped: the node was shut down, or hosts it no more");
    assert_eq!(ledger.get(0).await, Err(ReadError::Closed { reason: reason.clone() }));
    assert_eq!(patient(node.closed()).await, [(GROUP.parse().unwrap(), reason)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_when_the_last_handle_of_it_is_dropped() {
    let cluster = kit(1).down().unwrap();
    // With the service for clients, which must not keep it either.
    let node = dledger::server::serve(cluster.node_builder(0).unwrap()).await.unwrap();
    let ledger = master(&node).await;
    patient(ledger.append("kept")).await.unwrap();
    let other = node.clone();
    drop(node);
    patient(ledger.append("too")).await.unwrap();
    drop(other);
    let mut role = ledger.role();
    assert_eq!(*patient(role.wait_for(Role::is_final)).await.unwrap(), Role::Stopped);
    // The port and the directory become free, although the ledger is still held.
    let again = started_again(&cluster).await;
    assert_eq!(bodies(&master(&again).await).await, ["kept", "too"]);
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_was_given_up_goes_on_when_the_last_handle_is_dropped() {
    let (cluster, node, ledger) = alone().await;
    patient(ledger.append("kept")).await.unwrap();
    // Polled once: it has begun.
    assert_eq!(node.shutdown().now_or_never(), None);
    drop(node);
    let mut role = ledger.role();
    assert_eq!(*patient(role.wait_for(Role::is_final)).await.unwrap(), Role::Stopped);
    let again = started_again(&cluster).await;
    assert_eq!(bodies(&master(&again).await).await, ["kept"]);
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_this_very_process_has_open_is_refused_with_that_reason() {
    let (cluster, node, _ledger) = alone().await;
    let twice = cluster.node_builder(0).unwrap().configure(|config| {
        config.lock_wait = Duration::ZERO;
    });
    let error = patient(twice.start()).await.unwrap_err();
    let StartError::Open(OpenError::Locked { pid, .. }) = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    let expected = "in use by this process (a Node of it still runs, or was not shut down)";
    assert!(error.to_string().contains(expected), "{error}");
    node.shutdown().await;
}

#[test]
fn nobody_is_master_in_a_runtime_that_is_gone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (cluster, node, ledger) = runtime.block_on(alone());
    let mut tail = ledger.tail(0);
    runtime.block_on(ledger.append("a")).unwrap();
    drop(runtime);

    assert_eq!(*ledger.role().borrow(), Role::Stopped);
    assert_eq!(ledger.status().role, Role::Stopped);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(patient(async {
        assert_eq!(tail.next().await.unwrap().unwrap().body, "a");
        assert_eq!(tail.next().await, None);
        assert!(matches!(ledger.append("b").await, Err(AppendError::Closed { .. })));
        assert!(matches!(ledger.get(0).await, Err(ReadError::Closed { .. })));
        // Dropping the last handles of the old node frees the directory.
        drop((tail, ledger, node));
        let node = cluster.node_builder(0).unwrap().start().await.unwrap();
        assert_eq!(bodies(&master(&node).await).await, ["a"]);
        node.shutdown().await;
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_aborted_syncs_nothing_more_and_can_be_started_again_at_once() {
    let cluster = kit(1).durability(Durability::Interval(Duration::from_secs(60))).down().unwrap();
    let node = dledger::server::serve(cluster.node_builder(0).unwrap()).await.unwrap();
    let ledger = master(&node).await;
    patient(ledger.append("written")).await.unwrap();
    let durable = ledger.status().durable;
    assert_eq!(durable, 0);
    patient(node.abort()).await;
    assert_eq!((ledger.status().role, ledger.status().durable), (Role::Stopped, durable));
    // Port and directory are free, though the program still holds parts of the node.
    let now = cluster.node_builder(0).unwrap().configure(|config| config.lock_wait = Duration::ZERO);
    let again = dledger::server::serve(now).await.unwrap();
    assert_eq!(bodies(&master(&again).await).await, ["written"]);
    // Nothing is left to be done.
    patient(node.abort()).await;
    patient(node.shutdown()).await;
    again.shutdown().await;
    assert_eq!(again.ledger(GROUP).unwrap().status().durable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_without_a_master_that_is_aborted_and_it_comes_back() {
    let mut cluster = kit(3).start().await.unwrap();
    let first = cluster.wait_for_master().await.unwrap();
    patient(cluster.ledger(first).unwrap().append("before")).await.unwrap();
    cluster.kill(first).await.unwrap();
    patient(master_ledger(&cluster).await.append("after")).await.unwrap();
    cluster.restart(first).await.unwrap();
    cluster.wait_committed_on(&[first], 2).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(first).unwrap()).await, ["before", "after"]);
    cluster.stop_all().await;
}
