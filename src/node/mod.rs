//! What users hold.
//!
//! | file | what it is |
//! |---|---|
//! | [`builder`] | [`NodeBuilder`]: collects the configuration, starts the node |
//! | [`host`] | [`Node`]: ledgers behind one port |
//! | [`start`] | starts one ledger on any disk, clock and wire |
//! | [`formation`] | the first membership, by the lowest id, when all peers are empty |
//! | [`repair`] | a damaged ledger back from its peers, before Raft starts |
//! | [`scrub`] | the task that reads sealed segments, and has repaired what is found |
//! | [`ledger`] | [`Ledger`]: append, get, read, tail, role, status |
//! | [`members`] | the members, and changes of them |
//! | [`leadership`] | [`Leadership`]: the right to append in one term; handing over |
//! | [`steward`] | the task that has the leadership where it belongs |
//! | [`pending`] | [`Pending`]: an append whose outcome is awaited |
//! | [`tail`] | [`Tail`]: committed records as they come |

mod builder;
mod formation;
#[cfg(test)]
mod groups_tests;
mod host;
#[cfg(test)]
mod idle_tests;
mod leadership;
mod ledger;
mod members;
mod pending;
pub(crate) mod repair;
mod scrub;
pub(crate) mod start;
mod steward;
mod tail;
#[cfg(test)]
mod tests;

pub use builder::NodeBuilder;
pub use host::Node;
pub use leadership::Leadership;
pub use ledger::Ledger;
pub use pending::Pending;
pub use tail::Tail;
