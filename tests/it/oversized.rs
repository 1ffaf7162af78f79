//! What is too large for a node to read, through a client.

use bytes::Bytes;
use dledger::{Client, ClientError, Node, NodeId};

const LIMIT: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_node_does_not_decode_is_refused_and_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let builder =
        Node::builder(NodeId::new(0), "127.0.0.1:0").single().group("g".parse().unwrap()).data_dir(dir.path());
    let builder = builder.segment_size(32 << 20);
    let builder = builder.configure(|config| (config.max_record_bytes, config.max_batch_bytes) = (LIMIT, LIMIT));
    let node = dledger::server::serve(builder).await.unwrap();
    let peers = format!("n0={}", node.local_addr()).parse().unwrap();
    let client = Client::builder(peers, "g".parse().unwrap()).build();
    for size in [2 * LIMIT + 1, 30 << 20] {
        let before = client.submit(vec![Bytes::from_static(b"before")]).await.unwrap();
        let large = client.submit(vec![Bytes::from(vec![0; size])]).await.unwrap();
        let after = client.submit(vec![Bytes::from_static(b"after")]).await.unwrap();
        let error = large.await.unwrap_err();
        assert!(matches!(error, ClientError::TooLarge { limit, .. } if limit == LIMIT as u64), "{error}");
        let (before, after) = (before.await.unwrap(), after.await.unwrap());
        assert_eq!(after.first_index, before.first_index + 1);
    }
    node.shutdown().await;
}
