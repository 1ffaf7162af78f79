//! The judge of histories: each law is found broken where it is, and nowhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod build;
mod laws;
mod nodes;
mod random;
mod speed;
mod time;
mod validity;
mod world;
