//! What retention has left of a ledger on this node, and removing by hand.

use super::Ledger;
use crate::config::Retention;
use crate::error::RemoveError;
use crate::types::{DiskLevel, LastRemoval};

/// What retention has left on a node, and may take.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionStatus {
    /// Lowest index still stored.
    pub first: u64,
    /// Position of the first entry still stored.
    pub first_position: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of the segment files; the active one counts with its whole file.
    pub bytes: u64,
    /// Timestamp of the first entry still stored, milliseconds since 1970; none if there is none, or it is damaged.
    pub oldest: Option<u64>,
    /// Part of the disk that is in use, once the system has freed what was removed.
    pub disk_used: f64,
    /// Which configured line that has crossed; none if no retention is configured.
    pub level: Option<DiskLevel>,
    /// The configuration, if there is one.
    pub retention: Option<Retention>,
    /// The last removal since the node started.
    pub last: Option<LastRemoval>,
    /// Why the newest attempt to remove something failed, if it did. Or else why records do not age by the clock: it
    /// has jumped ahead, or they are stamped in the future. Or why the master cannot end a segment whose records are
    /// old enough to go.
    pub problem: Option<String>,
}

impl Ledger {
    /// What retention has left on this node, and may take.
    ///
    /// # Errors
    /// The system does not say how full the disk is.
    pub fn retention(&self) -> std::io::Result<RetentionStatus> {
        let replica = self.replica();
        let retention = self.inner.retention;
        let stock = replica.log.stock(&retention.unwrap_or_default())?;
        let outcome = replica.raft.removal_outcome();
        Ok(RetentionStatus {
            first: replica.log.progress().first(),
            first_position: stock.first_position,
            segments: stock.segments,
            bytes: stock.bytes,
            oldest: stock.oldest,
            disk_used: stock.used,
            level: retention.map(|_| stock.level),
            retention,
            last: outcome.last,
            problem: outcome.problem.or_else(|| replica.retention_problems.first()),
        })
    }

    /// Removes the whole segments on this node whose records all lie below `index`, and returns the lowest index that
    /// is stored then: at most `index`, and less where a segment has records above it too. Other nodes keep theirs.
    ///
    /// Readers below it get [`ReadError::Removed`](crate::ReadError::Removed) from then on; records that they hold stay
    /// valid. A node that was away and still needs what is gone begins where this one does.
    ///
    /// # Errors
    /// `index` is above what this node knows to be committed, or the removal cannot be done now.
    pub async fn remove_below(&self, index: u64) -> Result<u64, RemoveError> {
        if let Some(reason) = self.role().borrow().final_reason() {
            return Err(RemoveError::Closed { reason: reason.to_owned() });
        }
        let replica = self.replica();
        let committed = replica.log.progress().committed();
        if index > committed {
            return Err(RemoveError::NotCommitted { index, committed });
        }
        if let Some(removal) = replica.log.below(index) {
            replica.raft.remove(removal).await?;
        }
        Ok(replica.log.progress().first())
    }
}
