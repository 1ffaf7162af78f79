//! What users hold.
//!
//! | file | what it is |
//! |---|---|
//! | [`builder`] | [`NodeBuilder`]: collects the configuration, starts the node |
//! | [`descriptors`] | how many clients the descriptors of the process leave room for |
//! | [`host`] | [`Node`]: ledgers behind one port |
//! | [`closed`] | the ledgers that are to be hosted and could not be opened; waiting until all are closed |
//! | [`start`] | starts one ledger on any disk, clock and wire |
//! | [`lock_wait`] | waits for a directory that another process is about to leave |
//! | [`reopen`] | the task that opens ledgers whose directory another process had open |
//! | [`formation`] | the first membership, by the lowest id, when all peers are empty |
//! | [`waiting`] | the task that forms the cluster, and says why there is no master |
//! | [`repair`] | a damaged ledger back from its peers, before Raft starts |
//! | [`scrub`] | the task that reads sealed segments, and has repaired what is found |
//! | [`retention`] | [`RetentionStatus`]; the task that removes old segments, and removing by hand |
//! | [`rolling`] | has the segment end whose records have their age, if the members can follow |
//! | [`ledger`] | [`Ledger`]: append, get, read, tail, role |
//! | [`status`] | what a ledger is at one moment |
//! | [`barrier`] | waits until this node has all that a read must see |
//! | [`members`] | the members, and changes of them |
//! | [`leadership`] | [`Leadership`]: the right to append in one term; handing over |
//! | [`leaderships`] | [`Leaderships`]: waiting to lead, and for whoever does |
//! | [`timekeeper`] | the task that asks the others what time it is, when a leader's clock is doubted |
//! | [`steward`] | the task that has the leadership where it belongs |
//! | [`pending`] | [`Pending`]: an append whose outcome is awaited |
//! | [`ahead`] | records read ahead of who takes them, no more than a bound |
//! | [`read_stream`] | [`ReadStream`]: a range of committed records, a bounded part at a time |
//! | [`tail`] | [`Tail`]: committed records as they come |

mod ahead;
mod barrier;
pub(crate) mod builder;
mod closed;
mod descriptors;
mod disk_watch;
mod formation;
#[cfg(test)]
mod groups_tests;
mod host;
#[cfg(test)]
mod idle_tests;
mod leadership;
mod leaderships;
mod ledger;
mod lock_wait;
mod members;
#[cfg(test)]
mod opening_tests;
mod pending;
mod read_stream;
mod reopen;
pub(crate) mod repair;
mod retention;
mod rolling;
mod scrub;
pub(crate) mod start;
mod status;
mod steward;
mod tail;
#[cfg(test)]
mod tests;
mod timekeeper;
mod waiting;

pub use builder::NodeBuilder;
pub use host::Node;
pub use leadership::Leadership;
pub use leaderships::Leaderships;
pub use ledger::Ledger;
pub use pending::Pending;
pub use read_stream::ReadStream;
pub use retention::RetentionStatus;
pub use tail::Tail;
