//! Checks a caller against a membership.

use crate::log::reader::LogReader;
use crate::raft::log_id::LogId;
use crate::raft::membership::codec;
use crate::raft::membership::codec::StoredMembership;
use crate::types::{Incarnation, NodeId};
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// What a caller says it is.
pub(super) struct ClaimedIdentity<'a> {
    pub(super) id: &'a NodeId,
    pub(super) disk: Incarnation,
    pub(super) address: &'a str,
    /// The entry that set the membership by which the caller acts.
    pub(super) acts_by: Option<LogId>,
}

/// Refuses a caller that has another disk or address than the membership says, or that was removed from it.
///
/// # Errors
/// A refusal with what the caller says it is, and what the membership says.
pub(super) fn vouch(log: &LogReader, members: &StoredMembership, who: &ClaimedIdentity<'_>) -> Result<(), pb::Refusal> {
    let ClaimedIdentity { id, disk, address, acts_by } = *who;
    let sends = || format!("{id} with disk {disk}");
    // The log may know more memberships than the metrics, which name the current one. Or fewer: retention removes
    // memberships with all other entries. But a caller that acts by an earlier membership was a member by it, or by one
    // before.
    let acted = acts_by.is_some_and(|by| Some(by) < *members.log_id());
    let in_log = || members.log_id().is_some_and(|now| codec::was_member(log, disk, now.index));
    let was_member = || acted || in_log();
    match members.membership().get_node(id) {
        Some(known) if known.incarnation != disk => {
            let expected = format!("{id} with disk {}", known.incarnation);
            Err(pb::Refusal { removed: was_member(), ..refusal(Reason::Sender, sends(), expected) })
        }
        Some(known) if !address.is_empty() && address != known.address => {
            let found = format!("{} at {address}", sends());
            let move_it = format!("it at {}; if it has moved, `dledger members move`; a copy stays out", known.address);
            Err(refusal(Reason::Sender, found, move_it))
        }
        None if was_member() => {
            let expected = "a member: this disk has been removed from the cluster";
            Err(pb::Refusal { removed: true, ..refusal(Reason::Sender, sends(), expected) })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a membership names that disk under that id.
pub(super) fn is_member(members: &StoredMembership, id: &NodeId, disk: Incarnation) -> bool {
    members.membership().get_node(id).is_some_and(|known| known.incarnation == disk)
}
