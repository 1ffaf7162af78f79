//! Messages between nodes: decoded, converted to Raft's types, checked, converted back.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use prost::Message;

use super::checksums;
use crate::format::segment::MAX_PLACE;
use crate::peer::{checks, convert};
use crate::raft::TokioRuntime;
use crate::raft::membership::codec;
use crate::raft::storage::snapshot;
use crate::transport::heartbeats::{self, Unanswered};
use crate::transport::router::Router;
use crate::types::{ClusterName, NodeId};
use crate::wire::pb;

/// Segment size of the node that takes a snapshot.
const SEGMENT_SIZE: u64 = 1 << 20;

/// The message, which survives its bytes.
pub(super) fn message<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert_eq!(M::decode(&message.encode_to_vec()[..]).as_ref(), Ok(&message));
    Some(message)
}

fn sender() -> NodeId {
    NodeId::new(0)
}

fn bounded(id: Option<pb::LogId>) {
    assert!(id.is_none_or(|id| id.term.max(id.number) <= MAX_PLACE), "nothing could come after {id:?}");
}

/// A request for a vote.
pub fn vote_request(bytes: &[u8]) {
    let Some(message) = message::<pb::VoteRequest>(bytes) else { return };
    let Ok(request) = convert::to_vote_request::<TokioRuntime>(message.clone()) else { return };
    bounded(message.last_log_id);
    if checks::vote_request(&request, &sender()).is_ok() {
        let vote = message.vote.clone().unwrap_or_default();
        assert!(!vote.committed && vote.node == "n0" && vote.term <= MAX_PLACE);
        assert!(message.last_log_id.is_none_or(|id| id.term <= vote.term));
    }
    let mut back = convert::from_vote_request(&request, pb::Envelope::default());
    back.envelope.clone_from(&message.envelope);
    assert_eq!(back, message);
}

/// The answer to it.
pub fn vote_response(bytes: &[u8]) {
    let Some(message) = message::<pb::VoteResponse>(bytes) else { return };
    let Ok(response) = convert::to_vote_response::<TokioRuntime>(message.clone()) else { return };
    bounded(message.last_log_id);
    assert_eq!(convert::from_vote_response(&response), message);
}

/// Entries to append: as they are, and with the checksums of the frames made right.
pub fn append_request(bytes: &[u8]) {
    let Some(mut message) = message::<pb::AppendRequest>(bytes) else { return };
    appended(message.clone());
    let mut frames = message.frames.to_vec();
    checksums::entries(&mut frames, 0, None);
    message.frames = frames.into();
    appended(message);
}

fn appended(message: pb::AppendRequest) {
    let Ok(request) = convert::to_append::<TokioRuntime>(message.clone()) else { return };
    [message.previous, message.committed].into_iter().for_each(bounded);
    let first = message.previous.map_or(0, |previous| previous.number + 1);
    let numbers: Vec<u64> = request.entries.iter().map(|entry| entry.number()).collect();
    assert_eq!(numbers, (first..).take(numbers.len()).collect::<Vec<_>>());
    let ends = usize::from(message.previous.is_some()) + usize::from(message.committed.is_some());
    assert_eq!(checks::named(&request).count(), ends + numbers.len());
    if checks::append(&request, &sender()).is_ok() {
        let vote = message.vote.clone().unwrap_or_default();
        assert!(vote.committed && vote.node == "n0");
        assert!(checks::named(&request).all(|id| convert::from_log_id(id).term <= vote.term));
    }
    let committed = checks::named(&request).next();
    if checks::keeps(committed, checks::named(&request)).is_ok() && committed.is_none() {
        assert!(numbers.is_empty());
    }
    let mut back = convert::from_append(request);
    back.envelope.clone_from(&message.envelope);
    // Not openraft's business either.
    back.acknowledged.clone_from(&message.acknowledged);
    back.lease_window_ms = message.lease_window_ms;
    assert_eq!(back, message);
}

/// The answer to it.
pub fn append_response(bytes: &[u8]) {
    let Some(message) = message::<pb::AppendResponse>(bytes) else { return };
    let Ok(result) = convert::to_append_result::<TokioRuntime>(message.clone()) else { return };
    assert_eq!(convert::from_append_result::<TokioRuntime>(result), message);
}

/// Heartbeats of several ledgers to a node that hosts none: each is refused by its place, or all are by their number.
pub fn heartbeats_request(bytes: &[u8]) {
    let Some(message) = message::<pb::HeartbeatsRequest>(bytes) else { return };
    message.beats.iter().cloned().for_each(appended);
    let count = message.beats.len();
    let router = Arc::new(Router::new(ClusterName::default()));
    let Ok(answers) = heartbeats::serve(&router, message) else {
        assert!(count > heartbeats::MAX_HEARTBEATS);
        return;
    };
    let mut open = Unanswered::new((0..count).collect());
    let mut refused = Vec::new();
    // Nothing has to be waited for where no ledger is.
    for response in answers.collect::<Vec<_>>().now_or_never().expect("an answer at once") {
        let settled = open.settle(response, |n, answer| refused.extend(answer.is_err().then_some(n)));
        settled.expect("a server in good order");
    }
    refused.sort_unstable();
    assert!(open.is_done() && refused == (0..count).collect::<Vec<_>>());
}

/// Answers to them: each is for one that waits, and for that one alone.
pub fn heartbeats_response(bytes: &[u8]) {
    let Some(message) = message::<pb::HeartbeatsResponse>(bytes) else { return };
    let named: Vec<_> = message.answers.iter().map(|answer| answer.beat).collect();
    let mut open = Unanswered::new((0..4_u32).collect());
    let mut given = Vec::new();
    let settled = open.settle(message.clone(), |n, answer| {
        given.push(n);
        if let Ok(answer) = answer
            && let Ok(result) = convert::to_append_result::<TokioRuntime>(answer.clone())
        {
            assert_eq!(convert::from_append_result::<TokioRuntime>(result), answer);
        }
    });
    assert!(named.starts_with(&given), "{given:?} were answered, {named:?} were named");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "one was answered twice");
    assert!(settled.is_err() || given.len() == named.len());
    assert!(!open.is_done() || given.len() == 4 || settled.is_err());
}

/// A leader that hands over.
pub fn transfer_request(bytes: &[u8]) {
    let Some(message) = message::<pb::TransferRequest>(bytes) else { return };
    let Ok(request) = convert::to_transfer::<TokioRuntime>(message.clone()) else { return };
    bounded(message.last_log_id);
    if checks::transfer(&request, &sender()).is_ok() {
        let vote = message.from.clone().unwrap_or_default();
        assert!(vote.committed && vote.node == "n0");
        assert!(message.last_log_id.is_none_or(|id| id.term <= vote.term));
    }
    let mut back = convert::from_transfer(&request, pb::Envelope::default());
    back.envelope.clone_from(&message.envelope);
    back.acknowledged.clone_from(&message.acknowledged);
    assert_eq!(back, message);
}

/// The answer to it. Of several reasons at once one is kept, so what is kept must be what comes back.
pub fn transfer_response(bytes: &[u8]) {
    let Some(message) = message::<pb::TransferResponse>(bytes) else { return };
    let from = Some(pb::Vote { term: 1, node: "n0".into(), committed: true });
    let asked = pb::TransferRequest { from, to: "n1".into(), ..Default::default() };
    let Ok(asked) = convert::to_transfer::<TokioRuntime>(asked) else { panic!("a good request was refused") };
    let answered = |message| convert::to_transfer_response(message, &asked);
    let Ok(response) = answered(message.clone()) else { return };
    let kept = convert::from_transfer_response::<TokioRuntime>(response);
    let refused = message.actual_vote.is_some() || message.log_not_flushed;
    assert_eq!((&kept.actual_vote, kept != pb::TransferResponse::default()), (&message.actual_vote, refused));
    let Ok(again) = answered(kept.clone()) else { panic!("{kept:?} cannot be read back") };
    assert_eq!(convert::from_transfer_response::<TokioRuntime>(again), kept);
}

/// Asks up to where a read must have seen the log.
pub fn read_index_request(bytes: &[u8]) {
    let Some(message) = message::<pb::ReadIndexRequest>(bytes) else { return };
    let Ok((proof, within)) = convert::to_read_index(&message) else { return };
    let back = convert::from_read_index(proof, within, message.envelope.clone().unwrap_or_default());
    assert_eq!(back.proof, message.proof);
    assert!(back.within_ms <= message.within_ms, "it would wait longer than it was asked to");
    assert_eq!(convert::to_read_index(&back).ok(), Some((proof, within)));
}

/// The answer to it: there can be such an entry, and one after it.
pub fn read_index_response(bytes: &[u8]) {
    let Some(message) = message::<pb::ReadIndexResponse>(bytes) else { return };
    let Ok(number) = convert::to_read_number(&message) else { return };
    assert!(number == message.number && number <= MAX_PLACE);
}

/// The body of a membership entry.
pub fn membership(bytes: &[u8]) {
    let Ok(membership) = codec::decode(bytes) else { return };
    let sets = membership.get_joint_config();
    assert!(!sets.is_empty() && sets.iter().all(|voters| !voters.is_empty()), "anybody would be a quorum");
    let statuses = codec::statuses(&membership);
    let voters = statuses.iter().filter(|status| status.voter).count();
    assert_eq!(voters, membership.voter_ids().collect::<std::collections::BTreeSet<_>>().len());
    assert_eq!(codec::decode(&codec::encode(&membership)).ok(), Some(membership));
}

/// A snapshot, as it travels and as the start file keeps it.
pub fn snapshot(bytes: &[u8]) {
    let Some(message) = message::<pb::SnapshotRequest>(bytes) else { return };
    let Ok((meta, start)) = snapshot::from_message(&message) else { return };
    let back = snapshot::to_message(&meta, start);
    let (again, start_again) = snapshot::from_message(&back).expect("what was read can be read again");
    assert!((&again, start_again) == (&meta, start), "{back:?} became {again:?}");
    let Ok(vote) = convert::to_vote(message.vote) else { return };
    assert_eq!(convert::to_vote(Some(convert::from_vote(&vote))).ok().as_ref(), Some(&vote));
    if let Ok(next) = checks::snapshot(&meta, start, &vote, &sender(), SEGMENT_SIZE) {
        assert!(next.can_begin(SEGMENT_SIZE) && Some(next) == start);
        assert!(meta.last_membership.voter_ids().next().is_some());
        let last = meta.last_log_id.map(convert::from_log_id).unwrap_or_default();
        assert_eq!((last.number.checked_add(1), last.term), (Some(next.number), next.term));
        assert!(last.term.max(next.number) <= MAX_PLACE);
    }
}

/// Frames back to back, for seeds.
pub(super) fn request(frames: Bytes, previous: Option<pb::LogId>) -> pb::AppendRequest {
    let vote = Some(pb::Vote { term: 3, node: "n0".into(), committed: true });
    pb::AppendRequest { vote, previous, committed: previous, frames, ..Default::default() }
}
