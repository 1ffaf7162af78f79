//! The calls of `AdminService`.

use std::time::Duration;

use tonic::{Request, Response, Status, async_trait};

use super::service::ClientService;
use crate::node::{Ledger, RetentionStatus};
use crate::types::{DiskLevel, LastRemoval, Member, NodeId, RemovalReason};
use crate::wire::client::{failure, millis, to_status};
use crate::wire::pb::admin_service_server::AdminService;
use crate::wire::pb::{self, failure::Code};

/// Makes the change that the client asks for. Returns the member that it made, if any.
async fn change(ledger: &Ledger, request: pb::ChangeMembersRequest) -> Result<Option<Member>, pb::Failure> {
    use pb::change_members_request::Change;
    let wait = Duration::from_millis(request.wait_ms);
    let named = |id: &str| id.parse::<NodeId>().map_err(|error| failure(Code::Malformed, error));
    let happened = match request.change {
        None => return Err(failure(Code::Malformed, "no change is named: set `change`")),
        Some(Change::AddLearner(address)) => ledger.add_learner(&address).await.map(Some),
        Some(Change::Promote(id)) => ledger.promote(&named(&id)?, wait).await.map(|()| None),
        Some(Change::Remove(id)) => ledger.remove_member(&named(&id)?).await.map(|()| None),
        Some(Change::Replace(pb::MemberAt { id, address })) => {
            ledger.replace_member(&named(&id)?, &address, wait).await.map(Some)
        }
        Some(Change::Move(pb::MemberAt { id, address })) => {
            ledger.move_member(&named(&id)?, &address).await.map(|()| None)
        }
        Some(Change::Transfer(id)) => ledger.transfer_leadership(&named(&id)?).await.map(|()| None),
    };
    happened.map_err(|error| (&error).into())
}

#[async_trait]
impl AdminService for ClientService {
    async fn members(&self, request: Request<pb::MembersRequest>) -> Result<Response<pb::MembersResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        let members = ledger.members().into_iter().map(Into::into).collect();
        Ok(Response::new(pb::MembersResponse { members }))
    }

    async fn change_members(
        &self,
        request: Request<pb::ChangeMembersRequest>,
    ) -> Result<Response<pb::ChangeMembersResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        // On a task of its own, so that a caller that does not wait leaves nothing half done.
        let changed = tokio::spawn(async move { change(&ledger, request).await }).await;
        let changed = changed.map_err(|ended| to_status(&failure(Code::Closed, ended)))?;
        let answer = changed.map_err(|failure| to_status(&failure))?.map(Into::into).unwrap_or_default();
        Ok(Response::new(answer))
    }

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
        // On a task of its own, so that a caller that does not wait leaves nothing half done.
        let removed = tokio::spawn(async move { ledger.remove_below(request.index).await }).await;
        let removed = removed.map_err(|ended| to_status(&failure(Code::Closed, ended)))?;
        let first = removed.map_err(|error| to_status(&(&error).into()))?;
        Ok(Response::new(pb::RemoveBelowResponse { first }))
    }

    async fn ledgers(&self, request: Request<pb::LedgersRequest>) -> Result<Response<pb::LedgersResponse>, Status> {
        let statuses = self.statuses(&request.into_inner().cluster).map_err(|failure| to_status(&failure))?;
        let ledgers = statuses.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::LedgersResponse { node: self.id().to_string(), ledgers }))
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
