//! Ids as openraft names them: of leaders, of entries, of votes.

use openraft::impls::{Vote, leader_id_std};
use openraft::vote::RaftLeaderId;

use crate::log::reader::LogReader;
use crate::types::NodeId;

/// Standard Raft: one leader per term, a log id is (term, number).
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
/// As in a log id.
pub(crate) type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// (term, number).
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
/// A vote.
pub(crate) type RaftVote = Vote<LeaderId>;

/// The log id of entry `number` of `term`.
pub(crate) fn log_id(term: u64, number: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), number)
}

/// The last entry of a log.
pub(crate) fn last_log_id(log: &LogReader) -> Option<LogId> {
    log.last().map(|(term, number)| log_id(term, number))
}

/// Whether the entry is in the log, or was: what is removed is committed.
pub(crate) fn holds(log: &LogReader, entry: LogId) -> bool {
    if log.purged().is_some_and(|purged| purged.number >= entry.index) {
        return true;
    }
    // One that cannot be read is not vouched for here.
    matches!(log.entry_header(entry.index), Ok(Some(header)) if header.term == entry.leader_id.term)
}
