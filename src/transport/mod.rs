//! What carries calls between nodes: the seam, and gRPC behind it.
//!
//! gRPC ([`grpc`]) and the simulator's network implement [`Transport`]; everything above it is the same code.
//!
//! | file | what it is |
//! |---|---|
//! | this one | the seam: what a transport must do |
//! | [`router`] | finds the ledger a peer call is for; refuses calls for other clusters and unknown groups |
//! | [`heartbeats`] | heartbeats of many ledgers in one call, both sides |
//! | [`grpc`] | the transport over tonic, the guarded accept loop, the peer service |

pub(crate) mod grpc;
pub(crate) mod heartbeats;
pub(crate) mod router;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::types::Span;
use crate::wire::pb;

/// Which connection to a peer a call uses. Calls of one lane never queue behind those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, transfers, identification: small and urgent.
    Control,
    /// Heartbeats and nothing else.
    Heartbeat,
    /// Replication and snapshots.
    Data,
}

/// Why a call to a peer ended without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection could be made.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection broke, or the stream stalled.
    #[error("connection to {address} broke: {reason}")]
    Broken {
        /// `host:port`.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer from {address} within {}", Span(*after))]
    Timeout {
        /// `host:port`.
        address: String,
        /// The call's timeout.
        after: Duration,
    },
    /// The peer refused the call before Raft saw it.
    #[error("{address} refused ({}): found {}, expected {}{}", named(refusal), refusal.found, refusal.expected,
        advice(refusal))]
    Refused {
        /// `host:port`.
        address: String,
        /// Why.
        refusal: pb::Refusal,
    },
}

/// The reason of a refusal, in words.
fn named(refusal: &pb::Refusal) -> String {
    refusal.reason().as_str_name().to_lowercase().replace('_', " ")
}

/// What to do about a refusal, unless its own words say so.
fn advice(refusal: &pb::Refusal) -> &'static str {
    match refusal.reason() {
        pb::refusal::Reason::TargetIncarnation => {
            ": another disk is there. If the member's was lost, `dledger members replace` takes the new one in"
        }
        _ => "",
    }
}

/// Result of a unary peer call.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, TransportError>>;
/// Answers on a replication stream, in request order.
pub type AnswerStream = BoxStream<'static, Result<pb::AppendResponse, TransportError>>;

/// Makes links to peers.
pub trait Transport: Send + Sync + 'static {
    /// A link to the peer at `address` (`host:port`). It connects at the first call, and again after every failure,
    /// resolving the name anew each time.
    fn link(&self, address: &str, lane: Lane) -> Arc<dyn Link>;

    /// Whether the machine behind `address` says that nothing listens there. `false` also for silence and any other
    /// failure. Takes a few hundred milliseconds at most.
    fn nobody_listens(&self, address: &str) -> BoxFuture<'static, bool>;
}

/// Calls to one peer over one lane.
///
/// To ensure correctness:
/// - an `Ok` answer came from the process behind `address`, for exactly this request;
/// - a call that failed may or may not have been executed;
/// - no call waits longer than its timeout (replicate: longer than the transport's stall timeout without progress).
pub trait Link: Send + Sync + 'static {
    /// See the proto.
    fn identify(&self, request: pb::IdentifyRequest, timeout: Duration) -> Answer<'_, pb::IdentifyResponse>;
    /// See the proto.
    fn request_vote(&self, request: pb::VoteRequest, timeout: Duration) -> Answer<'_, pb::VoteResponse>;
    /// See the proto.
    fn pre_vote(&self, request: pb::VoteRequest, timeout: Duration) -> Answer<'_, pb::VoteResponse>;
    /// See the proto.
    fn heartbeat(&self, request: pb::AppendRequest, timeout: Duration) -> Answer<'_, pb::AppendResponse>;
    /// See the proto.
    fn install_snapshot(&self, request: pb::SnapshotRequest, timeout: Duration) -> Answer<'_, pb::SnapshotResponse>;
    /// See the proto.
    fn transfer_leader(&self, request: pb::TransferRequest, timeout: Duration) -> Answer<'_, pb::TransferResponse>;
    /// See the proto.
    fn fetch_entries(&self, request: pb::FetchRequest, timeout: Duration) -> Answer<'_, pb::FetchResponse>;
    /// See the proto.
    fn read_index(&self, request: pb::ReadIndexRequest, timeout: Duration) -> Answer<'_, pb::ReadIndexResponse>;
    /// Opens the replication stream; it opens even while there is no request yet. Every request is answered, one answer
    /// each; a refusal is the last answer. Dropping the answers closes the stream and drops the requests at once. A
    /// stream with an unanswered request and no answer for the stall timeout ends with [`TransportError::Broken`].
    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream>;
}

/// The calls of a [`Link`] that are one request and one answer: `$call` writes each of them.
macro_rules! unary_calls {
    ($call:ident) => {
        $call! {
            identify: IdentifyRequest -> IdentifyResponse;
            request_vote: VoteRequest -> VoteResponse;
            pre_vote: VoteRequest -> VoteResponse;
            heartbeat: AppendRequest -> AppendResponse;
            install_snapshot: SnapshotRequest -> SnapshotResponse;
            transfer_leader: TransferRequest -> TransferResponse;
            fetch_entries: FetchRequest -> FetchResponse;
            read_index: ReadIndexRequest -> ReadIndexResponse;
        }
    };
}
pub(crate) use unary_calls;

/// Requests of a replication stream as they arrive at the server; an error is the caller's connection breaking.
pub type RequestStream = BoxStream<'static, Result<pb::AppendRequest, TransportError>>;
/// Answers to a replication stream as the server gives them; a refusal ends the stream.
pub type ReplyStream = BoxStream<'static, Result<pb::AppendResponse, pb::Refusal>>;
/// A handler's answer to a unary call.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, pb::Refusal>>;

/// The receiving side of one ledger. A transport's server reaches it through the router.
///
/// To ensure correctness: nothing reaches Raft unless the envelope fits cluster, group, both node ids and both
/// incarnations.
pub trait PeerHandler: Send + Sync + 'static {
    /// See the proto.
    fn identify(&self, request: pb::IdentifyRequest) -> Reply<'_, pb::IdentifyResponse>;
    /// See the proto.
    fn request_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse>;
    /// See the proto.
    fn pre_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse>;
    /// See the proto.
    fn heartbeat(&self, request: pb::AppendRequest) -> Reply<'_, pb::AppendResponse>;
    /// See the proto.
    fn install_snapshot(&self, request: pb::SnapshotRequest) -> Reply<'_, pb::SnapshotResponse>;
    /// See the proto.
    fn transfer_leader(&self, request: pb::TransferRequest) -> Reply<'_, pb::TransferResponse>;
    /// See the proto.
    fn fetch_entries(&self, request: pb::FetchRequest) -> Reply<'_, pb::FetchResponse>;
    /// See the proto.
    fn read_index(&self, request: pb::ReadIndexRequest) -> Reply<'_, pb::ReadIndexResponse>;
    /// Serves a replication stream. `first` is the envelope of the first of `requests`. Answers every request, in
    /// order: the caller takes a missing answer for a stall.
    fn replicate(&self, first: pb::Envelope, requests: RequestStream) -> Reply<'_, ReplyStream>;
}
