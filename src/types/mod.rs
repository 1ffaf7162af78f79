//! The vocabulary of the crate: names, places in the log, roles. No I/O, no openraft.

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
