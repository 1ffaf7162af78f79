//! The type config.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use openraft::RaftTypeConfig;
use openraft::impls::{BoxedErrorSource, Vote, leader_id_std};
use openraft::vote::RaftLeaderId;

use super::append::inflight::BatchResponder;
use super::entry::{Entry, Payload, Proposed};
use super::membership::codec::MemberNode;
use super::storage::state_machine::StateMachine;
use crate::types::NodeId;

/// What time and tasks are: tokio in production, the simulator in tests. openraft's trait under our name.
pub trait Runtime: openraft::AsyncRuntime {}

impl<R: openraft::AsyncRuntime> Runtime for R {}

/// openraft's types for a ledger on runtime `R`.
pub(crate) struct TypeConfig<R>(PhantomData<fn() -> R>);

/// A Raft handle for a ledger.
pub(crate) type Raft<R> = openraft::Raft<TypeConfig<R>, StateMachine<R>>;
/// Standard Raft: one leader per term, a log id is (term, number).
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
/// As in a log id.
pub(crate) type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// (term, number).
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
/// A vote.
pub(crate) type RaftVote = Vote<LeaderId>;
/// A membership and the entry that set it.
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, NodeId, MemberNode>;
/// What a snapshot covers.
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, NodeId, MemberNode>;

/// The log id of entry `number` of `term`.
pub(crate) fn log_id(term: u64, number: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), number)
}

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
