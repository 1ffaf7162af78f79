//! The calls of `AdminService`.

use tonic::{Request, Response, Status, async_trait};

use super::service::Service;
use crate::node::RetentionStatus;
use crate::rpc::client_wire::{failure, millis, to_status};
use crate::rpc::pb::admin_service_server::AdminService;
use crate::rpc::pb::{self, failure::Code};
use crate::types::{DiskLevel, LastRemoval, RemovalReason};

#[async_trait]
impl AdminService for Service {
    async fn retention(
        &self,
        request: Request<pb::RetentionRequest>,
    ) -> Result<Response<pb::RetentionResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        let status = ledger.retention().map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(told(status)))
    }

    async fn remove_below(
        &self,
        request: Request<pb::RemoveBelowRequest>,
    ) -> Result<Response<pb::RemoveBelowResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        // Its own task: it is not left half done because the caller does not wait.
        let removed = tokio::spawn(async move { ledger.remove_below(request.index).await }).await;
        let removed = removed.map_err(|ended| to_status(&failure(Code::Closed, ended)))?;
        let first = removed.map_err(|error| to_status(&(&error).into()))?;
        Ok(Response::new(pb::RemoveBelowResponse { first }))
    }
}

fn told(status: RetentionStatus) -> pb::RetentionResponse {
    let level = match status.level {
        None => pb::DiskLevel::Unspecified,
        Some(DiskLevel::Calm) => pb::DiskLevel::Calm,
        Some(DiskLevel::Filling) => pb::DiskLevel::Filling,
        Some(DiskLevel::Forced) => pb::DiskLevel::Forced,
        Some(DiskLevel::Refusing) => pb::DiskLevel::Refusing,
    };
    let limits = status.retention.map(|retention| pb::RetentionLimits {
        max_age_ms: retention.max_age.map(millis),
        max_bytes: retention.max_bytes,
        check: retention.check,
        force: retention.force,
        refuse: retention.refuse,
        every_ms: millis(retention.every),
    });
    pb::RetentionResponse {
        first: status.first,
        first_position: status.first_position,
        segments: status.segments,
        bytes: status.bytes,
        oldest: status.oldest,
        disk_used: status.disk_used,
        level: level.into(),
        limits,
        last: status.last.map(removal),
        problem: status.problem.unwrap_or_default(),
    }
}

fn removal(LastRemoval { at, reason, first, segments, bytes }: LastRemoval) -> pb::Removal {
    let reason = match reason {
        RemovalReason::Age => pb::RemovalReason::Age,
        RemovalReason::Size => pb::RemovalReason::Size,
        RemovalReason::DiskForced => pb::RemovalReason::Disk,
        RemovalReason::Asked => pb::RemovalReason::Asked,
    };
    pb::Removal { at, reason: reason.into(), first, segments, bytes }
}
