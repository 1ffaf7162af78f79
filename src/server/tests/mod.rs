//! The service over a node: what it bounds, and how its streams end.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use crate::node::{Ledger, Node};
use crate::types::{NodeId, Role};
use crate::wire::client::{MAX_REQUEST_RECORDS, REQUEST_SLACK, TIMEOUT_HEADER, from_status};
use crate::wire::pb::ledger_service_client::LedgerServiceClient;
use crate::wire::pb::{self, append_records_response::Result as Answered, failure::Code};

const LIMIT: usize = 1 << 20;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A node alone, with a small limit for batches, that is master.
async fn node() -> (TempDir, Node, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let builder =
        Node::builder(NodeId::new(0), "127.0.0.1:0").single().group("g".parse().unwrap()).data_dir(dir.path());
    let builder =
        builder.configure(|c| (c.max_record_bytes, c.max_batch_bytes, c.segment_size) = (LIMIT, LIMIT, 32 << 20));
    let node = crate::server::serve(builder).await.unwrap();
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
    let failure = from_status(&status).unwrap();
    assert_eq!((failure.code(), failure.found, failure.limit), (Code::TooLarge, 0, LIMIT as u64));
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
    ledger.replica().raft.shutdown().await;
    for stream in [&mut used, &mut unused] {
        let end = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(from_status(&end).unwrap().code(), Code::Closed, "{end}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_tail_that_is_not_read_costs_a_bounded_buffer_and_meets_retention_by_name() {
    let (_dir, node, ledger) = node().await;
    let size = LIMIT / 4;
    for n in 0..120_u8 {
        ledger.append(vec![n; size]).await.unwrap();
    }
    let mut slow = service(&node).await;
    let mut tail = slow.tail(pb::TailRequest { group: "g".into(), ..Default::default() }).await.unwrap().into_inner();
    let mut sent = tail.message().await.unwrap().unwrap().records.len() as u64;
    // All the time it wants to read ahead, on the same connection.
    for index in 0..100 {
        slow.get(pb::GetRequest { group: "g".into(), index, ..Default::default() }).await.unwrap();
    }
    // What the node still has to read for it is gone now: what comes yet was in buffers.
    ledger.replica().raft.purge_all().await.unwrap();
    ledger.append("after").await.unwrap();
    let end = loop {
        match tail.message().await {
            Ok(batch) => sent += batch.unwrap().records.len() as u64,
            Err(status) => break from_status(&status).unwrap(),
        }
    };
    assert!(sent * (size as u64) < 8 << 20, "{sent} records were under way to a client that took none");
    assert_eq!((end.code(), end.found, end.first), (Code::Removed, sent, 120));
    let resumed = pb::TailRequest { group: "g".into(), from: end.first, ..Default::default() };
    let batch = slow.tail(resumed).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!(batch.records[0].body, "after");
    node.shutdown().await;
}

/// Passes on what comes to `node`, and adds up how many bytes of it clients were let send. Connections end with the
/// node's.
async fn weighed(node: SocketAddr) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (sent, seen)) = (listener.local_addr().unwrap(), watch::channel(0));
    let sent = Arc::new(sent);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut node, sent) = (TcpStream::connect(node).await.unwrap(), sent.clone());
            tokio::spawn(async move {
                let ((mut from, mut answers), (mut back, mut to)) = (client.split(), node.split());
                let there = async {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from.read(&mut bytes).await {
                        sent.send_modify(|sent| *sent += count);
                        to.write_all(&bytes[..count]).await?;
                    }
                    std::io::Result::Ok(())
                };
                let _ended = tokio::join!(there, tokio::io::copy(&mut back, &mut answers));
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_node_takes_no_more_of_all_its_clients_than_it_was_told_to() {
    const CLIENTS: usize = 16;
    // One of each client is several times what the node is to hold of all of them.
    const MESSAGE: usize = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    // The other one is never there.
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").group("g".parse().unwrap()).data_dir(dir.path());
    let builder = builder.peers("n0=127.0.0.1:9;n1=127.0.0.1:1".parse().unwrap()).advertise("127.0.0.1:9");
    let builder = builder.segment_size(32 << 20).configure(|c| {
        (c.max_record_bytes, c.max_batch_bytes, c.max_inflight_bytes) = (MESSAGE, MESSAGE, MESSAGE);
        // Nothing is let go of before all is over.
        c.append_timeout = 10 * PATIENCE;
        c.max_connections = CLIENTS + 1;
        c.max_client_bytes = c.least_client_bytes();
    });
    let mut limit = 0;
    let builder = builder.configure(|c| limit = c.max_client_bytes + c.max_inflight_bytes);
    assert!(3 * limit < CLIENTS * MESSAGE, "{limit}");
    let node = crate::server::serve(builder).await.unwrap();
    let (address, mut sent) = weighed(node.local_addr()).await;
    let record = Bytes::from(vec![7; MESSAGE]);
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        // Each over a connection of its own.
        let mut service = LedgerServiceClient::connect(format!("http://{address}")).await.unwrap();
        let record = record.clone();
        let endless = futures::stream::repeat_with(move || request(vec![record.clone()]));
        streams.push(service.append_stream(endless).await.unwrap().into_inner());
    }
    // Who waits less long is told that there was no room all the time.
    let mut hurried = LedgerServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut call = tonic::Request::new(request(vec![record]));
    call.metadata_mut().insert(TIMEOUT_HEADER, "3000".parse().unwrap());
    let told = tokio::select! {
        biased;
        sent = sent.wait_for(|sent| *sent > limit) => {
            panic!("{} bytes of {CLIENTS} clients are on the node, which is to hold {limit}", *sent.unwrap());
        }
        answer = hurried.append(call) => from_status(&answer.unwrap_err()).unwrap(),
    };
    assert!(told.code() == Code::Busy && told.message.contains("--max-client-bytes"), "{told:?}");
    let taken = *sent.borrow();
    assert!(taken > MESSAGE, "{taken} bytes: there was something to be bounded");
    let ends = futures::future::join_all(streams.iter_mut().map(|stream| stream.message()));
    let ((), ends) = tokio::time::timeout(PATIENCE, futures::future::join(node.shutdown(), ends)).await.unwrap();
    for end in ends {
        let code = match end {
            Ok(Some(pb::AppendRecordsResponse { result: Some(Answered::Failure(failure)), .. })) => failure.code(),
            Ok(other) => panic!("{other:?}"),
            Err(status) => from_status(&status).unwrap().code(),
        };
        assert_eq!(code, Code::Closed, "every client is told by name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistency_that_is_not_known_here_is_refused() {
    let (_dir, node, ledger) = node().await;
    ledger.append("r").await.unwrap();
    let mut service = service(&node).await;
    let group = String::from("g");
    for consistency in 0..3 {
        let request = pb::GetRequest { group: group.clone(), consistency, ..Default::default() };
        assert!(service.get(request).await.unwrap().into_inner().record.is_some());
    }
    for consistency in [3, -1, i32::MAX] {
        let get = pb::GetRequest { group: group.clone(), consistency, ..Default::default() };
        let read = pb::ReadRequest { group: group.clone(), consistency, ..Default::default() };
        let index_at = pb::IndexAtRequest { group: group.clone(), consistency, ..Default::default() };
        let refused = [
            service.get(get).await.unwrap_err(),
            service.read(read).await.unwrap_err(),
            service.index_at(index_at).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|status| from_status(status).unwrap().code() == Code::Malformed), "{refused:?}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_for_a_term_is_taken_in_that_term_or_not_at_all() {
    let (_dir, node, ledger) = node().await;
    let term = ledger.append("r").await.unwrap().term;
    let mut service = service(&node).await;
    let for_term = |term| pb::AppendRecordsRequest { term: Some(term), ..request(vec!["fenced".into()]) };
    let end = ledger.status().committed;
    for (other, code) in [(term - 1, Code::Fenced), (0, Code::Fenced), (term + 1, Code::NotMaster)] {
        let status = service.append(for_term(other)).await.unwrap_err();
        assert_eq!(from_status(&status).unwrap().code(), code, "term {other} in term {term}");
        let mut answers = service.append_stream(tokio_stream::iter([for_term(other)])).await.unwrap().into_inner();
        let Some(Answered::Failure(failure)) = answers.message().await.unwrap().unwrap().result else { panic!() };
        assert_eq!(failure.code(), code, "term {other} in term {term}");
    }
    assert_eq!(ledger.status().committed, end, "what was refused is not there");
    let answer = service.append(for_term(term)).await.unwrap().into_inner();
    let Some(Answered::Appended(appended)) = answer.result else { panic!() };
    assert_eq!((appended.first_index, appended.term), (end, term));
    node.shutdown().await;
}
