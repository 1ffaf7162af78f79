//! A node that is only its client service, and does what a test tells it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::client::Client;
use crate::types::{Incarnation, Peer, Peers};
use crate::wire::client::{failure, to_status};
use crate::wire::incarnation_bytes;
use crate::wire::pb::ledger_service_server::{LedgerService, LedgerServiceServer};
use crate::wire::pb::{self, append_records_response::Result as Answered, failure::Code};

/// What the node does with the next append request, in place of what its role says.
pub(super) enum Reaction {
    Refuse(pb::Failure),
    /// Takes it and never answers.
    Hang,
    /// Takes it and breaks the stream.
    Break,
    /// Does not take it and ends the stream with this.
    End(pb::Failure),
    /// Takes it and says it were so many records.
    Miscount(u32),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) role: &'static str,
    pub(super) term: u64,
    pub(super) master_address: String,
    /// The incarnation of the cluster that it is a member of.
    pub(super) cluster: Option<u128>,
    /// The addresses of the other members.
    pub(super) members: Vec<String>,
    /// Every call fails like one over a connection that broke.
    pub(super) down: bool,
    /// Every call is refused with this.
    pub(super) turns_away: Option<pb::Failure>,
    /// Every append request is refused with this.
    pub(super) refuses: Option<pb::Failure>,
    /// Why there is no master; why the ledger is closed.
    pub(super) waiting: &'static str,
    pub(super) closed_reason: &'static str,
    /// It never says what it is.
    pub(super) silent: bool,
    /// Largest record.
    pub(super) limit: Option<usize>,
    pub(super) reactions: VecDeque<Reaction>,
    pub(super) log: Vec<Bytes>,
    /// Records below it have been removed.
    pub(super) first: u64,
    /// The term that each request was for.
    pub(super) terms: Vec<Option<u64>>,
    /// How many records each request held.
    pub(super) requests: Vec<usize>,
    /// A tail breaks after so many records.
    pub(super) tail_breaks_after: Option<usize>,
    /// Every tail ends with it, and how many there were.
    pub(super) closed: bool,
    pub(super) tails: usize,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    received: Arc<watch::Sender<usize>>,
    /// How often it was asked what it is.
    statuses: Arc<watch::Sender<usize>>,
    /// One permit per answer, where the test holds them back.
    gate: Option<Arc<Semaphore>>,
}

impl Fake {
    pub(super) async fn start(role: &'static str) -> Self {
        Self::start_with(role, None).await
    }

    pub(super) async fn start_with(role: &'static str, gate: Option<Arc<Semaphore>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { role, term: 1, ..State::default() }));
        let fake = Self { address, state, received: Arc::default(), statuses: Arc::default(), gate };
        let service = LedgerServiceServer::new(fake.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        let connections = TcpListenerStream::new(listener).inspect(|stream| {
            stream.as_ref().unwrap().set_nodelay(true).unwrap();
        });
        tokio::spawn(server.serve_with_incoming(connections));
        fake
    }

    pub(super) fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock())
    }

    pub(super) fn log(&self) -> Vec<Bytes> {
        self.set(|state| state.log.clone())
    }

    /// Waits until so many append requests have come.
    pub(super) async fn received(&self, requests: usize) {
        self.received.subscribe().wait_for(|&received| received >= requests).await.unwrap();
    }

    /// Waits until it has been asked so often what it is.
    pub(super) async fn asked(&self, times: usize) {
        self.statuses.subscribe().wait_for(|&asked| asked >= times).await.unwrap();
    }

    /// How often it has been.
    pub(super) fn times_asked(&self) -> usize {
        *self.statuses.borrow()
    }

    pub(super) fn not_master(&self, hint: &str) -> Reaction {
        let mut refusal = failure(Code::NotMaster, "not the master");
        refusal.master_address = hint.to_owned();
        Reaction::Refuse(refusal)
    }

    fn up(&self) -> Result<(), Status> {
        self.set(|state| match &state.turns_away {
            Some(failure) => Err(to_status(failure)),
            None if state.down => Err(Status::unavailable("down")),
            None => Ok(()),
        })
    }

    /// Reads and tails say it in their streams, as a node does.
    fn stored(&self, index: u64) -> Result<(), Status> {
        let first = self.set(|state| state.first);
        let mut removed = failure(Code::Removed, "removed");
        (removed.found, removed.first) = (index, first);
        if index < first { Err(to_status(&removed)) } else { Ok(()) }
    }

    /// The answer to a request; `None`: never. An error breaks the stream.
    fn react(&self, request: pb::AppendRecordsRequest) -> Result<Option<Answered>, Status> {
        let answer = self.set(|state| {
            state.requests.push(request.records.len());
            state.terms.push(request.term);
            let count = request.records.len() as u32;
            let appended = |first: usize, count| {
                let appended = pb::AppendedRecords { first_index: first as u64, term: 1, first_position: 1000, count };
                Ok(Some(Answered::Appended(appended)))
            };
            if let Some(refusal) = &state.refuses {
                return Ok(Some(Answered::Failure(refusal.clone())));
            }
            match state.reactions.pop_front() {
                Some(Reaction::Refuse(refusal)) => return Ok(Some(Answered::Failure(refusal))),
                Some(Reaction::Hang) => return Ok(None),
                Some(Reaction::End(refusal)) => return Err(to_status(&refusal)),
                Some(Reaction::Break) => return Err(Status::unavailable("killed")),
                Some(Reaction::Miscount(count)) => return appended(0, count),
                None => {}
            }
            if state.role != "master" {
                let mut refusal = failure(Code::NotMaster, "not the master");
                refusal.master_address = state.master_address.clone();
                return Ok(Some(Answered::Failure(refusal)));
            }
            if let Some(limit) = state.limit
                && let Some(large) = request.records.iter().find(|record| record.len() > limit)
            {
                let mut refusal = failure(Code::TooLarge, "a record");
                (refusal.found, refusal.limit) = (large.len() as u64, limit as u64);
                return Ok(Some(Answered::Failure(refusal)));
            }
            if let Some(term) = request.term.filter(|term| *term < state.term) {
                let fenced = pb::Failure { found: term, ..failure(Code::Fenced, "over") };
                return Ok(Some(Answered::Failure(fenced)));
            }
            let first = state.log.len();
            state.log.extend(request.records);
            appended(first, count)
        });
        self.received.send_modify(|received| *received += 1);
        answer
    }
}

/// A client of these nodes, in that order.
pub(super) fn client(addresses: &[&str]) -> Client {
    builder(addresses).build()
}

pub(super) fn builder(addresses: &[&str]) -> crate::client::ClientBuilder {
    let peers = addresses.iter().zip(0..).map(|(address, id)| Peer { id: id.into(), address: address.to_string() });
    Client::builder(Peers::new(peers.collect()).unwrap(), "g".parse().unwrap())
}

/// What the node at an address is called: by its port.
pub(super) fn name_of(address: &str) -> String {
    address.rsplit_once(':').map(|(_, port)| format!("n{port}")).unwrap_or_default()
}

/// An address where nobody listens.
pub(super) async fn dead_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[async_trait]
impl LedgerService for Fake {
    async fn append(
        &self,
        _: Request<pb::AppendRecordsRequest>,
    ) -> Result<Response<pb::AppendRecordsResponse>, Status> {
        Err(Status::unimplemented("the client streams"))
    }

    type AppendStreamStream = ReceiverStream<Result<pb::AppendRecordsResponse, Status>>;

    async fn append_stream(
        &self,
        requests: Request<Streaming<pb::AppendRecordsRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        self.up()?;
        let (answers, outgoing) = mpsc::channel(1024);
        let (fake, mut requests) = (self.clone(), requests.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let id = request.id;
                let answer = match fake.react(request) {
                    Ok(None) => continue,
                    Ok(result) => Ok(pb::AppendRecordsResponse { id, result }),
                    Err(broken) => {
                        let _ = answers.send(Err(broken)).await;
                        return;
                    }
                };
                let (answers, gate) = (answers.clone(), fake.gate.clone());
                tokio::spawn(async move {
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    let _ = answers.send(answer).await;
                });
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        self.up()?;
        let index = request.into_inner().index;
        self.stored(index)?;
        let record = self.log().get(index as usize).cloned();
        let record = record.map(|body| pb::Record { index, body, ..Default::default() });
        let mut not_yet = failure(Code::NotYet, "not yet");
        (not_yet.found, not_yet.committed) = (index, self.log().len() as u64);
        record.map(|r| Response::new(pb::GetResponse { record: Some(r) })).ok_or_else(|| to_status(&not_yet))
    }

    type ReadStream = BoxStream<'static, Result<pb::RecordBatch, Status>>;

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        self.up()?;
        let request = request.into_inner();
        let most = if request.max_records == 0 { usize::MAX } else { request.max_records as usize };
        if let Err(removed) = self.stored(request.from) {
            return Ok(Response::new(stream::iter([Err(removed)]).boxed()));
        }
        Ok(Response::new(stream::iter(batches(self.log(), request.from)).take(most).boxed()))
    }

    type TailStream = BoxStream<'static, Result<pb::RecordBatch, Status>>;

    async fn tail(&self, request: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        self.up()?;
        let from = request.into_inner().from;
        let there = stream::iter(batches(self.log(), from));
        let (closed, removed) = self.set(|state| {
            state.tails += 1;
            (state.closed, state.role == "removed")
        });
        if let Err(removed) = self.stored(from) {
            return Ok(Response::new(stream::iter([Err(removed)]).boxed()));
        }
        if closed {
            let closed = to_status(&failure(Code::Closed, "the disk is gone"));
            return Ok(Response::new(there.chain(stream::iter([Err(closed)])).boxed()));
        }
        if removed {
            let no_member = to_status(&failure(Code::NoMaster, "n1 says that it was removed"));
            return Ok(Response::new(there.chain(stream::iter([Err(no_member)])).boxed()));
        }
        Ok(Response::new(match self.set(|state| state.tail_breaks_after.take()) {
            Some(records) => {
                self.set(|state| state.down = true);
                let broken = stream::iter([Err(Status::unavailable("killed"))]);
                there.take(records).chain(broken).boxed()
            }
            None => there.chain(stream::pending()).boxed(),
        }))
    }

    async fn index_at(&self, _: Request<pb::IndexAtRequest>) -> Result<Response<pb::IndexAtResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        self.statuses.send_modify(|asked| *asked += 1);
        self.up()?;
        if self.set(|state| state.silent) {
            std::future::pending::<()>().await;
        }
        if request.into_inner().group != "g" {
            return Err(to_status(&failure(Code::UnknownGroup, "unknown group")));
        }
        let member = pb::MemberStatus { id: name_of(&self.address), ..Default::default() };
        Ok(Response::new(self.set(|state| pb::StatusResponse {
            role: state.role.into(),
            term: state.term,
            master_address: state.master_address.clone(),
            waiting: state.waiting.into(),
            closed_reason: state.closed_reason.into(),
            first: state.first,
            committed: state.log.len() as u64,
            cluster: "c".into(),
            group: "g".into(),
            node: name_of(&self.address),
            // A slave has one, though nobody knows where.
            master: if state.role == "slave" { "n0".into() } else { name_of(&state.master_address) },
            cluster_incarnation: incarnation_bytes(state.cluster.map(Incarnation::from_u128)),
            members: state.cluster.iter().map(|_| member.clone()).chain(others(&state.members)).collect(),
            ..Default::default()
        })))
    }
}

fn others(addresses: &[String]) -> impl Iterator<Item = pb::MemberStatus> {
    let members = addresses.iter().zip(1..);
    members.map(|(at, n)| pb::MemberStatus { id: format!("n{n}"), address: at.clone(), ..Default::default() })
}

/// One record per batch.
fn batches(log: Vec<Bytes>, from: u64) -> Vec<Result<pb::RecordBatch, Status>> {
    let records = log.into_iter().zip(0..).skip(from as usize);
    records
        .map(|(body, index)| pb::Record { index, body, ..Default::default() })
        .map(|r| Ok(pb::RecordBatch { records: vec![r] }))
        .collect()
}
