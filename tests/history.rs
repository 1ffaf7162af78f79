//! The judge of histories: each law is found broken where it is, and nowhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

#[path = "history/build.rs"]
mod build;
#[path = "history/laws.rs"]
mod laws;
#[path = "history/nodes.rs"]
mod nodes;
#[path = "history/random.rs"]
mod random;
#[path = "history/speed.rs"]
mod speed;
#[path = "history/time.rs"]
mod time;
#[path = "history/validity.rs"]
mod validity;
#[path = "history/world.rs"]
mod world;
