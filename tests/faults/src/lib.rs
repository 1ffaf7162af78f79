//! Fault tests of `dledger`: one history, one judge, four layers, and proof that the faults happened.
//!
//! `docs/testing.md` says what is tested where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot go on fails its test")]

#[cfg(target_os = "linux")]
pub mod cluster;
#[cfg(target_os = "linux")]
pub mod machine;
pub mod mutants;
pub mod report;
#[cfg(target_os = "linux")]
pub mod rng;
#[cfg(target_os = "linux")]
pub mod runner;
#[cfg(target_os = "linux")]
pub mod scenario;
pub mod sim;
pub mod wire;
#[cfg(target_os = "linux")]
pub mod workload;
