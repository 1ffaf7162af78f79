//! The ledger service on the node's port. It reads appends itself, each when the node has room for it, and hands all
//! other calls on to the generated server.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, EncodeBody, SingleMessageCompressionOverride};
use tonic::codegen::{BoxFuture, Service as HttpService, http};
use tonic::server::NamedService;
use tonic::{Status, metadata::GRPC_CONTENT_TYPE};
use tonic_prost::ProstCodec;

use super::answer_timeout::AnswerTimeout;
use super::append_budget::AppendBudget;
use super::append_reader::AppendReader;
use super::service::ClientService;
use crate::config::Config;
use crate::wire::client::TIMEOUT_HEADER;
use crate::wire::pb::ledger_service_server::{LedgerServiceServer, SERVICE_NAME};
use crate::wire::pb::{AppendRecordsRequest, AppendRecordsResponse};

/// Largest request, in bytes, of a call that carries no records: names and numbers.
pub(super) const SMALL_CALL: usize = 64 << 10;

/// The ledger service as an HTTP service.
#[derive(Clone)]
pub(super) struct LedgerEndpoint {
    service: ClientService,
    rest: LedgerServiceServer<ClientService>,
    budget: Arc<AppendBudget>,
}

impl LedgerEndpoint {
    pub(super) fn new(service: ClientService, config: &Config) -> Self {
        let budget = AppendBudget::new(config);
        let rest = LedgerServiceServer::new(service.clone()).max_decoding_message_size(SMALL_CALL);
        Self { rest, service, budget }
    }
}

impl NamedService for LedgerEndpoint {
    const NAME: &'static str = SERVICE_NAME;
}

type Response = http::Response<Body>;

impl HttpService<http::Request<Body>> for LedgerEndpoint {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next();
        let streams = match method {
            Some("AppendStream") => true,
            Some("Append") => false,
            _ => return self.rest.call(request),
        };
        let limit = request.headers().get(TIMEOUT_HEADER).and_then(|millis| millis.to_str().ok()?.parse().ok());
        let requests = match AppendReader::new(&self.budget, request.into_body(), limit.map(Duration::from_millis)) {
            Ok(requests) => requests,
            Err(busy) => return Box::pin(std::future::ready(Ok(busy.into_http()))),
        };
        let service = self.service.clone();
        let wait = self.budget.wait();
        let response = match streams {
            true => response(AnswerTimeout::within(wait, service.answers(requests))),
            false => response(AnswerTimeout::within(wait, stream::once(service.answer(requests)))),
        };
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// An HTTP response whose body is `answers`, as they come.
fn response(answers: impl Stream<Item = Result<AppendRecordsResponse, Status>> + Send + 'static) -> Response {
    let encoder = ProstCodec::<AppendRecordsResponse, AppendRecordsRequest>::default().encoder();
    let plain = SingleMessageCompressionOverride::default();
    let body = EncodeBody::new_server(encoder, answers.boxed(), None, plain, None);
    let mut response = http::Response::new(Body::new(body));
    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}
