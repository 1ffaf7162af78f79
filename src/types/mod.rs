//! The vocabulary of the crate: names, places in the log, roles. No I/O, no openraft.
//!
//! | file | what it has words for |
//! |---|---|
//! | `identity` | who takes part: clusters, groups, nodes, disks |
//! | `address`, `peers` | `host:port`; the peer list and its two spellings |
//! | `record`, `range` | records and their places in the log; ranges of indexes, as a caller writes them |
//! | `consistency` | how much a read promises to see |
//! | `role` | the broker role that follows from the Raft role |
//! | `status` | one ledger on one node |
//! | `retention`, `repair`, `files` | how full a disk is, why records went; what was repaired; what becomes of files |
//! | `span` | durations in words |

mod address;
mod consistency;
mod files;
mod identity;
mod peers;
mod range;
mod record;
mod repair;
mod retention;
mod role;
mod span;
mod status;

pub(crate) use address::{checked_address, checked_bind};
pub use consistency::{Consistency, ConsistencyError};
pub use files::LedgerFiles;
pub use identity::{ClusterName, Group, Incarnation, Member, NameError, NodeId};
pub use peers::{Peer, Peers, PeersError};
pub(crate) use range::OpenRange;
pub use record::{Ack, BatchAck, RECORD_OVERHEAD, ReadLimit, Record};
pub use repair::{RepairReport, Repaired, RepairedRange};
pub use retention::{DiskLevel, LastRemoval, RemovalReason};
pub use role::{ClosedKind, Master, Role};
pub(crate) use span::Span;
pub use status::{MemberProgress, MemberStatus, ScrubStatus, Status};
