//! A replicated commitlog to embed.

pub mod client;
pub mod config;
pub mod error;
pub mod server;
pub mod types;

mod disk;
mod format;
mod log;
mod node;
mod pb;
mod raft;
mod rpc;
mod segment;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;

pub use client::{Client, ClientBuilder, ClientError, NodeClient, NodeStatus, PendingAppend, RecordStream};
pub use config::{Config, ConfigError, Durability};
pub use error::{AppendError, Damage, OpenError, Outcome, ReadError, StartError, UnknownGroup};
pub use node::{Ledger, Node, NodeBuilder, Pending, Tail};
pub use types::{
    Ack, BatchAck, ClusterName, Group, Incarnation, Member, MemberStatus, NodeId, Peer, Peers, PeersError, ReadLimit,
    Record, Role, Status,
};
