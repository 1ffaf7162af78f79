//! A directory that could not be opened.

use std::io;
use std::path::PathBuf;

use super::{Damage, Mismatch};

/// A ledger's directory could not be opened. Nothing of the log was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another node of this one, has it open.
    #[error("{} is in use by {}: stop it, or use another directory", dir.display(), user(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process, if the operating system tells, which it does not for another container or machine.
        pid: Option<u32>,
    },
    /// The directory was made for another cluster, group or node, or with another segment size.
    #[error(
        "{} belongs to {} {}, not {}: use its own directory, or correct the configuration",
        dir.display(),
        mismatch.what,
        mismatch.found,
        mismatch.expected
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Cluster, group, node or segment size: as the directory says, and as the configuration says.
        mismatch: Mismatch,
    },
    /// The directory has a format version this program does not know.
    #[error(
        "{} has format version {found}, this program reads {supported}: use a program that knows it",
        file.display()
    )]
    Version {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// Something is there that this crate did not put there.
    #[error("{} is not part of a ledger ({why}): remove it, or use another directory", path.display())]
    Unexpected {
        /// The path.
        path: PathBuf,
        /// Why it does not belong.
        why: String,
    },
    /// Stored bytes are damaged where they may be committed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The operating system failed a call.
    #[error("cannot {op} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// The call, as a verb.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What to do about an error of the operating system.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => ". Run it as the user the directory belongs to",
        io::ErrorKind::ReadOnlyFilesystem => ". Mount it so that it can be written to, or work on a copy",
        io::ErrorKind::NotFound => ". Check the path",
        _ => "",
    }
}

/// The process that has a directory open, in words.
pub(crate) fn user(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => "this process (a Node of it still runs, or was not shut down)".into(),
        Some(pid) => format!("another process (pid {pid})"),
        None => "another process".into(),
    }
}
