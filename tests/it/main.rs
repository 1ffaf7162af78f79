//! The library's scenarios, through its public API and its command: one program, because every one more is linked anew
//! after each change.
//!
//! A module is a concern. Their tests run side by side in this process, so none may change what belongs to all of it
//! (environment, working directory, limits, panic hook): a test that needs that runs a process of its own, as
//! `disk_full` does. `tests/idle.rs` stays apart because it measures its process, and `tests/examples.rs` because it
//! needs the examples built.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

mod command;
mod disk_full;
mod docs;
mod embedding;
mod ending;
mod failover;
mod formation;
mod groups;
mod leadership;
mod ledger;
mod limits;
mod log_tools;
mod logs;
mod members;
mod names;
mod operator;
mod oversized;
mod reads;
mod recycling;
mod refusals;
mod repair;
mod retention;
mod watch;
