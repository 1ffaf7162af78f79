//! Why a fault could not be put in place, seen, or taken away.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a fault could not be put in place, seen, or taken away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot do it: what would have been tested was not run.
    #[error("not run: {what}: {why}")]
    NotHere {
        /// What is missing.
        what: String,
        /// Why it is.
        why: String,
    },
    /// A program that does part of the work failed.
    #[error("{command}: {why}")]
    Command {
        /// As one would type it.
        command: String,
        /// Its status, and what it said.
        why: String,
    },
    /// A program that does part of the work did not end; it was killed.
    #[error("{command}: has not ended within {within:?}")]
    Late {
        /// As one would type it.
        command: String,
        /// How long it was given.
        within: Duration,
    },
    /// The operating system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Things are not as the fault needs them, or not as it left them.
    #[error("{0}")]
    State(String),
}

/// What an injector answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether this machine merely cannot do it.
    pub fn is_not_here(&self) -> bool {
        matches!(self, Self::NotHere { .. })
    }

    pub(crate) fn not_here(what: impl ToString, why: impl ToString) -> Self {
        Self::NotHere { what: what.to_string(), why: why.to_string() }
    }

    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.as_ref().to_owned(), source }
    }
}
