//! What a test does to a ledger from inside, and what only its inside tells.

use std::io;

use crate::node::Ledger;
use crate::types::NodeId;

/// Stops Raft and its tasks. The log is still open then.
pub async fn stop_raft(ledger: &Ledger) {
    ledger.replica().raft.shutdown().await;
}

/// Closes the log of a ledger whose Raft was stopped.
///
/// # Errors
/// If a sync fails or one failed before.
pub fn close_log(ledger: &Ledger) -> io::Result<()> {
    ledger.replica().closer.close()
}

/// Has the leader hand over to `to`.
///
/// # Errors
/// If Raft has stopped.
pub async fn transfer(ledger: &Ledger, to: NodeId) -> Result<(), String> {
    ledger.replica().raft.transfer(to).await
}

/// Removes all entries committed so far.
///
/// # Errors
/// If a file cannot be removed.
pub async fn purge_all(ledger: &Ledger) -> Result<(), String> {
    ledger.replica().raft.purge_all().await
}

/// Asks the ledger's proposer to end the segment before entry `number`.
///
/// # Errors
/// The ledger is closed, and its proposer with it.
pub fn end_segment(ledger: &Ledger, number: u64) -> Result<(), String> {
    ledger.replica().rolls.send(number).map_err(|closed| closed.to_string())
}

/// Whether this node has heard from a leader.
pub fn has_heard_from_leader(ledger: &Ledger) -> bool {
    *ledger.replica().contact.borrow()
}

/// Whether the log lacks entries that this node has acknowledged.
pub fn lacks_acknowledged(ledger: &Ledger) -> bool {
    let replica = ledger.replica();
    replica.lost_entries.lacking(&replica.log).is_some()
}

/// Whether the log still has the entry of a membership.
pub fn has_membership_entry(ledger: &Ledger) -> bool {
    let log = &ledger.replica().log;
    log.memberships().into_iter().any(|number| log.frame(number).ok().flatten().is_some())
}

/// Node `by` tells this one that it was removed from the cluster.
pub fn tell_removed(ledger: &Ledger, by: &str) {
    ledger.replica().standing.tell_removed(by);
}

/// Whether this node still believes that it was removed from the cluster.
pub fn is_told_removed(ledger: &Ledger) -> bool {
    ledger.replica().standing.removed().borrow().is_some()
}
