//! Work on the directory of a ledger that no node has open.

mod repair;

pub use repair::repair;
