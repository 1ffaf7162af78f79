//! A client for clusters that run elsewhere: finds the master and follows it.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use dledger::Client;
//!
//! let peers = "n0=10.0.0.1:40911;n1=10.0.0.2:40911;n2=10.0.0.3:40911".parse()?;
//! let client = Client::builder(peers, "orders".parse()?).build();
//! let ack = client.append("hello").await?;
//! let record = client.get(ack.index).await?;
//! assert_eq!(record.body, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `client` | [`Client`]: appends, and reads from whichever node answers |
//! | `builder`, `settings` | what a client can be told, and what all its parts go by |
//! | `node` | [`NodeClient`]: reads from one node and no other |
//! | `admin` | what operators ask of one node |
//! | `masters` | [`Masters`]: who the master is, as that changes |
//! | `members` | the members, and changes of them |
//! | `tail` | a tail that goes on at another node when one fails |
//! | `try_each` | nodes asked one after the other |
//! | `backoff` | how soon what did not help is tried again |
//! | `append` | the append stream: the task that owns it, its sessions, its queue |
//! | `cluster` | the nodes there are, and who is master |
//! | `error` | why a call failed |

mod admin;
mod append;
mod backoff;
mod builder;
#[expect(clippy::module_inception, reason = "`Client` is looked for in client/client.rs")]
mod client;
mod cluster;
mod error;
mod masters;
mod members;
mod node;
mod settings;
mod tail;
#[cfg(test)]
mod tests;
mod try_each;

pub use builder::ClientBuilder;
pub use client::{Client, PendingAppend};
pub use error::ClientError;
pub use error::tried::{NodeProblem, TriedNode};
pub use masters::Masters;
pub use node::{NodeClient, RecordStream};
