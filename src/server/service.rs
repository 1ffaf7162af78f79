//! The calls of `LedgerService`.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};

use super::append_reader::{AdmittedAppend, AppendReader};
use super::append_stream::{AppendAnswers, appended};
use super::endpoint::{LedgerEndpoint, SMALL_CALL};
use super::read;
use crate::error::AppendError;
use crate::node::{Ledger, Node, Pending};
use crate::types::Role;
use crate::wire::client::{consistency as to_consistency, failure, to_status, wrong_cluster};
use crate::wire::pb::admin_service_server::AdminServiceServer;
use crate::wire::pb::ledger_service_server::LedgerService;
use crate::wire::pb::{self, failure::Code};

/// The service as the node's port takes it.
pub(super) fn routes(node: &Node) -> tonic::service::Routes {
    let service = ClientService { node: node.own_handle() };
    let admin = AdminServiceServer::new(service.clone()).max_decoding_message_size(SMALL_CALL);
    tonic::service::Routes::new(LedgerEndpoint::new(service, node.config())).add_service(admin)
}

/// Answers clients from the ledgers of one node.
#[derive(Clone)]
pub(super) struct ClientService {
    node: Node,
}

impl ClientService {
    fn check_cluster(&self, cluster: &str) -> Result<(), pb::Failure> {
        match cluster.is_empty() || cluster == self.node.cluster().as_str() {
            true => Ok(()),
            false => Err(wrong_cluster(cluster, self.node.cluster())),
        }
    }

    fn ledger(&self, cluster: &str, group: &str) -> Result<Ledger, pb::Failure> {
        self.check_cluster(cluster)?;
        self.node.ledger(group).map_err(|unknown| (&unknown).into())
    }

    /// Answers the only request of a call.
    pub(super) async fn answer(self, mut requests: AppendReader) -> Result<pb::AppendRecordsResponse, Status> {
        let none = || to_status(&failure(Code::Malformed, "the call has no request: send one"));
        let AdmittedAppend { request, room, since } = requests.next().await.ok_or_else(none)??;
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        let (id, default) = (request.id, self.node.config().append_timeout);
        let pending = submit(&ledger, request, since, default).await.map_err(|failure| to_status(&failure))?;
        // The bytes are in the ledger's budget from here on.
        drop((room, requests));
        let ack = pending.await.map_err(|error| to_status(&(&error).into()))?;
        Ok(appended(id, ack))
    }

    /// Answers the requests of an append stream.
    pub(super) fn answers(
        self,
        requests: AppendReader,
    ) -> impl Stream<Item = Result<pb::AppendRecordsResponse, Status>> + Send + 'static {
        let roles = self.node.ledgers().iter().map(Ledger::role).collect();
        let default = self.node.config().append_timeout;
        // The ledger of the requests so far: only the first request need name it.
        let mut named: Option<Ledger> = None;
        let take = move |AdmittedAppend { request, room, since }: AdmittedAppend| {
            let found = match &named {
                Some(ledger) if request.group.is_empty() || request.group == ledger.group().as_str() => {
                    Ok(ledger.clone())
                }
                None if request.group.is_empty() => {
                    Err(failure(Code::Malformed, "the first request of the stream names no group: set `group`"))
                }
                _ => self.ledger(&request.cluster, &request.group),
            };
            if let Ok(ledger) = &found {
                named = Some(ledger.clone());
            }
            async move {
                let pending = submit(&found?, request, since, default).await?;
                // The bytes are in the ledger's budget from here on.
                drop(room);
                Ok(pending.map(|done| done.map_err(|error| pb::Failure::from(&error))))
            }
        };
        AppendAnswers::new(requests, take, closed(roles))
    }

    pub(super) fn id(&self) -> &crate::types::NodeId {
        self.node.id()
    }

    /// What the node knows of a ledger, also if it could not be opened.
    fn status_of(&self, cluster: &str, group: &str) -> Result<crate::types::Status, pb::Failure> {
        self.check_cluster(cluster)?;
        self.node.status(group).map_err(|error| (&error).into())
    }

    /// What the node knows of all its ledgers.
    pub(super) fn statuses(&self, cluster: &str) -> Result<Vec<crate::types::Status>, pb::Failure> {
        self.check_cluster(cluster)?;
        Ok(self.node.statuses())
    }

    pub(super) fn ledger_or_status(&self, cluster: &str, group: &str) -> Result<Ledger, Status> {
        self.ledger(cluster, group).map_err(|failure| to_status(&failure))
    }
}

/// The answer of a server whose appends no [`LedgerEndpoint`] reads.
fn unread() -> Status {
    Status::unimplemented("appends are not served here")
}

/// The time that a client gives the node; `None`: the node's default.
fn timeout(millis: u64) -> Option<Duration> {
    (millis != 0).then(|| Duration::from_millis(millis))
}

/// Waits until the node has what a read of this consistency must see.
async fn barrier(ledger: &Ledger, consistency: i32, timeout_ms: u64) -> Result<(), Status> {
    let consistency = to_consistency(consistency).map_err(|failure| to_status(&failure))?;
    let passed = match timeout(timeout_ms) {
        Some(timeout) => ledger.barrier_within(consistency, timeout).await,
        None => ledger.barrier(consistency).await,
    };
    passed.map(drop).map_err(|error| to_status(&(&error).into()))
}

/// Hands the records of a request to the ledger, with what is left of the request's time, or of `default`, since its
/// first bytes came at `since`.
async fn submit(
    ledger: &Ledger,
    request: pb::AppendRecordsRequest,
    since: Instant,
    default: Duration,
) -> Result<Pending, pb::Failure> {
    let given = timeout(request.timeout_ms).unwrap_or(default);
    let left = given.saturating_sub(since.elapsed());
    // This node is not the master of a term that it has not heard of: the client must ask the others.
    if request.term.is_some_and(|term| ledger.role().borrow().term().is_some_and(|now| now < term)) {
        return Err((&AppendError::NotMaster { master: None }).into());
    }
    ledger.appender(request.term).submit(request.records, Some(left)).await.map_err(|error| (&error).into())
}

/// Waits until all ledgers are closed, as they are when the node shuts down.
async fn closed(roles: Vec<watch::Receiver<Role>>) -> pb::Failure {
    let mut reason = "the node is shutting down".to_owned();
    for mut role in roles {
        // An error: the role task is gone, and the ledger with it.
        if let Ok(role) = role.wait_for(Role::is_final).await
            && let Some(why) = role.final_reason()
        {
            reason = why.to_owned();
        }
    }
    (&AppendError::Closed { reason }).into()
}

#[async_trait]
impl LedgerService for ClientService {
    // [`LedgerEndpoint`] answers appends before they come here.
    async fn append(
        &self,
        _: Request<pb::AppendRecordsRequest>,
    ) -> Result<Response<pb::AppendRecordsResponse>, Status> {
        Err(unread())
    }

    type AppendStreamStream = BoxStream<'static, Result<pb::AppendRecordsResponse, Status>>;

    async fn append_stream(
        &self,
        _: Request<tonic::Streaming<pb::AppendRecordsRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        Err(unread())
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        barrier(&ledger, request.consistency, request.timeout_ms).await?;
        let record = match request.position {
            Some(position) => ledger.get_at_position(position).await,
            None => ledger.get(request.index).await,
        };
        let record = record.map_err(|error| to_status(&(&error).into()))?;
        Ok(Response::new(pb::GetResponse { record: Some(record.into()) }))
    }

    type ReadStream = BoxStream<'static, Result<pb::RecordBatch, Status>>;

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        barrier(&ledger, request.consistency, request.timeout_ms).await?;
        let batches = read::range(ledger, &request).map_err(|error| to_status(&(&error).into()))?;
        Ok(Response::new(batches))
    }

    type TailStream = BoxStream<'static, Result<pb::RecordBatch, Status>>;

    async fn tail(&self, request: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        let batches =
            read::RecordBatches::new(read::with_close_reason(ledger.tail(request.from), ledger.role()).boxed()).boxed();
        Ok(Response::new(match timeout(request.master_timeout_ms) {
            Some(timeout) => read::until_masterless(batches, ledger.role(), timeout),
            None => batches,
        }))
    }

    async fn index_at(&self, request: Request<pb::IndexAtRequest>) -> Result<Response<pb::IndexAtResponse>, Status> {
        let request = request.into_inner();
        let ledger = self.ledger_or_status(&request.cluster, &request.group)?;
        barrier(&ledger, request.consistency, request.timeout_ms).await?;
        let index = ledger.index_at(request.timestamp).await.map_err(|error| to_status(&(&error).into()))?;
        Ok(Response::new(pb::IndexAtResponse { index }))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let request = request.into_inner();
        let status = self.status_of(&request.cluster, &request.group).map_err(|failure| to_status(&failure))?;
        Ok(Response::new(status.into()))
    }
}
