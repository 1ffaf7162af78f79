//! The peer service: routes each call to its ledger.

use std::future::ready;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::status;
use crate::transport::heartbeats;
use crate::transport::router::Router;
use crate::transport::{RequestStream, TransportError};
use crate::wire::pb;
use crate::wire::pb::raft_service_server::RaftService;

/// Becomes true when the server stops.
pub(crate) type Stopping = watch::Receiver<bool>;

/// Serves the peers of a node.
pub(crate) struct PeerService {
    router: Arc<Router>,
    stopping: Stopping,
}

impl PeerService {
    /// Replication streams end when `stopping` becomes true.
    pub(crate) fn new(router: Arc<Router>, stopping: Stopping) -> Self {
        Self { router, stopping }
    }
}

/// `response`, with the texts of its refusals cut as [`status::short`] does.
fn shortened(mut response: pb::HeartbeatsResponse) -> pb::HeartbeatsResponse {
    for answer in &mut response.answers {
        if let Some(pb::beat_answer::Result::Refusal(refusal)) = &mut answer.result {
            *refusal = status::short(refusal);
        }
    }
    response
}

macro_rules! unary {
    ($($name:ident: $request:ident -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl RaftService for PeerService {
            $(
                async fn $name(&self, request: Request<pb::$request>) -> Result<Response<pb::$answer>, Status> {
                    let request = request.into_inner();
                    let handler = self.router.route(request.envelope.as_ref()).map_err(|r| status::from_refusal(&r))?;
                    let answer = handler.$name(request).await.map_err(|r| status::from_refusal(&r))?;
                    Ok(Response::new(answer))
                }
            )*

            async fn heartbeat(
                &self,
                request: Request<pb::AppendRequest>,
            ) -> Result<Response<pb::AppendResponse>, Status> {
                let request = request.into_inner();
                let handler = self.router.route(request.envelope.as_ref()).map_err(|r| status::from_refusal(&r))?;
                self.router.count_heartbeats(1);
                let answer = handler.heartbeat(request).await.map_err(|r| status::from_refusal(&r))?;
                Ok(Response::new(answer))
            }

            type HeartbeatsStream = BoxStream<'static, Result<pb::HeartbeatsResponse, Status>>;

            async fn heartbeats(
                &self,
                request: Request<pb::HeartbeatsRequest>,
            ) -> Result<Response<Self::HeartbeatsStream>, Status> {
                let answers = heartbeats::serve(&self.router, request.into_inner());
                let answers = answers.map_err(|refusal| status::from_refusal(&refusal))?;
                Ok(Response::new(answers.map(|response| Ok(shortened(response))).boxed()))
            }

            type ReplicateStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;

            async fn replicate(
                &self,
                request: Request<Streaming<pb::AppendRequest>>,
            ) -> Result<Response<Self::ReplicateStream>, Status> {
                Ok(Response::new(self.replies(request)))
            }
        }
    };
}

unary! {
    identify: IdentifyRequest -> IdentifyResponse;
    request_vote: VoteRequest -> VoteResponse;
    pre_vote: VoteRequest -> VoteResponse;
    install_snapshot: SnapshotRequest -> SnapshotResponse;
    transfer_leader: TransferRequest -> TransferResponse;
    fetch_entries: FetchRequest -> FetchResponse;
    read_index: ReadIndexRequest -> ReadIndexResponse;
}

impl PeerService {
    /// The replies to a replication stream; a refusal is the last one. The stream is open before its first request has
    /// come, so that a caller can open one even while there is nothing to replicate.
    fn replies(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Status>> {
        let caller = request.remote_addr().map_or_else(|| "an unknown address".to_owned(), |a| a.to_string());
        let broken =
            move |status: Status| TransportError::Broken { address: caller.clone(), reason: status::describe(&status) };
        let requests: RequestStream = request.into_inner().map_err(broken).boxed();
        let router = self.router.clone();
        let replies = async move {
            match router.replicate(requests).await {
                Ok(replies) => replies,
                Err(refusal) => stream::once(ready(Err(refusal))).boxed(),
            }
        };
        let replies = replies.flatten_stream().map_err(|refusal| status::from_refusal(&refusal));
        let (stopped, mut stopping) = (self.stopping.clone(), self.stopping.clone());
        // An error: the server is gone, which stops the stream as well.
        let stop = async move { stopping.wait_for(|stop| *stop).await.is_ok() };
        let farewell = stream::once(async move { *stopped.borrow() })
            .filter_map(|stop| ready(stop.then(|| Err(Status::unavailable("the node is stopping")))));
        replies.take_until(stop.boxed()).chain(farewell).boxed()
    }
}
