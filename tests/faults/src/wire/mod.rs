//! Layer B: the real gRPC, on both sides, over turmoil's network.
//!
//! What runs is what runs in production, from the log to HTTP/2 frames: the accept loop, the channels and when they are
//! given up, the heartbeat lane, replication streams, the remote [`Client`](dledger::Client). What is below is
//! simulated: the network (turmoil), the disk (`dledger_sim`), and time (tokio's, which turmoil moves on step by
//! step). All of a cluster runs on one thread.
//!
//! What turmoil's network is not: its packets carry whole writes, none is sent again when it is lost, and a handshake
//! needs none at all. So a connection that loses a packet is half open for ever, and connects over links that lose
//! packets are made to hang by `net`.
//!
//! `DLEDGER_TOLD=1` prints what the library logs, and keeps the history.
//!
//! | file | what it is |
//! |---|---|
//! | `net` | connections over turmoil's network, counted, and cut at any byte |
//! | `packets` | what became of the packets: the proof of most faults |
//! | `node` | a node: its configuration, its disk, its process while there is one |
//! | `cluster` | nodes and clients in simulated time, and their history |
//! | `actions` | what may be done to nodes, undone again, and proven |
//! | `harm` | the same for links |
//! | `load` | clients that append, read and tail, and how long that took |
//! | `outcome` | the end of every scenario: replicas, connections, the judgement |
//! | `scenarios` | what is done when |

mod actions;
mod cluster;
mod harm;
mod load;
mod net;
mod node;
mod outcome;
mod packets;
pub mod scenarios;

pub use cluster::{Cluster, now};
pub use load::{Load, Told};
pub use outcome::Outcome;
