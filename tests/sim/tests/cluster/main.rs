//! Laws of whole clusters, on a simulated disk and network: one file, one concern.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod clock;
mod election;
mod full_disk;
mod leader_placement;
mod lease;
mod mending;
mod reads;
mod repair;
mod replication;
mod retention;
mod rolling;
mod safety;
mod timing;
mod waiting;
