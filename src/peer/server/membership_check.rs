//! Whether who calls is who it says, as far as a membership can tell.

use crate::log::reader::LogReader;
use crate::raft::membership::codec;
use crate::raft::type_config::{LogId, StoredMembership};
use crate::types::{Incarnation, NodeId};
use crate::wire::pb::{self, refusal::Reason};
use crate::wire::refusal;

/// Who calls, as it says.
pub(super) struct ClaimedIdentity<'a> {
    pub(super) id: &'a NodeId,
    pub(super) disk: Incarnation,
    pub(super) address: &'a str,
    /// The entry that set the membership it acts by.
    pub(super) acts_by: Option<LogId>,
}

/// Refuses a caller whom a membership knows otherwise, or that is no member any more.
///
/// # Errors
/// What it says it is, and what it would have to be.
pub(super) fn vouch(log: &LogReader, members: &StoredMembership, who: &ClaimedIdentity<'_>) -> Result<(), pb::Refusal> {
    let ClaimedIdentity { id, disk, address, acts_by } = *who;
    let sends = || format!("{id} with disk {disk}");
    // The log may know more than the metrics that say who is a member now. Or less: retention removes memberships with
    // everything else. But who acts by an earlier one was let in by it, or by one before.
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
