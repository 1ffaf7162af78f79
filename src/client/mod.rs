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
//! | `builder` | what a client can be told |
//! | `handle` | [`Client`]: appends, and reads from whichever node answers |
//! | `node` | [`NodeClient`]: reads from one node and no other |
//! | `admin` | what operators ask of one node |
//! | `masters` | [`Masters`]: who the master is, as that changes |
//! | `members` | the members, and changes of them |
//! | `tail` | a tail that goes on at another node when one fails |
//! | `turn` | nodes asked one after the other |
//! | `driver` | the task that owns the append stream; `session` is one such stream, `request` what travels on it |
//! | `directory` | the nodes there are, and who is master; `clusters`: of which cluster each is |
//! | `search` | finds the master; `backoff`: how soon what did not help is tried again |
//! | `connections` | what calls and streams to one node travel over |
//! | `error` | why a call failed; `tried` tells it when the time is up, by what each node last `said` |

mod admin;
mod backoff;
mod builder;
mod clusters;
mod connections;
mod directory;
mod driver;
mod error;
mod handle;
mod masters;
mod members;
mod node;
mod request;
mod said;
mod search;
mod session;
mod tail;
#[cfg(test)]
mod tests;
mod tried;
mod turn;

pub use builder::ClientBuilder;
pub use error::ClientError;
pub use handle::{Client, PendingAppend};
pub use masters::Masters;
pub use node::{NodeClient, RecordStream};
pub use tried::{Tried, Trouble};
