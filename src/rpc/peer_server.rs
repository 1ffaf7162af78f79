//! The receiving side: checks every call, then hands it to Raft.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, stream};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::Snapshot;

use super::convert::{self, Malformed};
use super::router::refusal;
use super::transport::{PeerHandler, Reply, ReplyStream, RequestStream};
use crate::log::directory::Identity;
use crate::pb::{self, refusal::Reason};
use crate::raft::roles::Metrics;
use crate::raft::{Raft, Runtime, state_machine};
use crate::types::{Incarnation, NodeId};

/// One ledger as its peers reach it.
pub(crate) struct PeerServer<R: Runtime> {
    identity: Identity,
    advertised: String,
    raft: Raft<R>,
    metrics: Metrics<R>,
}

type Refused<T> = Result<T, pb::Refusal>;

fn malformed(error: Malformed) -> pb::Refusal {
    refusal(Reason::Malformed, error, "a well-formed message")
}

fn closed(error: impl ToString) -> pb::Refusal {
    refusal(Reason::Closed, error, "a running ledger")
}

impl<R: Runtime> PeerServer<R> {
    pub(crate) fn new(identity: Identity, advertised: String, raft: Raft<R>) -> Self {
        let metrics = raft.metrics();
        Self { identity, advertised, raft, metrics }
    }

    /// Refuses a call that is for another disk, or comes from one that is not who it says.
    fn check(&self, envelope: Option<&pb::Envelope>) -> Refused<()> {
        let (envelope, _) = self.check_names(envelope)?;
        let target = Incarnation::from_slice(&envelope.target_incarnation);
        if target != Some(self.identity.incarnation) {
            let found = target.map_or("none".into(), |target| target.to_string());
            return Err(refusal(Reason::TargetIncarnation, found, self.identity.incarnation));
        }
        Ok(())
    }

    fn check_names<'e>(&self, envelope: Option<&'e pb::Envelope>) -> Refused<(&'e pb::Envelope, NodeId)> {
        let envelope = envelope.ok_or_else(|| malformed(Malformed::Missing("envelope")))?;
        if envelope.target != self.identity.node.as_str() {
            return Err(refusal(Reason::Target, &envelope.target, &self.identity.node));
        }
        let sender: NodeId = envelope.sender.parse().map_err(|error| malformed(Malformed::Name(error)))?;
        let Some(incarnation) = Incarnation::from_slice(&envelope.sender_incarnation) else {
            return Err(malformed(Malformed::Missing("sender_incarnation")));
        };
        if sender == self.identity.node {
            return Err(refusal(Reason::Sender, format!("{sender} with disk {incarnation}"), "another node id"));
        }
        // A sender this node has not heard of may be a member by entries it does not have yet.
        let metrics = self.metrics.borrow_watched();
        if let Some(known) = metrics.membership_config.membership().get_node(&sender)
            && known.incarnation != incarnation
        {
            let expected = format!("{sender} with disk {}", known.incarnation);
            return Err(refusal(Reason::Sender, format!("{sender} with disk {incarnation}"), expected));
        }
        Ok((envelope, sender))
    }

    fn check_identify(&self, request: &pb::IdentifyRequest) -> Refused<()> {
        self.check_names(request.envelope.as_ref())?;
        if request.segment_size != self.identity.segment_size {
            return Err(refusal(Reason::SegmentSize, request.segment_size, self.identity.segment_size));
        }
        Ok(())
    }
}

impl<R: Runtime> PeerHandler for PeerServer<R> {
    fn identify(&self, request: pb::IdentifyRequest) -> Reply<'_, pb::IdentifyResponse> {
        Box::pin(async move {
            self.check_identify(&request)?;
            let initialized = self.raft.is_initialized().await.map_err(closed)?;
            Ok(pb::IdentifyResponse {
                incarnation: self.identity.incarnation.to_bytes().to_vec().into(),
                empty: !initialized,
                segment_size: self.identity.segment_size,
                advertised_address: self.advertised.clone(),
            })
        })
    }

    fn request_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        Box::pin(async move {
            self.check(request.envelope.as_ref())?;
            let request = convert::to_vote_request::<R>(request).map_err(malformed)?;
            let response = self.raft.vote(request).await.map_err(closed)?;
            Ok(convert::from_vote_response(&response))
        })
    }

    fn pre_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        Box::pin(async move {
            self.check(request.envelope.as_ref())?;
            let request = convert::to_vote_request::<R>(request).map_err(malformed)?;
            let response = self.raft.pre_vote(request).await.map_err(closed)?;
            Ok(convert::from_vote_response(&response))
        })
    }

    fn heartbeat(&self, request: pb::AppendRequest) -> Reply<'_, pb::AppendResponse> {
        Box::pin(async move {
            self.check(request.envelope.as_ref())?;
            let request = convert::to_append::<R>(request).map_err(malformed)?;
            let last = request.entries.last().map(|entry| entry.id()).or(request.prev_log_id);
            let previous = request.prev_log_id;
            let response = self.raft.append_entries(request).await.map_err(closed)?;
            if response.is_conflict() && previous.is_none() {
                // openraft asks for the conflicting entry; an append that begins the log cannot conflict.
                return Err(closed("a conflict before the first entry"));
            }
            Ok(convert::from_append_result::<R>(response.into_stream_result(previous, last)))
        })
    }

    fn install_snapshot(&self, request: pb::SnapshotRequest) -> Reply<'_, pb::SnapshotResponse> {
        Box::pin(async move {
            self.check(request.envelope.as_ref())?;
            let vote = convert::to_vote(request.vote.clone()).map_err(malformed)?;
            let (meta, start) = state_machine::from_message(&request).map_err(|e| malformed(Malformed::Members(e)))?;
            let Some(next) = start.filter(|_| meta.last_log_id.is_some()) else {
                return Err(malformed(Malformed::Missing("last_log_id or start")));
            };
            if !next.can_begin(self.identity.segment_size) {
                return Err(refusal(Reason::Malformed, format!("{next:?}"), "a place where a log can begin"));
            }
            let snapshot = Snapshot { meta, snapshot: start };
            let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(closed)?;
            Ok(pb::SnapshotResponse { vote: Some(convert::from_vote(&response.vote)) })
        })
    }

    fn transfer_leader(&self, request: pb::TransferRequest) -> Reply<'_, pb::TransferResponse> {
        Box::pin(async move {
            self.check(request.envelope.as_ref())?;
            let request = convert::to_transfer::<R>(request).map_err(malformed)?;
            let response = self.raft.handle_transfer_leader(request).await.map_err(closed)?;
            Ok(convert::from_transfer_response::<R>(response))
        })
    }

    fn replicate(&self, first: pb::Envelope, requests: RequestStream) -> Reply<'_, ReplyStream> {
        Box::pin(async move {
            self.check(Some(&first))?;
            // The first request that cannot be used ends the stream, after the answers to those before it.
            let refused = Arc::new(Mutex::new(None));
            let seen = refused.clone();
            let requests = requests.scan((), move |(), request| {
                let usable = request.map_err(closed).and_then(|r| convert::to_append::<R>(r).map_err(malformed));
                let next = match usable {
                    Ok(request) => Some(request),
                    Err(refusal) => {
                        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                        None
                    }
                };
                std::future::ready(next)
            });
            let answers = self.raft.stream_append(requests.boxed());
            let answers = answers.map(|answer| match answer {
                Ok(result) => Ok(convert::from_append_result::<R>(result)),
                Err(fatal) => Err(closed(fatal)),
            });
            let last = stream::once(async move { refused.lock().unwrap_or_else(PoisonError::into_inner).take() });
            Ok(answers.chain(last.filter_map(|refusal| std::future::ready(refusal.map(Err)))).boxed())
        })
    }
}
