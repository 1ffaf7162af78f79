//! The service that answers connections without a place: it refuses every call, in the words of the call's own service.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::connection_limit::Places;
use super::greeting::Caller;
use super::status;
use crate::wire::client::{failure, to_status};
use crate::wire::pb::failure::Code;
use crate::wire::pb::raft_service_server::SERVICE_NAME as PEER_SERVICE;
use crate::wire::pb::refusal::Reason;
use crate::wire::refusal;

/// Refuses every call of a connection that has no place.
#[derive(Debug, Clone)]
pub(crate) struct TurnedAway {
    pub(crate) caller: Caller,
    /// How many places there are.
    pub(crate) places: Places,
}

impl TurnedAway {
    fn status(&self, path: &str) -> Status {
        let Self { caller, places } = self;
        let full = format!("{} are taken", places.taken(*caller));
        let remedy = format!("close some, or raise {} of the node", caller.option());
        let service = path.split('/').nth(1);
        if service == Some(PEER_SERVICE) {
            return status::from_refusal(&refusal(Reason::NoPlace, full, remedy));
        }
        to_status(&failure(Code::Busy, format!("{full}: {remedy}")))
    }
}

impl Service<http::Request<Body>> for TurnedAway {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(self.status(request.uri().path()).into_http()))
    }
}
