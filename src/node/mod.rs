//! What users hold.
//!
//! | file | what it is |
//! |---|---|
//! | [`builder`] | [`NodeBuilder`]: collects the configuration, starts the node |
//! | [`descriptors`] | how many clients the process has file descriptors for |
//! | [`node`] | [`Node`]: ledgers behind one port |
//! | [`hosting`] | the ledgers of a node as they come and go |
//! | [`unopened`] | the ledgers that the node is to host and could not open |
//! | [`statuses`] | what a node knows of all its ledgers; waiting until all of them are closed |
//! | [`environment`] | the world a node lives in: the machine, or a simulation |
//! | [`start`] | starts one ledger: opens or repairs its log, starts Raft, serves peers, spawns tasks |
//! | [`closing`] | waiting until a ledger is closed |
//! | [`lock_wait`] | waits for a directory that another process is about to free |
//! | [`repair`] | repairs a damaged ledger from its peers: a closed one, or one segment of an open one |
//! | [`tasks`] | what runs beside the ledgers |
//! | [`ledger`] | [`Ledger`]: append, get, read, tail, role, status, members, retention |
//! | [`leadership`] | [`Leadership`]: the right to append in one term |
//! | [`leaderships`] | [`Leaderships`]: the leaderships of this node as they begin; waiting for a master |
//! | [`pending`] | [`Pending`]: an append that is under way |
//! | [`prefetch`] | a bounded number of records read ahead of their reader |
//! | [`read_stream`] | [`ReadStream`]: a range of committed records, a bounded part at a time |
//! | [`tail`] | [`Tail`]: committed records as they come |

pub(crate) mod builder;
mod closing;
mod descriptors;
pub(crate) mod environment;
mod hosting;
mod leadership;
mod leaderships;
mod ledger;
mod lock_wait;
#[expect(clippy::module_inception, reason = "`Node` is where its name says")]
mod node;
mod pending;
mod prefetch;
mod read_stream;
pub(crate) mod repair;
pub(crate) mod start;
mod statuses;
mod tail;
mod tasks;
#[cfg(test)]
mod tests;
mod unopened;

pub use builder::NodeBuilder;
pub use leadership::Leadership;
pub use leaderships::Leaderships;
pub use ledger::{Ledger, RetentionStatus};
pub use node::Node;
pub use pending::Pending;
pub use read_stream::ReadStream;
pub use tail::Tail;
