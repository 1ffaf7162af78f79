//! A ledger that only pretends, and a server in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::pending;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tonic::service::Routes;

use crate::transport::grpc::server::{GrpcServer, ServerOptions};
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::transport::router::Router;
use crate::transport::{Lane, Link, PeerHandler, Reply, ReplyStream, RequestStream, Transport, TransportError};
use crate::types::{ClusterName, Group};
use crate::wire::pb;
use crate::wire::pb::refusal::Reason;
use crate::wire::refusal;
use crate::wire::version::WIRE_VERSION;

/// Long enough for anything that is going to happen.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// Too short for something that never happens.
pub(super) const SHORT: Duration = Duration::from_millis(100);

/// What the pretended ledger does with a replication stream.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Replication {
    /// Answers each request with the entry it names as the previous one.
    Echo,
    /// Takes all requests and answers none.
    Mute,
    /// Refuses after this number of answers.
    RefuseAfter(usize),
    /// Takes no request beyond the first.
    Deaf,
}

/// What happened to a request stream on the server's side.
#[derive(Debug)]
pub(super) enum Seen {
    Request(Box<pb::AppendRequest>),
    /// The error, for the message of a failed test.
    Broken(#[allow(dead_code, reason = "shown by Debug")] TransportError),
    /// The handler let go of the stream.
    Ended,
}

pub(super) struct FakeLedger {
    replication: Replication,
    seen: mpsc::UnboundedSender<Seen>,
    /// Heartbeats wait here for a permit.
    pub(super) heartbeats: Semaphore,
    pub(super) votes: AtomicUsize,
}

struct Let(mpsc::UnboundedSender<Seen>);

impl Drop for Let {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Ended);
    }
}

impl FakeLedger {
    pub(super) fn new(replication: Replication) -> (Arc<Self>, mpsc::UnboundedReceiver<Seen>) {
        let (seen, watch) = mpsc::unbounded_channel();
        (Arc::new(Self { replication, seen, heartbeats: Semaphore::new(0), votes: AtomicUsize::new(0) }), watch)
    }
}

pub(super) fn matched(last: Option<pb::LogId>) -> pb::AppendResponse {
    pb::AppendResponse { result: Some(pb::append_response::Result::Matched(pb::Matched { last })), end: None }
}

impl PeerHandler for FakeLedger {
    fn identify(&self, request: pb::IdentifyRequest) -> Reply<'_, pb::IdentifyResponse> {
        let answer = pb::IdentifyResponse {
            incarnation: vec![7; 16].into(),
            empty: true,
            segment_size: request.segment_size + 1,
            advertised_address: request.envelope.unwrap_or_default().sender,
            ..Default::default()
        };
        async move { Ok(answer) }.boxed()
    }
    fn request_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        self.votes.fetch_add(1, Ordering::Relaxed);
        let answer = pb::VoteResponse { vote: request.vote, granted: true, last_log_id: request.last_log_id };
        async move { Ok(answer) }.boxed()
    }
    fn pre_vote(&self, _: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        async { Err(refusal(Reason::TargetIncarnation, "one disk", "another disk")) }.boxed()
    }
    fn heartbeat(&self, request: pb::AppendRequest) -> Reply<'_, pb::AppendResponse> {
        async move {
            self.heartbeats.acquire().await.unwrap().forget();
            Ok(matched(request.previous))
        }
        .boxed()
    }
    fn install_snapshot(&self, request: pb::SnapshotRequest) -> Reply<'_, pb::SnapshotResponse> {
        async move { Ok(pb::SnapshotResponse { vote: request.vote }) }.boxed()
    }
    fn transfer_leader(&self, _: pb::TransferRequest) -> Reply<'_, pb::TransferResponse> {
        pending().boxed()
    }
    fn fetch_entries(&self, _: pb::FetchRequest) -> Reply<'_, pb::FetchResponse> {
        pending().boxed()
    }
    fn read_index(&self, request: pb::ReadIndexRequest) -> Reply<'_, pb::ReadIndexResponse> {
        async move { Ok(pb::ReadIndexResponse { number: request.within_ms }) }.boxed()
    }
    fn replicate(&self, first: pb::Envelope, requests: RequestStream) -> Reply<'_, ReplyStream> {
        assert_eq!(first, envelope());
        let (seen, gone) = (self.seen.clone(), Let(self.seen.clone()));
        let requests = requests.inspect(move |request| {
            let _held = &gone;
            let _ = seen.send(match request {
                Ok(request) => Seen::Request(Box::new(request.clone())),
                Err(error) => Seen::Broken(error.clone()),
            });
        });
        let replies = requests.filter_map(async |request| Some(Ok(matched(request.ok()?.previous))));
        let replies: ReplyStream = match self.replication {
            Replication::Echo => replies.boxed(),
            Replication::Mute => replies.filter(|_| std::future::ready(false)).boxed(),
            Replication::RefuseAfter(n) => {
                let last = stream::once(async { Err(refusal(Reason::Closed, "a closed ledger", "an open one")) });
                replies.take(n).chain(last).boxed()
            }
            Replication::Deaf => replies.take(1).chain(stream::pending()).boxed(),
        };
        async move { Ok(replies) }.boxed()
    }
}

pub(super) fn envelope() -> pb::Envelope {
    pb::Envelope {
        wire_version: WIRE_VERSION,
        cluster: ClusterName::default().to_string(),
        group: "g0".into(),
        sender: "n1".into(),
        sender_incarnation: vec![1; 16].into(),
        target: "n0".into(),
        target_incarnation: vec![7; 16].into(),
        sender_address: String::new(),
        membership: None,
        cluster_incarnation: Default::default(),
    }
}

pub(super) fn identify() -> pb::IdentifyRequest {
    pb::IdentifyRequest { envelope: Some(envelope()), segment_size: 64, peers: "n1=h:1".into(), join: false }
}

pub(super) fn vote(term: u64) -> pb::VoteRequest {
    pb::VoteRequest {
        envelope: Some(envelope()),
        vote: Some(pb::Vote { term, node: "n1".into(), committed: false }),
        last_log_id: Some(pb::LogId { term, number: 9 }),
        leadership_transfer: false,
    }
}

/// The request `number` of a stream; only the first carries the envelope.
pub(super) fn append(number: u64) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope: (number == 0).then(envelope),
        previous: Some(pb::LogId { term: 1, number }),
        frames: vec![number as u8; 700].into(),
        ..pb::AppendRequest::default()
    }
}

pub(super) fn appends(count: u64) -> BoxStream<'static, pb::AppendRequest> {
    stream::iter(0..count).map(append).boxed()
}

/// The requests of `appends`, and then none, without the stream ending.
pub(super) fn appends_then_idle(count: u64) -> BoxStream<'static, pb::AppendRequest> {
    appends(count).chain(stream::pending()).boxed()
}

/// A server with one pretended ledger.
pub(super) struct Rig {
    pub(super) server: GrpcServer,
    pub(super) ledger: Arc<FakeLedger>,
    pub(super) seen: mpsc::UnboundedReceiver<Seen>,
}

pub(super) fn server_options() -> ServerOptions {
    ServerOptions { grace: Duration::from_millis(300), ..ServerOptions::default() }
}

impl Rig {
    pub(super) async fn start(replication: Replication) -> Self {
        Self::start_at("127.0.0.1:0", replication, server_options()).await
    }

    pub(super) async fn start_at(address: &str, replication: Replication, options: ServerOptions) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (ledger, seen) = FakeLedger::new(replication);
        let router = Arc::new(Router::new(ClusterName::default()));
        router.insert(&"g0".parse::<Group>().unwrap(), ledger.clone());
        let server = GrpcServer::start(listener, router, Routes::default(), options).unwrap();
        Self { server, ledger, seen }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(super) fn link(&self, lane: Lane) -> Arc<dyn Link> {
        link(&self.address().to_string(), lane)
    }

    /// The next thing that happened to a request stream.
    pub(super) async fn next_seen(&mut self) -> Seen {
        soon(self.seen.recv()).await.unwrap()
    }
}

pub(super) fn link(address: &str, lane: Lane) -> Arc<dyn Link> {
    GrpcTransport::new(GrpcOptions::default()).link(address, lane)
}

pub(super) fn link_that_stalls_soon(address: SocketAddr) -> Arc<dyn Link> {
    let options = GrpcOptions { stall_timeout: Duration::from_millis(200), ..GrpcOptions::default() };
    GrpcTransport::new(options).link(&address.to_string(), Lane::Data)
}

/// Waits for what must happen; fails the test if it does not within [`LONG`].
pub(super) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.expect("did not happen")
}
