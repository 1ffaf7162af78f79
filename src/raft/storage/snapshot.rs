//! Snapshots carry no records: where the log begins, and the membership that holds there.

use std::io;

use openraft::entry::RaftEntry;
use openraft::storage::Snapshot;
use parking_lot::{Mutex, MutexGuard};
use prost::Message;

use crate::format::segment::Cursor;
use crate::log::reader::LogReader;
use crate::log::{Committer, Log};
use crate::raft::entry::Entry;
use crate::raft::log_id::{CommittedLeaderId, LogId, log_id};
use crate::raft::membership::codec::{self, MemberNode, SnapshotMeta, StoredMembership};
use crate::types::NodeId;
use crate::wire::pb;
use std::sync::Arc;

/// Where the log begins behind a snapshot; `None` while the log does not hold the entry (openraft's test suite).
pub(crate) type SnapshotData = Option<Cursor>;
pub(super) type LedgerSnapshot = Snapshot<CommittedLeaderId, NodeId, MemberNode, SnapshotData>;

/// Where a log begins after a snapshot that was just installed: the state machine leaves it here for the purge that
/// follows.
pub(crate) type InstalledStart = Arc<Mutex<Option<(LogId, Cursor)>>>;

/// The snapshot that the log keeps (only the last), and the snapshot to build next.
pub(crate) struct Snapshots {
    pub(super) log: Committer,
    /// Held across `save`, so that a snapshot being built cannot overwrite a newer one being installed.
    wanted: Mutex<Option<(SnapshotMeta, Cursor)>>,
}

impl Snapshots {
    pub(super) fn new(log: Committer) -> Self {
        Self { log, wanted: Mutex::default() }
    }

    fn wanted(&self) -> MutexGuard<'_, Option<(SnapshotMeta, Cursor)>> {
        self.wanted.lock()
    }

    /// From now on, `build` makes this snapshot, and not one at the last applied entry.
    pub(crate) fn want(&self, meta: SnapshotMeta, next: Cursor) {
        *self.wanted() = Some((meta, next));
    }

    pub(super) fn install(&self, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
        let _wanted = self.wanted();
        save(&self.log, meta, start)
    }

    /// Keeps the wanted snapshot, or `otherwise` if none is wanted; unless the log keeps one already that is not older.
    /// Returns the snapshot that the log then keeps.
    pub(super) fn build(
        &self,
        otherwise: impl FnOnce() -> io::Result<(SnapshotMeta, SnapshotData)>,
    ) -> io::Result<LedgerSnapshot> {
        let wanted = self.wanted();
        let (meta, start) = match &*wanted {
            Some((meta, next)) => (meta.clone(), Some(*next)),
            None => otherwise()?,
        };
        if let Some(kept) = current_snapshot(&self.log.reader())?
            && kept.meta.last_log_id >= meta.last_log_id
        {
            return Ok(kept);
        }
        save(&self.log, &meta, start)?;
        Ok(Snapshot { meta, snapshot: start })
    }
}

/// Installing a snapshot keeps it first, and then begins the log anew behind it. If the node died between these steps,
/// this function does the second. openraft does so only if the log's last entry is of no later term than the
/// snapshot's.
///
/// # Errors
/// If the snapshot or the log cannot be read, or no log can begin there.
pub(crate) fn finish_install(log: &mut Log) -> io::Result<()> {
    let Some(Snapshot { meta, snapshot: Some(next) }) = current_snapshot(&log.reader())? else { return Ok(()) };
    let Some(last) = meta.last_log_id else { return Ok(()) };
    if log.purged().is_some_and(|purged| purged.number >= last.index) {
        return Ok(());
    }
    let there = log.reader().entry_header(last.index).map_err(io::Error::other)?;
    if there.is_some_and(|entry| entry.term == last.leader_id.term) {
        // This node built the snapshot: the log need not begin anew.
        return Ok(());
    }
    tracing::warn!(group = %log.identity().group, %last,
        "the log begins behind a snapshot that was being installed when this node died");
    log.reset(last.leader_id.term, last.index, next)
}

/// The membership that holds behind entry `number`.
///
/// # Errors
/// If it, or the snapshot, cannot be read.
pub(crate) fn membership_at(log: &LogReader, number: u64) -> io::Result<StoredMembership> {
    let snapshot = current_snapshot(log)?.map(|snapshot| snapshot.meta.last_membership).unwrap_or_default();
    let in_snapshot = snapshot.log_id().map(|id| id.index);
    let set_by = log.memberships().into_iter().rev().find(|set_by| *set_by <= number);
    if let Some(set_by) = set_by.filter(|set_by| in_snapshot.is_none_or(|known| known < *set_by))
        && let Some(frame) = log.frame(set_by).map_err(io::Error::other)?
    {
        let entry = Entry::stored(frame).map_err(io::Error::other)?;
        return Ok(StoredMembership::new(Some(entry.id()), entry.get_membership().unwrap_or_default()));
    }
    Ok(snapshot)
}

/// Keeps a snapshot in place of the one before.
fn save(log: &Committer, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
    log.save_snapshot(to_message(meta, start).encode_to_vec())
}

pub(super) fn current_snapshot(log: &LogReader) -> io::Result<Option<LedgerSnapshot>> {
    let Some(bytes) = log.start_point().snapshot else { return Ok(None) };
    let message = pb::SnapshotRequest::decode(&bytes[..]).map_err(io::Error::other)?;
    let (meta, snapshot) = from_message(&message).map_err(io::Error::other)?;
    Ok(Some(Snapshot { meta, snapshot }))
}

/// A snapshot as it travels and is kept, without the fields that its sender fills in.
pub(crate) fn to_message(meta: &SnapshotMeta, start: SnapshotData) -> pb::SnapshotRequest {
    pb::SnapshotRequest {
        envelope: None,
        vote: None,
        last_log_id: meta.last_log_id.map(|id| pb::LogId { term: id.leader_id.term, number: id.index }),
        membership: Some(codec::stored_to_message(&meta.last_membership)),
        start: start.map(|next| pb::LogStart {
            position: next.position,
            index: next.index,
            chain: next.chain,
            timestamp: next.timestamp,
        }),
        lease_window_ms: 0,
        acknowledged: None,
    }
}

/// The reverse of [`to_message`].
pub(crate) fn from_message(message: &pb::SnapshotRequest) -> Result<(SnapshotMeta, SnapshotData), codec::MembersError> {
    let last_log_id = message.last_log_id.as_ref().map(|id| log_id(id.term, id.number));
    let last_membership = match &message.membership {
        Some(stored) => codec::stored_from_message(stored)?,
        None => StoredMembership::default(),
    };
    let next = |last: LogId, start: &pb::LogStart| Cursor {
        position: start.position,
        // Too large a number is refused where the log is to begin there.
        number: last.index.saturating_add(1),
        index: start.index,
        term: last.leader_id.term,
        timestamp: start.timestamp,
        chain: start.chain,
    };
    let start = last_log_id.zip(message.start.as_ref()).map(|(last, start)| next(last, start));
    Ok((SnapshotMeta { last_log_id, last_membership }, start))
}
