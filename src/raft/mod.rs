//! openraft's view of the log. Only this layer and `peer` name openraft.
//!
//! | file | what it is |
//! |---|---|
//! | [`replica`] | all of it for one ledger, started and stopped |
//! | [`type_config`] | openraft's types as a ledger uses them: entries over `Bytes`, one batch = one entry |
//! | [`log_id`] | ids as openraft names them: of leaders, of entries, of votes |
//! | [`entry`] | payloads and entries |
//! | [`append`] | from an append that waits to a batch that is committed |
//! | [`storage`] | the log and the commit cursor as openraft's storage and state machine; removing entries |
//! | [`membership`] | memberships as bytes, their changes, and what members have acknowledged |
//! | [`election`] | when this node may vote and stand, and how the leadership changes hands |
//! | [`heartbeat`] | one clock for all ledgers of a node, and which heartbeats an idle one leaves out |
//! | [`role`] | Raft's state as the broker's role |
//! | [`reads`] | up to where a read must have seen the log, as the leader says |
//! | [`blocking`] | file work beside the runtime |

pub(crate) mod append;
pub(crate) mod blocking;
pub(crate) mod election;
pub(crate) mod entry;
pub(crate) mod heartbeat;
pub(crate) mod log_id;
pub(crate) mod membership;
pub(crate) mod reads;
pub(crate) mod replica;
pub(crate) mod role;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
pub(crate) mod type_config;

pub(crate) use openraft::Instant;
pub(crate) use openraft::impls::TokioRuntime;
pub(crate) use type_config::{Runtime, TypeConfig};

/// A Raft handle for a ledger.
pub(crate) type Raft<R> = openraft::Raft<TypeConfig<R>, storage::state_machine::StateMachine<R>>;
