//! [`Admission`]: whether there is room for a batch that a client wants stored.

use std::fmt;

/// Whether a batch can be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There is room for it.
    Now,
    /// Perhaps there is room once the batches before it have their places.
    Later,
    /// There is no room for it.
    Full(NoRoom),
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// What there is no room for, and what the system said.
    pub(crate) why: String,
    /// The process lacks a descriptor or a memory mapping, and not the disk room.
    pub(crate) process: bool,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
