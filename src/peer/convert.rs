//! Converts Raft's types to messages and back. What comes from the network is checked here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse};

use crate::format::frame::{Frame, FrameError};
use crate::format::segment::MAX_PLACE;
use crate::raft::entry::{Content, Entry};
use crate::raft::log_id::{LogId, RaftVote, log_id};
use crate::raft::membership::codec::MembersError;
use crate::raft::reads::Proof;
use crate::raft::{Runtime, TypeConfig};
use crate::types::NameError;
use crate::wire::pb;

/// A message is not well-formed, or contradicts itself.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error("entry number {found} where {expected} comes next")]
    Number { found: u64, expected: u64 },
    /// Nothing comes after the largest term or number: accepting one near it would end all elections or appends.
    #[error("{what} {found}, at most {MAX_PLACE}")]
    TooLarge { what: &'static str, found: u64 },
    /// Fields that no peer that follows the protocol would combine.
    #[error("{found} where {expected} is expected")]
    Contradiction { found: String, expected: String },
}

/// `(term, number)` as it travels.
pub(crate) fn from_log_id(id: LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, number: id.index }
}

pub(crate) fn to_log_id(id: pb::LogId) -> Result<LogId, Malformed> {
    Ok(log_id(bounded("term", id.term)?, bounded("number", id.number)?))
}

fn to_optional(id: Option<pb::LogId>) -> Result<Option<LogId>, Malformed> {
    id.map(to_log_id).transpose()
}

pub(super) fn bounded(what: &'static str, found: u64) -> Result<u64, Malformed> {
    if found > MAX_PLACE { Err(Malformed::TooLarge { what, found }) } else { Ok(found) }
}

pub(crate) fn from_vote(vote: &RaftVote) -> pb::Vote {
    let leader = &vote.leader_id;
    pb::Vote { term: leader.term, node: leader.voted_for.to_string(), committed: vote.committed }
}

pub(crate) fn to_vote(vote: Option<pb::Vote>) -> Result<RaftVote, Malformed> {
    let vote = vote.ok_or(Malformed::Missing("vote"))?;
    let (term, node) = (bounded("term", vote.term)?, vote.node.parse()?);
    Ok(if vote.committed { RaftVote::new_committed(term, node) } else { RaftVote::new(term, node) })
}

pub(crate) fn from_vote_request<R: Runtime>(
    request: &VoteRequest<TypeConfig<R>>,
    envelope: pb::Envelope,
) -> pb::VoteRequest {
    pb::VoteRequest {
        envelope: Some(envelope),
        vote: Some(from_vote(&request.vote)),
        last_log_id: request.last_log_id.map(from_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn to_vote_request<R: Runtime>(request: pb::VoteRequest) -> Result<VoteRequest<TypeConfig<R>>, Malformed> {
    Ok(VoteRequest {
        vote: to_vote(request.vote)?,
        last_log_id: to_optional(request.last_log_id)?,
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn from_vote_response<R: Runtime>(response: &VoteResponse<TypeConfig<R>>) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(from_vote(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.map(from_log_id),
    }
}

pub(crate) fn to_vote_response<R: Runtime>(
    response: pb::VoteResponse,
) -> Result<VoteResponse<TypeConfig<R>>, Malformed> {
    let last = to_optional(response.last_log_id)?;
    Ok(VoteResponse::new(to_vote(response.vote)?, last, response.granted))
}

/// Without an envelope and the lease window.
pub(crate) fn from_append<R: Runtime>(request: AppendEntriesRequest<TypeConfig<R>>) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope: None,
        vote: Some(from_vote(&request.vote)),
        previous: request.prev_log_id.map(from_log_id),
        committed: request.leader_commit.map(from_log_id),
        frames: join(&request.entries),
        lease_window_ms: 0,
        acknowledged: None,
    }
}

/// All frames back to back. A single frame is not copied.
fn join(entries: &[Entry]) -> Bytes {
    let mut frames = entries.iter().filter_map(|entry| match &entry.content {
        Content::Stored(frame) => Some(&frame.bytes),
        // Replication reads entries from the log, which has no others.
        Content::New(_) | Content::Header(_) => None,
    });
    match entries {
        [_] => frames.next().cloned().unwrap_or_default(),
        _ => {
            let mut joined = BytesMut::with_capacity(frames.clone().map(Bytes::len).sum());
            frames.for_each(|frame| joined.extend_from_slice(frame));
            joined.freeze()
        }
    }
}

/// Checks every frame, and that their numbers follow each other.
pub(crate) fn to_append<R: Runtime>(
    request: pb::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig<R>>, Malformed> {
    // Bounded before anything is counted from it.
    let previous = to_optional(request.previous)?;
    let first = previous.map_or(0, |previous| previous.index + 1);
    let mut entries = Vec::new();
    let frames = Frame::parse_all(request.frames)?;
    for (frame, expected) in frames.into_iter().zip(first..) {
        let found = frame.header.number;
        if found != expected {
            return Err(Malformed::Number { found, expected });
        }
        bounded("number", found)?;
        bounded("term", frame.header.term)?;
        entries.push(Entry::stored(frame)?);
    }
    Ok(AppendEntriesRequest {
        vote: to_vote(request.vote)?,
        prev_log_id: previous,
        entries,
        leader_commit: to_optional(request.committed)?,
    })
}

pub(crate) fn from_append_result<R: Runtime>(result: StreamAppendResult<TypeConfig<R>>) -> pb::AppendResponse {
    use pb::append_response::Result as Answer;
    let answer = match result {
        Ok(last) => Answer::Matched(pb::Matched { last: last.map(from_log_id) }),
        Err(StreamAppendError::Conflict(id)) => Answer::Conflict(from_log_id(id)),
        Err(StreamAppendError::HigherVote(vote)) => Answer::HigherVote(from_vote(&vote)),
    };
    pb::AppendResponse { result: Some(answer), end: None }
}

pub(crate) fn to_append_result<R: Runtime>(
    response: pb::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig<R>>, Malformed> {
    use pb::append_response::Result as Answer;
    Ok(match response.result.ok_or(Malformed::Missing("result"))? {
        Answer::Matched(matched) => Ok(to_optional(matched.last)?),
        Answer::Conflict(id) => Err(StreamAppendError::Conflict(to_log_id(id)?)),
        Answer::HigherVote(vote) => Err(StreamAppendError::HigherVote(to_vote(Some(vote))?)),
    })
}

/// The end of the log of a peer that answers with a conflict.
pub(crate) fn to_end(response: &pb::AppendResponse) -> Result<Option<LogId>, Malformed> {
    to_optional(response.end.as_ref().and_then(|end| end.last))
}

pub(crate) fn from_transfer<R: Runtime>(
    request: &TransferLeaderRequest<TypeConfig<R>>,
    envelope: pb::Envelope,
) -> pb::TransferRequest {
    pb::TransferRequest {
        envelope: Some(envelope),
        from: Some(from_vote(request.from_leader())),
        to: request.to_node_id().to_string(),
        last_log_id: request.last_log_id().copied().map(from_log_id),
        acknowledged: None,
    }
}

pub(crate) fn to_transfer<R: Runtime>(
    request: pb::TransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig<R>>, Malformed> {
    let last = to_optional(request.last_log_id)?;
    Ok(TransferLeaderRequest::new(to_vote(request.from)?, request.to.parse()?, last))
}

pub(crate) fn from_transfer_response<R: Runtime>(
    response: TransferLeaderResponse<TypeConfig<R>>,
) -> pb::TransferResponse {
    match response {
        Ok(()) => pb::TransferResponse::default(),
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            pb::TransferResponse { actual_vote: Some(from_vote(&actual)), ..Default::default() }
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            pb::TransferResponse { log_not_flushed: true, flushed: actual.map(from_log_id), ..Default::default() }
        }
    }
}

pub(crate) fn to_transfer_response<R: Runtime>(
    response: pb::TransferResponse,
    request: &TransferLeaderRequest<TypeConfig<R>>,
) -> Result<TransferLeaderResponse<TypeConfig<R>>, Malformed> {
    if response.actual_vote.is_some() {
        let (expected, actual) = (request.from_leader().clone(), to_vote(response.actual_vote)?);
        return Ok(Err(TransferLeaderError::VoteChanged { expected, actual }));
    }
    if response.log_not_flushed {
        let (expected, actual) = (request.last_log_id().copied(), to_optional(response.flushed)?);
        return Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }));
    }
    Ok(Ok(()))
}

/// Longest time that a leader tries to prove that it leads, whatever the request says.
const LONGEST_PROOF: Duration = Duration::from_secs(60);

pub(crate) fn from_read_index(proof: Proof, within: Duration, envelope: pb::Envelope) -> pb::ReadIndexRequest {
    let proof = match proof {
        Proof::Lease => pb::read_index_request::Proof::Lease,
        Proof::Round => pb::read_index_request::Proof::Round,
    };
    let within_ms = within.min(LONGEST_PROOF).as_millis() as u64;
    pb::ReadIndexRequest { envelope: Some(envelope), proof: proof.into(), within_ms }
}

pub(crate) fn to_read_index(request: &pb::ReadIndexRequest) -> Result<(Proof, Duration), Malformed> {
    let proof = match request.proof() {
        pb::read_index_request::Proof::Lease => Proof::Lease,
        pb::read_index_request::Proof::Round => Proof::Round,
        pb::read_index_request::Proof::Unspecified => return Err(Malformed::Missing("proof")),
    };
    Ok((proof, Duration::from_millis(request.within_ms).min(LONGEST_PROOF)))
}

/// The number, if there can be an entry with it: a reader that waits for another one would wait for ever.
pub(crate) fn to_read_number(response: &pb::ReadIndexResponse) -> Result<u64, Malformed> {
    bounded("number", response.number)
}
