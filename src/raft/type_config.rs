//! openraft's types as a ledger uses them.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use openraft::RaftTypeConfig;
use openraft::impls::BoxedErrorSource;
use openraft::type_config::alias::WatchReceiverOf;

use super::entry::{Entry, Payload, Proposed};
use super::log_id::{LeaderId, RaftVote};
use super::membership::codec::MemberNode;
use crate::raft::append::responder::BatchResponder;
use crate::types::NodeId;

/// What time and tasks are: tokio in production, the simulator in tests. openraft's trait under our name.
pub trait Runtime: openraft::AsyncRuntime {}

impl<R: openraft::AsyncRuntime> Runtime for R {}

/// Sleeps until `at`; for ever without one.
pub(super) async fn sleep_until<R: Runtime>(at: Option<R::Instant>) {
    match at {
        Some(at) => R::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// openraft's types for a ledger on runtime `R`.
pub(crate) struct TypeConfig<R>(PhantomData<fn() -> R>);

/// openraft's view of itself.
pub(crate) type RaftMetrics<R> = openraft::RaftMetrics<TypeConfig<R>>;
/// openraft's view of itself, as it changes.
pub(crate) type Metrics<R> = WatchReceiverOf<TypeConfig<R>, RaftMetrics<R>>;

impl<R: Runtime> RaftTypeConfig for TypeConfig<R> {
    type D = Proposed;
    type R = ();
    type NodeId = NodeId;
    type Node = MemberNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = RaftVote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = BatchResponder
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = Vec<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

// The derives would ask for the same of `R`, of which there is no value.

impl<R> Clone for TypeConfig<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for TypeConfig<R> {}

impl<R> Default for TypeConfig<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R> fmt::Debug for TypeConfig<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeConfig")
    }
}

impl<R> PartialEq for TypeConfig<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<R> Eq for TypeConfig<R> {}

impl<R> PartialOrd for TypeConfig<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for TypeConfig<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
