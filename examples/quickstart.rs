//! A ledger of one node, embedded in this process: append, get, read, tail.

use dledger::{Node, NodeId, ReadLimit};
use futures::{StreamExt, TryStreamExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group("RaftNode00".parse()?);
    let node = builder.data_dir(dir.path()).start().await?;
    let ledger = node.ledger("RaftNode00")?;

    let ack = ledger.append("hello").await?; // committed, and fsynced on a quorum
    let acks = ledger.append_batch(["a", "b"]).await?; // all of them or none
    println!("appended at index {}, then {} and {}", ack.index, acks[0].index, acks[1].index);

    let record = ledger.get(ack.index).await?;
    println!("get {} at position {}: {:?}", record.index, record.position, record.body);
    let records = ledger.read(1.., ReadLimit::default()).await?;
    println!("read from 1 on: {} records", records.len());
    let tailed: Vec<_> = ledger.tail(0).take(3).try_collect().await?; // would wait for more
    println!("tail from 0: {:?}", tailed.iter().map(|record| &record.body).collect::<Vec<_>>());

    println!("this node is the {}", ledger.role().borrow().name());
    node.shutdown().await;
    Ok(())
}
