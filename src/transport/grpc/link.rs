//! The calls to one peer over one lane.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::channel::KeptChannel;
use super::dialer::Dialer;
use super::replication::{ReplicationAnswers, ReplicationRequests};
use super::status;
use super::transport::GrpcOptions;
use crate::transport::{Answer, AnswerStream, Lane, Link, TransportError, unary_calls};
use crate::wire::pb;
use crate::wire::pb::raft_service_client::RaftServiceClient;

type Client = RaftServiceClient<Channel>;

/// See [`Link`].
pub(crate) struct GrpcLink {
    address: String,
    options: GrpcOptions,
    /// An error says why there can be no channel.
    channel: Result<Arc<KeptChannel>, String>,
}

impl GrpcLink {
    pub(crate) fn new(address: &str, lane: Lane, options: &GrpcOptions, dialer: Arc<dyn Dialer>) -> Self {
        let channel = KeptChannel::new(address, lane, options, dialer).map(Arc::new);
        Self { address: address.to_owned(), options: options.clone(), channel }
    }

    /// Makes `call`, waits for it no longer than `timeout`, and tells the channel how it ended.
    async fn bounded<T, F>(&self, timeout: Duration, call: impl FnOnce(Client) -> F + Send) -> Result<T, TransportError>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let channel = self.channel()?;
        let (connection, generation) = channel.get();
        let client = Client::new(connection)
            .max_decoding_message_size(self.options.max_message_bytes)
            .max_encoding_message_size(self.options.max_message_bytes);
        let outcome = match tokio::time::timeout(timeout, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status::to_error(&self.address, &status)),
            Err(_) => Err(TransportError::Timeout { address: self.address.clone(), after: timeout }),
        };
        match outcome {
            Ok(_) | Err(TransportError::Refused { .. }) => channel.answered(generation),
            Err(_) => channel.failed(generation),
        }
        outcome
    }

    /// `host:port` of the peer.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The error of a call that broke for `reason`.
    pub(crate) fn broken(&self, reason: String) -> TransportError {
        TransportError::Broken { address: self.address.clone(), reason }
    }

    /// The error of a call that was refused.
    pub(crate) fn refused(&self, refusal: pb::Refusal) -> TransportError {
        TransportError::Refused { address: self.address.clone(), refusal }
    }

    /// Sends heartbeats of several ledgers. The answers come as they are ready; the caller bounds how long it waits for
    /// them.
    pub(crate) async fn heartbeats(
        &self,
        request: pb::HeartbeatsRequest,
        timeout: Duration,
    ) -> Result<HeartbeatAnswers, TransportError> {
        let answers = self.bounded(timeout, |mut client| async move { client.heartbeats(request).await }).await?;
        Ok(HeartbeatAnswers { address: self.address.clone(), answers })
    }

    fn channel(&self) -> Result<&Arc<KeptChannel>, TransportError> {
        let unusable =
            |reason: &String| TransportError::Unreachable { address: self.address.clone(), reason: reason.clone() };
        self.channel.as_ref().map_err(unusable)
    }

    async fn open(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Result<AnswerStream, TransportError> {
        let channel = self.channel()?.clone();
        let (_, generation) = channel.get();
        // `guard` closes the requests when it is dropped: also when opening fails, or the caller gives up.
        let (requests, guard) = ReplicationRequests::new(requests);
        let stall = self.options.stall_timeout;
        let opened = self.bounded(stall, |mut client| async move { client.replicate(requests).await }).await;
        let answers = match opened {
            Ok(answers) => answers,
            Err(error) => {
                if matches!(error, TransportError::Timeout { .. }) {
                    channel.give_up(generation);
                }
                return Err(error);
            }
        };
        let give_up = move || channel.give_up(generation);
        Ok(ReplicationAnswers::new(self.address.clone(), answers, guard, stall, give_up).boxed())
    }
}

/// The answers to heartbeats, as they come.
pub(crate) struct HeartbeatAnswers {
    address: String,
    answers: Streaming<pb::HeartbeatsResponse>,
}

impl HeartbeatAnswers {
    /// The next answers; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<pb::HeartbeatsResponse>, TransportError> {
        self.answers.message().await.map_err(|status| status::to_error(&self.address, &status))
    }
}

macro_rules! unary {
    ($($name:ident: $request:ident -> $answer:ident;)*) => {$(
        fn $name(&self, request: pb::$request, timeout: Duration) -> Answer<'_, pb::$answer> {
            self.bounded(timeout, |mut client| async move { client.$name(request).await }).boxed()
        }
    )*};
}

impl Link for GrpcLink {
    unary_calls!(unary);

    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        self.open(requests).boxed()
    }
}
