//! Checks that a request is one that a peer in good order can send.
//!
//! openraft asserts what the protocol promises: a request that breaks a promise would end the node instead of the
//! call. So every promise is checked before openraft sees the request.

use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use super::convert::Malformed;
use crate::format::entry::ENTRY_HEADER;
use crate::format::segment::Cursor;
use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::membership::codec::SnapshotMeta;
use crate::raft::{Runtime, TypeConfig};
use crate::types::{NodeId, RECORD_OVERHEAD};

type Checked = Result<(), Malformed>;

fn contradiction<T>(found: impl ToString, expected: impl ToString) -> Result<T, Malformed> {
    Err(Malformed::Contradiction { found: found.to_string(), expected: expected.to_string() })
}

/// A node sends its own vote only; a leader's vote is granted (`committed`), a candidate's is not yet.
fn vote(vote: &RaftVote, sender: &NodeId, committed: bool) -> Checked {
    let node = &vote.leader_id.voted_for;
    if node != sender {
        return contradiction(format!("a vote for {node}"), format!("one for the sender {sender}"));
    }
    match (vote.committed, committed) {
        (false, true) => contradiction("a vote that is not granted", "a leader's"),
        (true, false) => contradiction("a vote that is granted already", "a candidate's"),
        _ => Ok(()),
    }
}

/// No entry is of a term after its leader's.
fn of_term(what: &str, id: Option<LogId>, vote: &RaftVote) -> Checked {
    let latest = vote.leader_id.term;
    match id {
        Some(id) if id.leader_id.term > latest => {
            contradiction(format!("{what} {id}"), format!("a term of {latest} at most, the vote's"))
        }
        _ => Ok(()),
    }
}

/// A request for a vote, or for a pre-vote.
pub(crate) fn vote_request<R: Runtime>(request: &VoteRequest<TypeConfig<R>>, sender: &NodeId) -> Checked {
    vote(&request.vote, sender, false)?;
    of_term("last entry", request.last_log_id, &request.vote)
}

/// A request of a leader that hands over.
pub(crate) fn transfer<R: Runtime>(request: &TransferLeaderRequest<TypeConfig<R>>, sender: &NodeId) -> Checked {
    vote(request.from_leader(), sender, true)?;
    of_term("last entry", request.last_log_id().copied(), request.from_leader())
}

/// A heartbeat, or entries.
pub(crate) fn append<R: Runtime>(request: &AppendEntriesRequest<TypeConfig<R>>, sender: &NodeId) -> Checked {
    vote(&request.vote, sender, true)?;
    let mut before = request.prev_log_id;
    for entry in &request.entries {
        let id = entry.id();
        match before {
            Some(earlier) if id.leader_id < earlier.leader_id => {
                return contradiction(format!("entry {id}"), format!("no earlier term than that of {earlier} before"));
            }
            _ => before = Some(id),
        }
    }
    // The last entry has the highest term.
    of_term("entry", before, &request.vote)?;
    of_term("committed entry", request.leader_commit, &request.vote)
}

/// The entry that a leader says the receiver has acknowledged to it.
pub(crate) fn acknowledged(id: Option<LogId>, by: &RaftVote) -> Checked {
    of_term("acknowledged entry", id, by)
}

/// Terms never fall from one entry to the next, and committed entries stay: up to the last entry committed here, no
/// entry is of a later term than that entry.
pub(crate) fn keeps(committed: Option<LogId>, ids: impl IntoIterator<Item = LogId>) -> Checked {
    let Some(committed) = committed else { return Ok(()) };
    let breaks = |id: &LogId| id.index <= committed.index && id.leader_id > committed.leader_id;
    match ids.into_iter().find(breaks) {
        Some(id) => contradiction(format!("entry {id}"), format!("one that fits {committed}, which is committed here")),
        None => Ok(()),
    }
}

/// All entries an append names.
pub(crate) fn named<R: Runtime>(request: &AppendEntriesRequest<TypeConfig<R>>) -> impl Iterator<Item = LogId> {
    let ends = [request.prev_log_id, request.leader_commit].into_iter().flatten();
    ends.chain(request.entries.iter().map(|entry| entry.id()))
}

/// A snapshot. Returns where the log must begin behind it.
pub(crate) fn snapshot(
    meta: &SnapshotMeta,
    start: Option<Cursor>,
    by: &RaftVote,
    sender: &NodeId,
    segment_size: u64,
) -> Result<Cursor, Malformed> {
    vote(by, sender, true)?;
    of_term("last entry", meta.last_log_id, by)?;
    let (Some(last), Some(next)) = (meta.last_log_id, start) else {
        return Err(Malformed::Missing("last_log_id or start"));
    };
    if !next.can_begin(segment_size) {
        return contradiction(format!("{next:?}"), "a place where a log can begin");
    }
    // Every entry has a header and every record a length in front.
    if next.number > next.position / ENTRY_HEADER as u64 || next.index > next.position / RECORD_OVERHEAD {
        return contradiction(format!("{next:?}"), "a position with room for all entries and records before it");
    }
    if meta.last_membership.voter_ids().next().is_none() {
        return Err(Malformed::Missing("membership"));
    }
    match meta.last_membership.log_id() {
        Some(set_by) if set_by.index > last.index || set_by.leader_id > last.leader_id => {
            contradiction(format!("a membership set by {set_by}"), format!("one set by {last} at the latest"))
        }
        _ => Ok(next),
    }
}
