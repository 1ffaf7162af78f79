//! The receiving side: checks what a call says, then hands it to Raft.
//!
//! | file | what it is |
//! |---|---|
//! | `caller_check` | checks who calls, before Raft or anything else of the ledger sees the call |
//! | `membership_check` | checks a caller against a membership |
//! | `liveness` | answers heartbeats without waiting for the log |
//! | `backlog` | bounds what replication streams have under way in Raft, over all restarts |
//! | `own_log` | what the receiving side knows from its own log before it asks Raft |
//! | [`refusing`] | the receiving side of a ledger that could not be opened |

mod backlog;
mod caller_check;
mod liveness;
mod membership_check;
mod own_log;
pub(crate) mod refusing;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::storage::Snapshot;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::backlog::{Backlog, CountedAnswers};
use self::caller_check::CallerCheck;
use self::liveness::Liveness;
use self::own_log::committed;
use super::checks;
use super::convert::{self, Malformed};
use super::fetch;
use super::leader::watch::LeaderWatch;
use crate::format::DIRECTORY_VERSION;
use crate::log::admission::NoRoom;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::raft::append::disk_admission::DiskAdmission;
use crate::raft::election::holdoff::ElectionHoldoff;
use crate::raft::election::lost_entries::LostEntries;
use crate::raft::heartbeat::ticker::LeaderCalls;
use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::reads::{NoReadIndex, ReadIndex};
use crate::raft::replica::Replica;
use crate::raft::role::standing::Standing;
use crate::raft::storage::snapshot;
use crate::raft::storage::timestamps::Timestamps;
use crate::raft::type_config::Metrics;
use crate::raft::{Raft, Runtime, TypeConfig};
use crate::transport::{PeerHandler, Reply, ReplyStream, RequestStream};
use crate::types::NodeId;
use crate::wire::incarnation_bytes;
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// One ledger as its peers reach it.
pub(crate) struct PeerServer<R: Runtime> {
    caller_check: CallerCheck<R>,
    advertised: String,
    log: LogReader,
    reads: Arc<dyn ReadIndex>,
    votes: ElectionHoldoff,
    backlog: Backlog,
    stamps: Arc<Timestamps>,
    liveness: Liveness<R>,
    intake: AppendIntake<R>,
}

/// Checks an append, and notes what it says, before Raft may see it.
struct AppendIntake<R: Runtime> {
    raft: Raft<R>,
    metrics: Metrics<R>,
    gate: DiskAdmission,
    heard: LeaderCalls,
    standing: Standing,
    watch: LeaderWatch<R>,
    lost_entries: LostEntries,
    log: LogReader,
}

impl<R: Runtime> Clone for AppendIntake<R> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            metrics: self.metrics.clone(),
            gate: self.gate.clone(),
            heard: self.heard.clone(),
            standing: self.standing.clone(),
            watch: self.watch.clone(),
            lost_entries: self.lost_entries.clone(),
            log: self.log.clone(),
        }
    }
}

pub(super) type OrRefusal<T> = Result<T, pb::Refusal>;

pub(super) fn malformed(error: Malformed) -> pb::Refusal {
    match error {
        Malformed::Contradiction { found, expected } => refusal(Reason::Malformed, found, expected),
        error => refusal(Reason::Malformed, error, "a well-formed message"),
    }
}

fn closed(error: impl ToString) -> pb::Refusal {
    refusal(Reason::Closed, error, "a running ledger")
}

/// [`closed`] for an error of Raft's. Such an error wraps the log's, so the log's first failure is the reason to give.
fn ended<E: ToString>(log: &LogReader) -> impl FnOnce(E) -> pb::Refusal + '_ {
    |error| match log.failure() {
        Some(failure) => closed(failure.reason()),
        None => closed(error),
    }
}

fn no_room(no_room: NoRoom) -> pb::Refusal {
    match no_room.process {
        true => refusal(Reason::Exhausted, no_room, "a free descriptor and memory mapping"),
        false => refusal(Reason::DiskFull, no_room, "room on the disk"),
    }
}

impl<R: Runtime> AppendIntake<R> {
    /// Notes that the leader lives, unless Raft has answered that it leads no more. Returns whether it still leads.
    fn note(&self, result: &StreamAppendResult<TypeConfig<R>>) -> bool {
        let leads = !matches!(result, Err(StreamAppendError::HigherVote(_)));
        if leads {
            self.heard.note();
        }
        leads
    }

    /// Checks an append, and returns it as openraft may see it.
    async fn usable(
        &self,
        sender: &NodeId,
        request: pb::AppendRequest,
    ) -> OrRefusal<AppendEntriesRequest<TypeConfig<R>>> {
        let window = request.lease_window_ms;
        let reminder = request.acknowledged.map(convert::to_log_id).transpose().map_err(malformed)?;
        let request = convert::to_append::<R>(request).map_err(malformed)?;
        checks::append(&request, sender).map_err(malformed)?;
        checks::acknowledged(reminder, &request.vote).map_err(malformed)?;
        // The metrics may lag behind. Within one term that does no harm, and Raft need not be asked.
        let mut known = self.metrics.borrow_watched().local_committed;
        if request.leader_commit.map(|id| id.leader_id) > known.map(|id| id.leader_id) {
            known = committed(&self.raft, &self.log).await?;
        }
        self.keeps(sender, known, checks::named(&request))?;
        // The room is checked after all else that the request says, `keeps` included: a leader hears `DiskFull` and
        // `Exhausted` only for a well-formed request that contradicts nothing committed here.
        self.gate.accept::<R>(&request).map_err(no_room)?;
        self.hear(&request.vote, window)?;
        self.remind(reminder, &request.vote);
        Ok(request)
    }

    /// Refuses a leader that contradicts what is committed here, and logs it: such a contradiction does not pass by
    /// itself.
    fn keeps(&self, leader: &NodeId, known: Option<LogId>, ids: impl IntoIterator<Item = LogId>) -> OrRefusal<()> {
        // A leader that has a later entry of the same term has the committed one too. A leader that names no entry of
        // that term has proven nothing.
        let mut agrees = false;
        let shows = |id: &LogId| known.is_some_and(|known| id.leader_id == known.leader_id && *id >= known);
        let ids = ids.into_iter().inspect(|id| agrees |= shows(id));
        match checks::keeps(known, ids) {
            Ok(()) if agrees => {
                self.standing.agree();
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(contradiction) => {
                self.standing.contradict(self.log.group(), leader, &contradiction.to_string());
                Err(malformed(contradiction))
            }
        }
    }

    /// Notes that the leader lives, before Raft answers it. Refuses a leader that was given up.
    fn hear(&self, leader: &RaftVote, window_ms: u32) -> OrRefusal<()> {
        if self.watch.hear(leader, Duration::from_millis(window_ms.into())) {
            self.standing.hear();
            return Ok(());
        }
        let found = format!("the leader {} of term {}", leader.leader_id.voted_for, leader.leader_id.term);
        Err(refusal(Reason::GivenUp, found, "a later term: nothing listened any more where that leader was"))
    }
}

impl<R: Runtime> PeerServer<R> {
    pub(crate) fn new(
        identity: Identity,
        advertised: String,
        peers: String,
        replica: &Replica,
        raft: Raft<R>,
        watch: LeaderWatch<R>,
    ) -> Self {
        let (gate, heard, standing) =
            (replica.admission.clone(), replica.leader_calls.clone(), replica.standing.clone());
        let liveness = Liveness::new(raft.clone(), replica.log.clone());
        let (lost_entries, log) = (replica.lost_entries.clone(), replica.log.clone());
        let caller_check = CallerCheck::new(identity, peers, log.clone(), raft.metrics());
        let intake = AppendIntake {
            metrics: raft.metrics(),
            raft,
            gate,
            heard,
            standing,
            watch,
            lost_entries,
            log: log.clone(),
        };
        let (reads, votes, stamps) = (replica.reads.clone(), replica.holdoff.clone(), replica.timestamps.clone());
        let backlog = Backlog::new();
        Self { caller_check, advertised, log, reads, votes, backlog, stamps, liveness, intake }
    }
}

impl<R: Runtime> PeerHandler for PeerServer<R> {
    fn identify(&self, request: pb::IdentifyRequest) -> Reply<'_, pb::IdentifyResponse> {
        Box::pin(async move {
            let former = self.caller_check.check_identify(&request)?;
            let initialized = self.intake.raft.is_initialized().await.map_err(ended(&self.log))?;
            // A node that asks in order to take this one in (`join`) has a cluster, and forms none.
            let member = {
                let metrics = self.intake.metrics.borrow_watched();
                membership_check::is_member(&metrics.membership_config, &former.0, former.1)
            };
            if !initialized && !request.join {
                self.caller_check.promise(former, &request.peers)?;
            }
            Ok(pb::IdentifyResponse {
                incarnation: self.caller_check.identity.incarnation.to_bytes().to_vec().into(),
                empty: !initialized,
                segment_size: self.caller_check.identity.segment_size,
                advertised_address: self.advertised.clone(),
                node: self.caller_check.identity.node.to_string(),
                cluster_incarnation: incarnation_bytes(self.caller_check.cluster()),
                end: self.log.progress().end(),
                clock_ms: self.stamps.clock(),
                member,
                waiting: self.intake.standing.waiting().unwrap_or_default(),
                peers: self.caller_check.peers.clone(),
                no_room: self.intake.gate.lacks_room(),
                durability: self.log.durability(),
                format: DIRECTORY_VERSION,
            })
        })
    }

    fn request_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        Box::pin(async move {
            let sender = self.caller_check.check(request.envelope.as_ref())?;
            let mut request = convert::to_vote_request::<R>(request).map_err(malformed)?;
            checks::vote_request(&request, &sender).map_err(malformed)?;
            // A leader that hands over answers no more lease reads, so its candidate need not wait.
            if !request.leadership_transfer {
                self.votes.over().await;
            }
            if let Some(answer) = self.votes_as_before(&request).await? {
                return Ok(answer);
            }
            let freed = self.intake.watch.frees(&request.vote);
            // The flag by which openraft gives a vote although the leader's lease is not over.
            request.leadership_transfer |= freed.is_some();
            let response = self.intake.raft.vote(request).await.map_err(ended(&self.log))?;
            Ok(convert::from_vote_response(&response))
        })
    }

    fn pre_vote(&self, request: pb::VoteRequest) -> Reply<'_, pb::VoteResponse> {
        Box::pin(async move {
            let sender = self.caller_check.check(request.envelope.as_ref())?;
            let request = convert::to_vote_request::<R>(request).map_err(malformed)?;
            checks::vote_request(&request, &sender).map_err(malformed)?;
            self.votes.over().await;
            if let Some(answer) = self.votes_as_before(&request).await? {
                return Ok(answer);
            }
            if let Some((vote, granted)) = self.intake.watch.would_vote(&request).await {
                let vote = Some(convert::from_vote(&vote));
                return Ok(pb::VoteResponse { vote, granted, last_log_id: None });
            }
            let response = self.intake.raft.pre_vote(request).await.map_err(ended(&self.log))?;
            Ok(convert::from_vote_response(&response))
        })
    }

    fn heartbeat(&self, request: pb::AppendRequest) -> Reply<'_, pb::AppendResponse> {
        Box::pin(async move {
            let sender = self.caller_check.check(request.envelope.as_ref())?;
            let request = self.intake.usable(&sender, request).await?;
            let result = self.liveness.answer(request).await.map_err(ended(&self.log))?;
            if self.intake.note(&result) {
                self.votes.reminded();
            }
            self.intake.answer(result).await
        })
    }

    fn install_snapshot(&self, request: pb::SnapshotRequest) -> Reply<'_, pb::SnapshotResponse> {
        Box::pin(async move {
            let sender = self.caller_check.check(request.envelope.as_ref())?;
            let vote = convert::to_vote(request.vote.clone()).map_err(malformed)?;
            let reminder = request.acknowledged.map(convert::to_log_id).transpose().map_err(malformed)?;
            let (meta, start) = snapshot::from_message(&request).map_err(|e| malformed(Malformed::Members(e)))?;
            let size = self.caller_check.identity.segment_size;
            let next = checks::snapshot(&meta, start, &vote, &sender, size).map_err(malformed)?;
            checks::acknowledged(reminder, &vote).map_err(malformed)?;
            // openraft ignores a snapshot that is older than what is committed here, and panics at one that contradicts
            // it.
            self.intake.keeps(&sender, committed(&self.intake.raft, &self.log).await?, meta.last_log_id)?;
            self.intake.gate.accept_snapshot().map_err(no_room)?;
            self.intake.hear(&vote, request.lease_window_ms)?;
            self.intake.remind(reminder, &vote);
            self.commit_what_is_held(&vote, &meta).await?;
            let snapshot = Snapshot { meta, snapshot: Some(next) };
            let response = self.intake.raft.install_full_snapshot(vote, snapshot).await.map_err(ended(&self.log))?;
            Ok(pb::SnapshotResponse { vote: Some(convert::from_vote(&response.vote)) })
        })
    }

    fn transfer_leader(&self, request: pb::TransferRequest) -> Reply<'_, pb::TransferResponse> {
        Box::pin(async move {
            let sender = self.caller_check.check(request.envelope.as_ref())?;
            let reminder = request.acknowledged.map(convert::to_log_id).transpose().map_err(malformed)?;
            let request = convert::to_transfer::<R>(request).map_err(malformed)?;
            checks::transfer(&request, &sender).map_err(malformed)?;
            checks::acknowledged(reminder, request.from_leader()).map_err(malformed)?;
            self.intake.remind(reminder, request.from_leader());
            let response = self.intake.raft.handle_transfer_leader(request).await.map_err(ended(&self.log))?;
            Ok(convert::from_transfer_response::<R>(response))
        })
    }

    fn fetch_entries(&self, request: pb::FetchRequest) -> Reply<'_, pb::FetchResponse> {
        Box::pin(async move {
            self.caller_check.check(request.envelope.as_ref())?;
            fetch::serve(&self.log, &request)
        })
    }

    fn read_index(&self, request: pb::ReadIndexRequest) -> Reply<'_, pb::ReadIndexResponse> {
        Box::pin(async move {
            self.caller_check.check(request.envelope.as_ref())?;
            let (proof, within) = convert::to_read_index(&request).map_err(malformed)?;
            match self.reads.read_index(proof, within).await {
                Ok(number) => Ok(pb::ReadIndexResponse { number }),
                Err(NoReadIndex::NotLeader(why)) => Err(refusal(Reason::NotLeader, why, "the leader")),
                Err(NoReadIndex::NoQuorum(why)) => Err(refusal(Reason::NoQuorum, why, "a quorum's answer")),
                Err(NoReadIndex::Closed(why)) => Err(closed(why)),
            }
        })
    }

    fn replicate(&self, first: pb::Envelope, requests: RequestStream) -> Reply<'_, ReplyStream> {
        Box::pin(async move {
            let sender = self.caller_check.check(Some(&first))?;
            // The first request that is refused ends the stream, behind the answers to those before it.
            let refused = Arc::new(Mutex::new(None));
            let end = self.intake.watch.stream(sender.clone());
            let (share, (wanted, unwanted)) = (self.backlog.share(), oneshot::channel());
            let own = (self.intake.clone(), sender, refused.clone(), share.clone(), end);
            let requests = stream::unfold((requests, own), |(mut requests, own)| async move {
                let (intake, sender, refused, share, _) = &own;
                let checked = match requests.next().await? {
                    Ok(request) => {
                        share.take().await;
                        intake.usable(sender, request).await
                    }
                    Err(broken) => Err(closed(broken)),
                };
                match checked {
                    Ok(request) => Some((request, (requests, own))),
                    Err(refusal) => {
                        *refused.lock() = Some(refusal);
                        None
                    }
                }
            });
            let answers = self.intake.raft.stream_append(requests.take_until(unwanted).boxed());
            let answers = CountedAnswers::new::<R>(answers.boxed(), share, wanted);
            let intake = self.intake.clone();
            let answers = answers.then(move |answer| {
                let intake = intake.clone();
                async move {
                    let result = answer.map_err(ended(&intake.log))?;
                    intake.note(&result);
                    intake.answer(result).await
                }
            });
            let last = stream::once(async move { refused.lock().take() });
            Ok(answers.chain(last.filter_map(|refusal| std::future::ready(refusal.map(Err)))).boxed())
        })
    }
}

#[cfg(test)]
#[path = "../tests/server/mod.rs"]
mod tests;
