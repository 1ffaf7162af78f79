//! Ledgers that come and go while their node runs.

use std::io;
use std::path::PathBuf;

use super::{OpenError, StartError};
use crate::types::Group;

/// A node has no handle of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The node hosts no such ledger.
    #[error(transparent)]
    Unknown(#[from] UnknownGroup),
    /// The node is to host it, and could not open it. [`Node::status`](crate::Node::status) says the same.
    #[error("ledger {group} is closed on this node: {reason}")]
    Closed {
        /// The ledger.
        group: String,
        /// Why it could not be opened.
        reason: String,
    },
}

/// A ledger could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateLedgerError {
    /// The node hosts it already.
    #[error("this node hosts {group} already: use Node::ledger, or another name")]
    Hosted {
        /// The ledger.
        group: Group,
    },
    /// The node has been shut down.
    #[error("cannot create {group}: the node has been shut down. Start another one")]
    Stopped {
        /// The ledger.
        group: Group,
    },
    /// It cannot be opened or started. Nothing of it is left running.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The task that did it ended early: a bug, or the runtime is going down.
    #[error("creating the ledger ended before its time ({reason}): restart the node")]
    Ended {
        /// Why the task ended.
        reason: String,
    },
}

/// A ledger could not be removed, or not with everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveLedgerError {
    /// The node does not host it. Nothing was done.
    #[error(transparent)]
    Unknown(#[from] UnknownGroup),
    /// The node has been shut down, and with it the ledger. Nothing was done.
    #[error("cannot remove {group}: the node has been shut down, and hosts it no more")]
    Stopped {
        /// The ledger.
        group: String,
    },
    /// The node no longer hosts it, but could not close it cleanly. Its files were kept, whatever was asked for.
    #[error("{group} is no longer hosted, but was not closed cleanly: {source}. Its files were left as they are")]
    Close {
        /// The ledger.
        group: Group,
        /// What the operating system said.
        source: io::Error,
    },
    /// The identity in its directory is another one, cannot be read or is missing, or another process has the directory
    /// open. Nothing was deleted: delete by hand what is to go all the same. A ledger that could not be opened stays in
    /// view as it was. One that was open is closed, and no longer hosted.
    #[error("nothing of {group} was deleted: {source}")]
    NotDeleted {
        /// The ledger.
        group: Group,
        /// What is wrong with its directory.
        source: Box<OpenError>,
    },
    /// The node no longer hosts it, but could not delete all of its files.
    #[error("{group} is no longer hosted, but {} was not deleted: {source}. Delete it by hand", path.display())]
    Delete {
        /// The ledger.
        group: Group,
        /// Its directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The task that did it ended early: a bug, or the runtime is going down.
    #[error("removing the ledger ended before its time ({reason}): restart the node")]
    Ended {
        /// Why the task ended.
        reason: String,
    },
}

/// The node hosts no such group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown group {group}: this node hosts {hosted}")]
pub struct UnknownGroup {
    /// The group asked for.
    pub group: String,
    /// The groups there are.
    pub hosted: String,
}
