//! Whole clusters in one thread, on a simulated disk and network and in virtual time: a seed determines everything.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`run`], time and tasks |
//! | `cluster` | [`SimCluster`]: nodes that are started, crashed, killed, cut off |
//! | `faults` | what can go wrong with it, and what shows that it did |
//! | `view` | what a node holds, for invariants |
//! | `clock` | a wall clock that can be set |
//! | `scheduler` | flush passes that take time; file work that does not |
//! | `network` | who is up, what is cut, what becomes of each message |
//! | `transport` | calls and streams over it |
//! | [`wire`] | nodes and clients with their real gRPC, on connections that a test provides |

#![allow(clippy::expect_used, clippy::panic, reason = "a simulation that cannot go on fails its test")]

mod clock;
mod cluster;
mod faults;
mod network;
mod scheduler;
mod transport;
mod view;
pub mod wire;

use std::future::Future;
use std::time::Duration;

use openraft::{AsyncRuntime, Instant};
use openraft_rt_sim::{SimInstant, SimRuntime};

pub use cluster::SimCluster;
pub use dledger::seams::{EntryView, PointView, Rng, VoteView};
pub use faults::{Backup, DiskCall, DiskEvidence};
pub use network::{Noise, Traffic};
pub use view::NodeView;

/// Runs `scenario` in virtual time. `seed` determines all that is left to chance.
pub fn run<F: Future>(seed: u64, scenario: F) -> F::Output {
    SimRuntime::with_seed(seed).block_on(scenario)
}

/// Lets virtual time pass.
pub async fn pass(time: Duration) {
    SimRuntime::sleep(time).await;
}

/// What comes of `future`, unless that takes longer than `limit`.
pub async fn within<F: Future + Send>(limit: Duration, future: F) -> Option<F::Output>
where
    F::Output: Send,
{
    SimRuntime::timeout(limit, future).await.ok()
}

/// Virtual time since the beginning.
pub fn now() -> Duration {
    SimInstant::now().elapsed_since_start()
}

/// Runs a task beside the others. It ends with the simulation at the latest.
///
/// # Panics
/// Waiting for a task that panicked panics.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send {
    let handle = SimRuntime::spawn(task);
    async move {
        match handle.await {
            Ok(output) => output,
            Err(ended) => panic!("{ended}"),
        }
    }
}
