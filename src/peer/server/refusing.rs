//! The receiving side of a ledger that could not be opened: it refuses every call as closed, with the reason.
//!
//! To its peers the member is down, and they are told why. The refusal *no such group* would send their operator
//! looking for a mistake in the configuration.

use futures::future;

use crate::transport::{PeerHandler, Reply, ReplyStream, RequestStream};
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// Refuses every call.
pub(crate) struct RefusingServer {
    reason: String,
}

impl RefusingServer {
    pub(crate) fn new(reason: String) -> Self {
        Self { reason }
    }

    fn refuse<T: Send + 'static>(&self) -> Reply<'_, T> {
        Box::pin(future::ready(Err(refusal(Reason::Closed, &self.reason, "a running ledger"))))
    }
}

impl PeerHandler for RefusingServer {
    fn identify(&self, _: pb::IdentifyRequest) -> Reply<'_, pb::IdentifyResponse> {
        self.refuse()
    }

    fn request_vote(&self, _: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        self.refuse()
    }

    fn pre_vote(&self, _: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        self.refuse()
    }

    fn heartbeat(&self, _: pb::AppendRequest) -> Reply<'_, pb::AppendResponse> {
        self.refuse()
    }

    fn install_snapshot(&self, _: pb::SnapshotRequest) -> Reply<'_, pb::SnapshotResponse> {
        self.refuse()
    }

    fn transfer_leader(&self, _: pb::TransferRequest) -> Reply<'_, pb::TransferResponse> {
        self.refuse()
    }

    fn fetch_entries(&self, _: pb::FetchRequest) -> Reply<'_, pb::FetchResponse> {
        self.refuse()
    }

    fn read_index(&self, _: pb::ReadIndexRequest) -> Reply<'_, pb::ReadIndexResponse> {
        self.refuse()
    }

    fn replicate(&self, _: pb::Envelope, _: RequestStream) -> Reply<'_, ReplyStream> {
        self.refuse()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::{FutureExt, StreamExt, stream};

    use super::*;
    use crate::transport::router::Router;
    use crate::wire::version::WIRE_VERSION;

    #[test]
    fn who_calls_a_ledger_that_could_not_be_opened_is_told_why_and_not_that_there_is_no_such_group() {
        let router = Router::new("c".parse().unwrap());
        let group = "g".parse().unwrap();
        router.insert(&group, Arc::new(RefusingServer::new("the identity is damaged".into())));
        let envelope =
            pb::Envelope { wire_version: WIRE_VERSION, cluster: "c".into(), group: "g".into(), ..Default::default() };
        let closed = |refusal: pb::Refusal| {
            assert_eq!((refusal.reason(), &*refusal.found), (Reason::Closed, "the identity is damaged"));
        };
        let handler = router.route(Some(&envelope)).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        closed(handler.identify(pb::IdentifyRequest::default()).now_or_never().unwrap().unwrap_err());
        closed(handler.heartbeat(pb::AppendRequest::default()).now_or_never().unwrap().unwrap_err());
        closed(handler.request_vote(pb::VoteRequest::default()).now_or_never().unwrap().unwrap_err());
        let first = pb::AppendRequest { envelope: Some(envelope), ..Default::default() };
        let requests = stream::iter([Ok(first)]).boxed();
        closed(router.replicate(requests).now_or_never().unwrap().err().unwrap());
    }

    #[test]
    fn who_calls_a_node_that_stops_is_told_so_and_not_that_there_is_no_such_group() {
        let router = Router::new("c".parse().unwrap());
        let envelope =
            pb::Envelope { wire_version: WIRE_VERSION, cluster: "c".into(), group: "g".into(), ..Default::default() };
        let refused = || router.route(Some(&envelope)).err().unwrap();
        assert_eq!(refused().reason(), Reason::Group);
        router.insert(&"g".parse().unwrap(), Arc::new(RefusingServer::new("the identity is damaged".into())));
        router.clear();
        assert_eq!((refused().reason(), &*refused().found), (Reason::Closed, "a node that stops"));
    }
}
