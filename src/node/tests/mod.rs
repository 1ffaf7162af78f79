//! Whole nodes, with what only the inside can bring about: a purge, a transfer of the leadership, a disk that hangs.
//!
//! | file | what it tests |
//! |---|---|
//! | `mod` | purges and transfers; nodes for the other files |
//! | `disk_watch` | a disk that hangs is reported |
//! | `idle` | what has nothing to do uses no processor time |
//! | `many_ledgers` | what many ledgers of one node share |
//! | `opening` | opening a ledger blocks no runtime |

mod disk_watch;
mod idle;
mod many_ledgers;
mod opening;

use std::time::Duration;

use futures::StreamExt;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::config::Durability;
use crate::error::ReadError;
use crate::node::{Ledger, Node};
use crate::types::{NodeId, Peer, Peers, ReadLimit, Role};

struct Three {
    dir: TempDir,
    peers: Peers,
    _ports: Vec<TcpSocket>,
}

/// `count` peers at ports that the system gives to nobody else as long as the sockets are held, as those of the test
/// kit.
pub(super) fn peers(count: u64) -> (Peers, Vec<TcpSocket>) {
    let bound = (0..count).map(|n| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (Peer { id: NodeId::new(n), address: socket.local_addr().unwrap().to_string() }, socket)
    });
    let (peers, held) = bound.unzip();
    (Peers::new(peers).unwrap(), held)
}

impl Three {
    fn new() -> Self {
        let (peers, ports) = peers(3);
        Self { dir: tempfile::tempdir().unwrap(), peers, _ports: ports }
    }

    async fn up(&self, n: u64) -> Node {
        let id = NodeId::new(n);
        let address = self.peers.get(&id).unwrap().address.clone();
        Node::builder(id.clone(), address)
            .group("g".parse().unwrap())
            .peers(self.peers.clone())
            .data_dir(self.dir.path().join(id.as_str()))
            .durability(Durability::Interval(Duration::from_millis(10)))
            .segment_size(1 << 20)
            .configure(|config| (config.max_record_bytes, config.max_batch_bytes) = (256 << 10, 512 << 10))
            .start()
            .await
            .unwrap()
    }
}

/// A node alone that is master.
pub(super) async fn alone() -> (TempDir, Node, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let builder =
        Node::builder(NodeId::new(0), "127.0.0.1:0").single().group("g".parse().unwrap()).data_dir(dir.path());
    let node = builder.durability(Durability::Interval(Duration::from_millis(10))).start().await.unwrap();
    let ledger = ledger(&node);
    ledger.role().wait_for(Role::is_master).await.unwrap();
    (dir, node, ledger)
}

async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it never happened")
}

fn ledger(node: &Node) -> Ledger {
    node.ledger("g").unwrap()
}

async fn master(nodes: &[&Node]) -> usize {
    let waits = nodes.iter().enumerate().map(|(at, node)| {
        let mut role = ledger(node).role();
        Box::pin(async move {
            role.wait_for(Role::is_master).await.unwrap();
            at
        })
    });
    patient(futures::future::select_all(waits)).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_behind_the_first_entry_begins_where_the_master_does() {
    let three = Three::new();
    let nodes = [three.up(0).await, three.up(1).await, three.up(2).await];
    let all: Vec<_> = nodes.iter().collect();
    let at = master(&all).await;
    let late = (at + 1) % 3;
    patient(ledger(&nodes[at]).append("before")).await.unwrap();
    nodes[late].shutdown().await;
    for n in 0..20_u8 {
        patient(ledger(&nodes[at]).append(vec![n; 100 << 10])).await.unwrap();
    }
    patient(ledger(&nodes[at]).replica().raft.purge_all()).await.unwrap();
    assert_eq!(ledger(&nodes[at]).get(3).await, Err(ReadError::Removed { index: 3, first: 21 }));

    let returned = three.up(late as u64).await;
    for n in 21..40_u64 {
        assert_eq!(patient(ledger(&nodes[at]).append(n.to_string())).await.unwrap().index, n);
    }
    let mut tail = ledger(&returned).tail(39);
    assert_eq!(patient(tail.next()).await.unwrap().unwrap().body, "39");
    assert_eq!(ledger(&returned).get(0).await, Err(ReadError::Removed { index: 0, first: 21 }));
    let read = |node: &Node| {
        let ledger = ledger(node);
        async move { ledger.read(.., ReadLimit::bytes(usize::MAX)).await.unwrap() }
    };
    // Index, position, term, time and bytes of every record.
    assert_eq!(read(&returned).await, read(&nodes[at]).await);
    returned.shutdown().await;
    let again = three.up(late as u64).await;
    assert_eq!(ledger(&again).status().first, 21);
    for node in nodes.iter().chain([&again]) {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_goes_to_the_node_it_is_given_to() {
    let three = Three::new();
    let nodes = [three.up(0).await, three.up(1).await, three.up(2).await];
    let all: Vec<_> = nodes.iter().collect();
    let at = master(&all).await;
    patient(ledger(&nodes[at]).append("a")).await.unwrap();
    let next = (at + 1) % 3;
    patient(ledger(&nodes[at]).replica().raft.transfer(NodeId::new(next as u64))).await.unwrap();
    let mut role = ledger(&nodes[next]).role();
    patient(role.wait_for(Role::is_master)).await.unwrap();
    assert_eq!(patient(ledger(&nodes[next]).append("b")).await.unwrap().index, 1);
    let mut old = ledger(&nodes[at]).role();
    patient(old.wait_for(|role| matches!(role, Role::Slave { .. }))).await.unwrap();
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_retention_overtakes_is_told_where_to_go_on() {
    let (_dir, node, ledger) = alone().await;
    for n in 0..20_u8 {
        patient(ledger.append(vec![n; 100 << 10])).await.unwrap();
    }
    let mut slow = ledger.tail(0);
    assert_eq!(patient(slow.next()).await.unwrap().unwrap().index, 0);
    patient(ledger.replica().raft.purge_all()).await.unwrap();
    patient(ledger.append("after")).await.unwrap();
    // What it had read ahead it still has.
    let mut last = 0;
    let end = loop {
        match patient(slow.next()).await.unwrap() {
            Ok(record) => {
                assert_eq!((record.index, record.body.len()), (last + 1, 100 << 10));
                last += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(last < 5, "it read ahead as far as {last}");
    let ReadError::Removed { index, first } = end else { panic!("{end}") };
    assert_eq!((index, first), (last + 1, 20));
    assert!(slow.next().await.is_none());
    assert_eq!(patient(ledger.tail(first).next()).await.unwrap().unwrap().body, "after");
    let gone = ledger.read_stream(0..1, ReadLimit::default()).next().await.unwrap();
    assert_eq!(gone, Err(ReadError::Removed { index: 0, first: 20 }));
    node.shutdown().await;
}
