//! openraft's view of the log. Only this layer and [`rpc`](crate::rpc) name openraft.
//!
//! | file | what it is |
//! |---|---|
//! | [`config`] | the type config: entries over `Bytes`, one batch = one entry |
//! | [`entry`] | payloads and entries |
//! | [`members`] | memberships as bytes |
//! | [`membership`] | changes of the membership, with what guards them |
//! | [`stamps`] | the time that a leader stamps entries with |
//! | [`storage`] | the log as openraft's log storage |
//! | [`state_machine`] | the commit cursor as openraft's state machine; metadata snapshots |
//! | [`acked`] | what members have acknowledged to this leader, and who came back with less |
//! | [`owed`] | what this node has acknowledged, and does not have any more |
//! | [`handover`] | handing the leadership over, and taking it back |
//! | [`beside`] | file work beside the runtime |
//! | [`flight`] | a batch on its way through Raft, and who waits for it |
//! | [`flights`] | the batches under way, and when the next one may follow |
//! | [`gate`] | keeps entries away from Raft for which the log has no room |
//! | [`pacer`] | one clock for all ledgers of a node, in place of openraft's for each |
//! | [`purge`] | removing entries: a snapshot at the purge point, then the purge |
//! | [`vote_saves`] | what saving votes costs, and how an election is won on slow disks |
//! | [`hold`] | keeps a node that has just started out of elections |
//! | [`proposer`] | the task that turns waiting appends into batches |
//! | [`reads`] | up to where a read must have seen the log, as the leader says |
//! | [`reign`] | since when this node has been the master |
//! | [`rest`] | when the leader of an idle ledger may leave out a heartbeat |
//! | [`roles`] | the task that turns Raft's state into the broker's role |
//! | [`standing`] | whether a node hears its leader, is a member still, and for what it waits |
//! | [`group`] | all of it for one ledger, started and stopped |

pub(crate) mod acked;
pub(crate) mod beside;
pub(crate) mod config;
pub(crate) mod entry;
pub(crate) mod flight;
pub(crate) mod flights;
pub(crate) mod gate;
pub(crate) mod group;
pub(crate) mod handover;
pub(crate) mod hold;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod owed;
pub(crate) mod pacer;
pub(crate) mod proposer;
pub(crate) mod purge;
pub(crate) mod reads;
pub(crate) mod reign;
mod rest;
pub(crate) mod roles;
pub(crate) mod stamps;
pub(crate) mod standing;
pub(crate) mod state_machine;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
pub(crate) mod vote_saves;

pub(crate) use config::{Raft, Runtime, TypeConfig};
pub(crate) use openraft::Instant;
pub(crate) use openraft::impls::TokioRuntime;
