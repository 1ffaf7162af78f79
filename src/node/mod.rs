//! What users hold.
//!
//! | file | what it is |
//! |---|---|
//! | [`builder`] | [`NodeBuilder`]: collects the configuration, starts the node |
//! | [`descriptors`] | how many clients the descriptors of the process leave room for |
//! | [`node`] | [`Node`]: ledgers behind one port |
//! | [`unopened`] | the ledgers that are to be hosted and could not be opened; waiting until all are closed |
//! | [`start`] | starts one ledger on any disk, clock and wire |
//! | [`lock_wait`] | waits for a directory that another process is about to leave |
//! | [`repair`] | a damaged ledger back from its peers, before Raft starts |
//! | [`tasks`] | what runs beside the ledgers |
//! | [`ledger`] | [`Ledger`]: append, get, read, tail, role, status, members |
//! | [`leadership`] | [`Leadership`]: the right to append in one term; handing over |
//! | [`leaderships`] | [`Leaderships`]: waiting to lead, and for whoever does |
//! | [`pending`] | [`Pending`]: an append whose outcome is awaited |
//! | [`prefetch`] | records read ahead of who takes them, no more than a bound |
//! | [`read_stream`] | [`ReadStream`]: a range of committed records, a bounded part at a time |
//! | [`tail`] | [`Tail`]: committed records as they come |

pub(crate) mod builder;
mod descriptors;
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
mod tail;
mod tasks;
#[cfg(test)]
mod tests;
mod unopened;

pub use builder::NodeBuilder;
pub use leadership::Leadership;
pub use leaderships::Leaderships;
pub use ledger::Ledger;
pub use node::Node;
pub use pending::Pending;
pub use read_stream::ReadStream;
pub use tail::Tail;
pub use tasks::retainer::RetentionStatus;
