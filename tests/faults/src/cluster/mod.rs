//! Three to five `dledger serve` processes.
//!
//! | file | what it is |
//! |---|---|
//! | `binary` | which `dledger` is tested |
//! | `node` | [`Node`]: one process after the other on one directory |
//! | `group` | [`Cluster`]: all of them, and what they say of themselves |
//! | `final_read` | what every replica holds in the end |

pub mod binary;
mod final_read;
mod group;
mod node;

pub(crate) use final_read::item;
pub(crate) use group::leader_of;
pub use group::{Cluster, Settings};
pub use node::{Launch, Node, Place};
