//! The kit does what it says: to nodes, and to what is between them.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::{Cluster, KitError};
use crate::config::Durability;
use crate::node::NodeBuilder;
use crate::types::{NodeId, ReadLimit, Role};

/// In one process the fast is fast enough, and a busy machine is slow.
fn builder(nodes: usize) -> super::ClusterBuilder {
    Cluster::builder(nodes).durability(Durability::Interval(Duration::from_millis(20)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_cut_off_is_followed_by_nobody_and_comes_back_as_a_slave() {
    let mut cluster = builder(3).start().await.unwrap();
    let first = cluster.wait_for_master().await.unwrap();
    assert_eq!(cluster.ledger(first).unwrap().append("a").await.unwrap().index, 0);
    cluster.partition(&[first]).unwrap();
    let second = cluster.wait_for_master().await.unwrap();
    assert_ne!(first, second, "one that is cut off does not count");
    assert_eq!(cluster.ledger(second).unwrap().append("b").await.unwrap().index, 1);
    // Its lease is over, and it knows: what it is asked for now is not acknowledged.
    let alone = cluster.ledger(first).unwrap();
    alone.role().wait_for(|role| !role.is_master()).await.unwrap();
    assert_eq!(alone.status().committed, 1);
    let refused = alone.submit(vec!["c".into()], Some(Duration::from_millis(100))).await.unwrap().await;
    assert!(refused.is_err(), "{refused:?}");
    cluster.heal();
    cluster.wait_committed(2).await.unwrap();
    alone.role().wait_for(|role| matches!(role, Role::Slave { .. })).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_kill_of_all() {
    let mut cluster = builder(3).group("orders".parse().unwrap()).group("payments".parse().unwrap());
    cluster = cluster.heartbeat(Duration::from_millis(50));
    let mut cluster = cluster.start().await.unwrap();
    for n in 0..20_u64 {
        assert_eq!(cluster.client().append(vec![n as u8; 100 << 10]).await.unwrap().index, n);
    }
    cluster.wait_committed(20).await.unwrap();
    let master = cluster.wait_for_master_of("payments").await.unwrap();
    {
        let mut paid = pin!(cluster.wait_committed_of("payments", 1));
        assert!(futures::poll!(paid.as_mut()).is_pending(), "those of another ledger do not count");
        cluster.ledger_of(master, "payments").unwrap().append("paid").await.unwrap();
        paid.await.unwrap();
    }
    for n in 0..3 {
        cluster.kill(n).await.unwrap();
        assert!(matches!(cluster.ledger(n), Err(KitError::Down { node }) if node == n));
    }
    for n in 0..3 {
        cluster.restart(n).await.unwrap();
    }
    cluster.wait_for_master().await.unwrap();
    cluster.wait_committed(20).await.unwrap();
    cluster.wait_committed_of("payments", 1).await.unwrap();
    assert_eq!(cluster.ledger_of(0, "payments").unwrap().get(0).await.unwrap().body, "paid");
    let records = cluster.ledger(1).unwrap().read(.., ReadLimit::bytes(usize::MAX)).await.unwrap();
    assert_eq!(records.len(), 20);
    let files = std::fs::read_dir(cluster.dir(1).join("orders")).unwrap();
    let segments = files.filter(|file| file.as_ref().unwrap().file_name().len() == 20).count();
    assert!(segments > 1, "segments are small enough to roll");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_is_taken_in() {
    let mut cluster = builder(1).spares(1).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    assert_eq!(cluster.running(), [0]);
    cluster.restart(1).await.unwrap();
    let ledger = cluster.ledger(master).unwrap();
    let added = ledger.add_learner(cluster.address(1).unwrap()).await.unwrap();
    assert_eq!(added.id.as_str(), "n1");
    ledger.append("a").await.unwrap();
    cluster.wait_committed(1).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_keeps_its_port_and_nobody_listens_there() {
    let mut cluster = builder(1).start().await.unwrap();
    cluster.stop(0).await.unwrap();
    let port = cluster.address(0).unwrap().parse().unwrap();
    assert_eq!(TcpStream::connect(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Without an address to be reused it asks as the system does when it looks for a port that nobody has.
    let other = TcpSocket::new_v4().unwrap();
    assert_eq!(other.bind(port).unwrap_err().kind(), ErrorKind::AddrInUse);
    cluster.restart(0).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_started_otherwise_and_is_cut_off_where_it_has_moved_to() {
    let mut cluster = builder(3).spares(1).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    let (moving, elsewhere) = ((master + 1) % 3, cluster.address(3).unwrap().to_owned());
    cluster.stop(moving).await.unwrap();
    let moved = |builder: NodeBuilder| {
        let builder = builder.durability(Durability::Sync).advertise(&elsewhere);
        builder.configure(|config| config.bind.clone_from(&elsewhere))
    };
    cluster.restart_with(moving, moved).await.unwrap();
    assert_eq!(cluster.address(moving).unwrap(), elsewhere);
    let ledger = cluster.ledger(moving).unwrap();
    assert_eq!(ledger.status().durability.as_deref(), Some("sync"));
    let id = NodeId::new(moving as u64);
    cluster.ledger(master).unwrap().move_member(&id, &elsewhere).await.unwrap();
    cluster.wait_for_master().await.unwrap();
    ledger.role().wait_for(|role| matches!(role, Role::Slave { .. })).await.unwrap();
    cluster.partition(&[moving]).unwrap();
    ledger.role().wait_for(|role| matches!(role, Role::Electing { .. })).await.unwrap();
    cluster.heal();
    // It stays where it is.
    cluster.stop(moving).await.unwrap();
    cluster.restart(moving).await.unwrap();
    assert_eq!(cluster.node(moving).unwrap().local_addr().to_string(), elsewhere);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told() {
    let mut cluster = builder(3).patience(Duration::from_millis(50)).down().unwrap();
    assert!(matches!(cluster.kill(0).await, Err(KitError::Down { node: 0 })));
    assert!(matches!(cluster.restart(3).await, Err(KitError::NoSuchNode { node: 3, nodes: 3 })));
    assert!(matches!(cluster.partition(&[7]), Err(KitError::NoSuchNode { node: 7, .. })));
    cluster.restart(0).await.unwrap();
    assert!(matches!(cluster.restart(0).await, Err(KitError::Running { node: 0 })));
    let late = cluster.wait_for_master().await.unwrap_err().to_string();
    assert!(late.contains("a master of test did not come") && late.contains("n0: test electing"), "{late}");
    assert!(late.contains("n1 is down"), "{late}");
    cluster.stop_all().await;
}
