//! Fault tests of `dledger`: one history, one judge, four layers, and proof that the faults happened.
//!
//! `docs/testing.md` says what is tested where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot go on fails its test")]

pub mod cluster;
pub mod machine;
pub mod report;
pub mod rng;
pub mod runner;
pub mod scenario;
pub mod sim;
pub mod workload;
