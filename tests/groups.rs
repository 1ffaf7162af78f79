//! Two ledgers in one process: one port, one set of connections, nothing shared but that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use common::{Cluster, PATIENCE, bodies, committed, fast, patient};
use dledger::{Node, Role};

#[tokio::test(flavor = "multi_thread")]
async fn two_ledgers_in_one_process_know_nothing_of_each_other() {
    let cluster = Cluster::down(3, fast);
    let mut nodes = Vec::new();
    for n in 0..3 {
        let builder = cluster.builder(n).group("orders".parse().unwrap()).group("payments".parse().unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    for group in ["orders", "payments"] {
        let ledger = master(&nodes, group).await;
        for n in 0..20 {
            assert_eq!(patient(ledger.append(format!("{group} {n}"))).await.unwrap().index, n);
        }
    }
    for node in &nodes {
        for group in ["orders", "payments"] {
            let ledger = node.ledger(group).unwrap();
            committed(&ledger, 20).await;
            let expected: Vec<_> = (0..20).map(|n| format!("{group} {n}")).collect();
            assert_eq!(bodies(&ledger).await, expected);
        }
    }
    let error = nodes[0].ledger("refunds").unwrap_err();
    assert_eq!(error.to_string(), "unknown group refunds: this node hosts g, orders, payments");
    for node in nodes {
        tokio::time::timeout(PATIENCE, node.shutdown()).await.unwrap();
    }
}

async fn master(nodes: &[Node], group: &str) -> dledger::Ledger {
    let waits = nodes.iter().map(|node| {
        let ledger = node.ledger(group).unwrap();
        Box::pin(async move {
            ledger.role().wait_for(Role::is_master).await.unwrap();
            ledger
        })
    });
    patient(futures::future::select_all(waits)).await.0
}
