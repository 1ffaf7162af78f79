//! Clusters in one process, for the tests of programs that embed dledger. Behind the feature `testkit`.
//!
//! A [`Cluster`] is real nodes: with directories that go with it, segments small enough to roll, and ports of their own
//! on the loopback. It adds what a test wants to do to them: kill them, start them again, cut them off from one
//! another, and wait for what must come of it. Nothing in it sleeps, and no wait is endless: a wait whose event does
//! not come says how the nodes stood ([`KitError::Late`]).
//!
//! ```toml
//! [dev-dependencies]
//! dledger = { version = "0.1", features = ["testkit"] }
//! ```
//!
//! ```
//! use dledger::ReadLimit;
//! use dledger::testkit::Cluster;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = Cluster::start(3).await?;
//! let first = cluster.wait_for_master().await?;
//! cluster.ledger(first)?.append("before").await?;
//!
//! // The master is cut off from the others: one of those takes over, and what was acknowledged is there.
//! cluster.partition(&[first])?;
//! let second = cluster.wait_for_master().await?;
//! assert_ne!(first, second);
//! assert_eq!(cluster.ledger(second)?.append("after").await?.index, 1);
//!
//! // It comes back, and gets what it missed; another one is killed, and a remote client finds the new master.
//! cluster.heal();
//! cluster.wait_committed(2).await?;
//! cluster.kill(second).await?;
//! assert_eq!(cluster.client().append("without it").await?.index, 2);
//! cluster.restart(second).await?;
//! cluster.wait_committed(3).await?;
//! assert_eq!(cluster.ledger(second)?.read(.., ReadLimit::default()).await?.len(), 3);
//! cluster.stop_all().await;
//! # Ok(())
//! # }
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `builder` | what a cluster is made of |
//! | `error` | [`KitError`]: what went wrong with the cluster of a test |
//! | `cluster` | [`Cluster`]: its nodes, and what a test does to them |
//! | `waits` | what a test waits for |
//! | `ports` | ports for its nodes, which nobody else gets meanwhile |
//! | `partition` | which nodes hear each other, and the transport that obeys it |

mod builder;
mod cluster;
mod error;
mod partition;
mod ports;
#[cfg(test)]
mod tests;
mod waits;

pub use builder::ClusterBuilder;
pub use cluster::Cluster;
pub use error::KitError;
