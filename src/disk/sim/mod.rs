//! A disk in memory, for tests: it loses what was not synced, and fails the calls that a test names.
//!
//! | file | what it is |
//! |---|---|
//! | `disk` | [`SimDisk`]: a disk as one life of its machine sees it |
//! | `file` | a file: live bytes beside durable bytes |
//! | `machine` | the lives of the machine, the calls that fail, the step after which the power goes |
//! | `image` | what a power loss or the death of the process leaves |
//! | `rng` | random numbers that a seed determines, and the hash of all that happened |

#![allow(clippy::expect_used, clippy::panic, reason = "a simulation that cannot go on fails its test")]

mod disk;
mod file;
mod image;
mod machine;
mod rng;

pub use disk::SimDisk;
#[cfg(test)]
pub(super) use file::PAGE;
pub use image::Kept;
pub use machine::Op;
pub use rng::Rng;
pub use rng::Trace;
