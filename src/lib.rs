//! A replicated commitlog to embed.
//!
//! A [`Node`] hosts ledgers. A [`Ledger`] is one append-only log of records, replicated with Raft and kept in
//! memory-mapped segment files that are byte-identical on every replica. The program that embeds it is told by
//! [`Ledger::role`] whether it is master or slave.
//!
//! ```
//! use dledger::{Node, NodeId};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let node = Node::builder(NodeId::new(0), "127.0.0.1:0")
//!     .single() // a cluster of its own; `.peers(…)` names one of several
//!     .group("RaftNode00".parse()?)
//!     .data_dir(dir.path())
//!     .start()
//!     .await?;
//! let ledger = node.ledger("RaftNode00")?;
//!
//! let ack = ledger.append("hello").await?; // committed, and fsynced on a quorum
//! let record = ledger.get(ack.index).await?;
//! assert_eq!((record.index, record.position, &record.body[..]), (0, ack.position, &b"hello"[..]));
//! assert!(ledger.role().borrow().is_master());
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`server::serve`] starts a node that also answers remote clients; [`Client`] is such a client: it finds the master
//! and follows it. [`Durability`] says what an ack means. [`AppendError::outcome`] and [`ClientError::outcome`] tell
//! appends that are not in the log from those that may be. What is never done, what is not there yet, and the command
//! `dledger` are in the README.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | ledger | one replicated log, named by its [`Group`] |
//! | record | opaque bytes; never split, never merged |
//! | index | number of a record: 0, 1, 2 … without holes |
//! | position | byte offset of a record in the ledger's address space; equal on every replica |
//! | committed | index after the last record known to be on a quorum; no reader sees at or past it |
//! | durable | index after the last record fsynced on this node |
//! | first, end | lowest index still stored; index after the last stored record |
//!
//! `first ≤ committed ≤ end` and `durable ≤ end` always hold; `committed ≤ durable` need not, on one node.
//!
//! # Further
//!
//! `docs/architecture.md` has the layers and the way of a record through the source; `docs/` has the format, the wire,
//! durability and operations, with their reasons.

pub mod client;
pub mod config;
pub mod error;
pub mod offline;
pub mod server;
pub mod types;

mod disk;
mod format;
mod log;
mod node;
mod peer;
mod raft;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod seams;
mod segment;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transport;
mod wire;

pub use client::{
    Client, ClientBuilder, ClientError, Masters, NodeClient, NodeProblem, PendingAppend, RecordStream, TriedNode,
};
pub use config::{Config, ConfigError, Durability, RepairPolicy, Retention, Scrub};
pub use disk::limits::OpenFileLimit;
pub use error::{
    AppendError, CreateLedgerError, Damage, LedgerError, MemberError, Mismatch, NoMasterError, OpenError, Outcome,
    ReadError, RemoveError, RemoveLedgerError, RepairError, StartError, UnknownGroup,
};
pub use node::{Leadership, Leaderships, Ledger, Node, NodeBuilder, Pending, ReadStream, RetentionStatus, Tail};
pub use types::{
    Ack, BatchAck, ClosedKind, ClusterName, Consistency, ConsistencyError, DiskLevel, Group, Incarnation, LastRemoval,
    LedgerFiles, Master, Member, MemberProgress, MemberStatus, NodeId, Peer, Peers, PeersError, ReadLimit, Record,
    RemovalReason, RepairReport, Repaired, RepairedRange, Role, ScrubStatus, Status,
};

/// The code in the README is compiled, and run unless it says otherwise.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
