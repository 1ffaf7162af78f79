//! The service over a node: what it bounds, and how its streams end.

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use crate::node::{Ledger, Node};
use crate::rpc::client_wire::{MAX_REQUEST_RECORDS, REQUEST_SLACK, from_status};
use crate::rpc::pb::ledger_service_client::LedgerServiceClient;
use crate::rpc::pb::{self, append_records_response::Result as Answered, failure::Code};
use crate::types::{NodeId, Role};

const LIMIT: usize = 1 << 20;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A node alone, with a small limit for batches, that is master.
async fn node() -> (TempDir, Node, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").group("g".parse().unwrap()).data_dir(dir.path());
    let builder =
        builder.configure(|c| (c.max_record_bytes, c.max_batch_bytes, c.segment_size) = (LIMIT, LIMIT, 32 << 20));
    let node = super::serve(builder).await.unwrap();
    let ledger = node.ledger("g").unwrap();
    ledger.role().wait_for(Role::is_master).await.unwrap();
    (dir, node, ledger)
}

async fn service(node: &Node) -> LedgerServiceClient<Channel> {
    LedgerServiceClient::connect(format!("http://{}", node.local_addr())).await.unwrap()
}

fn request(records: Vec<Bytes>) -> pb::AppendRecordsRequest {
    pb::AppendRecordsRequest { group: "g".into(), records, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_not_even_decoded() {
    let (_dir, node, _) = node().await;
    let mut service = service(&node).await;
    service.append(request(vec![vec![0; LIMIT].into()])).await.unwrap();
    let status = service.append(request(vec![vec![0; LIMIT + 1].into()])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let status = service.append(request(vec![vec![0; LIMIT + REQUEST_SLACK].into()])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_too_many_records_is_refused() {
    let (_dir, node, _) = node().await;
    let mut service = service(&node).await;
    service.append(request(vec![Bytes::new(); MAX_REQUEST_RECORDS])).await.unwrap();
    let status = service.append(request(vec![Bytes::new(); MAX_REQUEST_RECORDS + 1])).await.unwrap_err();
    let failure = from_status(&status).unwrap();
    assert_eq!((failure.code(), failure.limit), (Code::TooLarge, MAX_REQUEST_RECORDS as u64));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_streams_end_with_the_ledger_though_their_clients_stay() {
    let (_dir, node, ledger) = node().await;
    let mut service = service(&node).await;
    let (requests, outgoing) = tokio::sync::mpsc::unbounded_channel();
    let mut used = service.append_stream(UnboundedReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let mut unused = service.append_stream(futures::stream::pending()).await.unwrap().into_inner();
    requests.send(request(vec![Bytes::from_static(b"r")])).unwrap();
    assert!(matches!(used.message().await.unwrap().unwrap().result, Some(Answered::Appended(_))));
    // The server runs on: nothing but the ledger ends them.
    ledger.raft_group().stop().await;
    for stream in [&mut used, &mut unused] {
        let end = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(from_status(&end).unwrap().code(), Code::Closed, "{end}");
    }
    node.shutdown().await;
}
