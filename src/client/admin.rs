//! What operators ask of one node.

use std::time::Duration;

use crate::client::error::ClientError;
use crate::client::node::NodeClient;
use crate::config::Retention;
use crate::node::RetentionStatus;
use crate::types::{DiskLevel, LastRemoval, NodeId, RemovalReason, Status};
use crate::wire::pb;

impl NodeClient {
    /// What retention has left on the node, and may take.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::UnknownGroup`], [`ClientError::WrongCluster`], [`ClientError::Closed`].
    pub async fn retention(&self) -> Result<RetentionStatus, ClientError> {
        let request = pb::RetentionRequest { cluster: self.topology().cluster(), group: self.topology().group() };
        let mut service = self.topology().admin(self.address())?;
        let answer = self.answer(service.retention(request)).await?.into_inner();
        status(answer).map_err(|what| self.malformed(what))
    }

    /// The node's id, and what it knows of every ledger that it is to host, whatever ledger this client is for: also of
    /// one that it could not open, which is `closed`, with the reason, and has no figures.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::WrongCluster`].
    pub async fn ledgers(&self) -> Result<(NodeId, Vec<Status>), ClientError> {
        let request = pb::LedgersRequest { cluster: self.topology().cluster() };
        let mut service = self.topology().admin(self.address())?;
        let pb::LedgersResponse { node, ledgers } = self.answer(service.ledgers(request)).await?.into_inner();
        let node = node.parse::<NodeId>().map_err(|error| self.malformed(error.to_string()))?;
        let ledgers = ledgers.into_iter().map(Status::try_from).collect::<Result<_, _>>();
        Ok((node, ledgers.map_err(|what| self.malformed(what))?))
    }

    /// Removes the whole segments on the node whose records all lie below `index`; see
    /// [`Ledger::remove_below`](crate::Ledger::remove_below). Returns the lowest index that is stored there now.
    ///
    /// # Errors
    /// [`ClientError::NotYet`] if the node does not know `index` to be the end of what is committed, or below;
    /// [`ClientError::Busy`] if what is to go is in use, [`ClientError::Damaged`], and those of
    /// [`NodeClient::retention`]. After [`ClientError::Broken`] it may yet be done.
    pub async fn remove_below(&self, index: u64) -> Result<u64, ClientError> {
        let (cluster, group) = (self.topology().cluster(), self.topology().group());
        let mut service = self.topology().admin(self.address())?;
        let removed = self.answer(service.remove_below(pb::RemoveBelowRequest { cluster, group, index }));
        Ok(removed.await?.into_inner().first)
    }
}

/// The reverse of what the server does.
fn status(answer: pb::RetentionResponse) -> Result<RetentionStatus, String> {
    let level = match answer.level() {
        pb::DiskLevel::Unspecified => None,
        pb::DiskLevel::Calm => Some(DiskLevel::Calm),
        pb::DiskLevel::Filling => Some(DiskLevel::Filling),
        pb::DiskLevel::Forced => Some(DiskLevel::Forced),
        pb::DiskLevel::Refusing => Some(DiskLevel::Refusing),
    };
    let retention = answer.limits.map(|limits| Retention {
        max_age: limits.max_age_ms.map(Duration::from_millis),
        max_bytes: limits.max_bytes,
        check: limits.check,
        force: limits.force,
        refuse: limits.refuse,
        every: Duration::from_millis(limits.every_ms),
    });
    Ok(RetentionStatus {
        first: answer.first,
        first_position: answer.first_position,
        segments: answer.segments,
        bytes: answer.bytes,
        oldest: answer.oldest,
        disk_used: answer.disk_used,
        level,
        retention,
        last: answer.last.map(removal).transpose()?,
        problem: Some(answer.problem).filter(|problem| !problem.is_empty()),
    })
}

fn removal(removal: pb::Removal) -> Result<LastRemoval, String> {
    let reason = match removal.reason() {
        pb::RemovalReason::Age => RemovalReason::Age,
        pb::RemovalReason::Size => RemovalReason::Size,
        pb::RemovalReason::Disk => RemovalReason::DiskForced,
        pb::RemovalReason::Asked => RemovalReason::Asked,
        pb::RemovalReason::Unspecified => return Err(format!("removal reason {}", removal.reason)),
    };
    let pb::Removal { at, first, segments, bytes, .. } = removal;
    Ok(LastRemoval { at, reason, first, segments, bytes })
}
