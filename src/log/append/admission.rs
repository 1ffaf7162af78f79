//! The answer to an entry that is to be stored.

use std::fmt;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It can be written.
    Now,
    /// Perhaps, once those before it have their places.
    Later,
    /// It cannot.
    Full(NoRoom),
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// What there is no room for, and what the system said.
    pub(crate) why: String,
    /// What is missing is not room on the disk, but a descriptor or a memory mapping for this process.
    pub(crate) process: bool,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
