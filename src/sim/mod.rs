//! Whole clusters in one thread, on a simulated disk and network and in virtual time: a seed determines everything.
//!
//! | file | what it is |
//! |---|---|
//! | [`disk`], [`file`] | a disk that loses what was not synced |
//! | [`rng`] | random numbers, and the hash of all that happened |

#![allow(clippy::expect_used, clippy::panic, reason = "a simulation that cannot go on fails its test")]

mod disk;
mod file;
mod rng;

#[cfg(test)]
mod disk_tests;
