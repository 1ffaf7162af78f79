//! What users hold.
//!
//! | file | what it is |
//! |---|---|
//! | [`builder`] | [`NodeBuilder`]: collects the configuration, starts the node |
//! | [`descriptors`] | how many clients the descriptors of the process leave room for |
//! | [`node`] | [`Node`]: ledgers behind one port |
//! | [`hosting`] | the ledgers of a node as they come and go |
//! | [`unopened`] | the ledgers that the node is to host and could not open |
//! | [`statuses`] | what a node knows of all its ledgers; waiting until all of them are closed |
//! | [`environment`] | the world a node lives in: the machine, or a simulation |
//! | [`start`] | starts one ledger: opens or repairs its log, starts Raft, serves peers, spawns tasks |
//! | [`closing`] | waiting until a ledger is closed |
//! | [`lock_wait`] | waits for a directory that another process is about to leave |
//! | [`repair`] | a damaged ledger back from its peers, before Raft starts |
//! | [`tasks`] | what runs beside the ledgers |
//! | [`ledger`] | [`Ledger`]: append, get, read, tail, role, status, members, retention |
//! | [`leadership`] | [`Leadership`]: the right to append in one term |
//! | [`leaderships`] | [`Leaderships`]: waiting to lead, and for whoever does |
//! | [`pending`] | [`Pending`]: an append whose outcome is awaited |
//! | [`prefetch`] | records read ahead of who takes them, no more than a bound |
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
