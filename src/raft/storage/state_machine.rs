//! The commit cursor as openraft's state machine.
//!
//! The log is the data: applying an entry means no more than letting readers see it. A snapshot says where the log
//! begins and which membership holds there; it carries no records.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;

use super::log_store::InstalledStart;
use crate::format::segment::Cursor;
use crate::log::reader::LogReader;
use crate::log::{Committer, Log};
use crate::raft::entry::Entry;
use crate::raft::membership::codec::{self, MemberNode};
use crate::raft::type_config::{CommittedLeaderId, LogId, Runtime, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use crate::types::NodeId;
use crate::wire::pb;

/// Entries applied in one go.
const APPLY_CHUNK: usize = 1024;

/// Where the log begins behind a snapshot; `None` while the log does not hold the entry (openraft's test suite).
pub(crate) type SnapshotData = Option<Cursor>;
type LedgerSnapshot = Snapshot<CommittedLeaderId, NodeId, MemberNode, SnapshotData>;

/// Applied entry and membership.
#[derive(Debug, Clone, Default)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
}

/// The state machine of a ledger.
pub(crate) struct StateMachine<R> {
    log: Committer,
    applied: Arc<Mutex<Applied>>,
    snapshots: Arc<Snapshots>,
    installed: InstalledStart,
    _runtime: PhantomData<fn() -> R>,
}

/// Builds metadata snapshots.
pub(crate) struct SnapshotBuilder {
    applied: Arc<Mutex<Applied>>,
    snapshots: Arc<Snapshots>,
}

/// The snapshot that is kept: one, the last. And the one that is to be built next.
pub(crate) struct Snapshots {
    log: Committer,
    /// Held while one is saved: the one that is built may be older than one that is installed meanwhile.
    wanted: Mutex<Option<(SnapshotMeta, Cursor)>>,
}

impl Snapshots {
    fn new(log: Committer) -> Self {
        Self { log, wanted: Mutex::default() }
    }

    fn wanted(&self) -> MutexGuard<'_, Option<(SnapshotMeta, Cursor)>> {
        self.wanted.lock()
    }

    /// From now on a snapshot is built there, and not at what is applied.
    pub(crate) fn want(&self, meta: SnapshotMeta, next: Cursor) {
        *self.wanted() = Some((meta, next));
    }

    fn install(&self, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
        let _wanted = self.wanted();
        save(&self.log, meta, start)
    }

    /// Keeps the wanted one, or `otherwise` if none is wanted; unless a newer one is there. Gives back what is kept.
    fn build(
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

impl<R: Runtime> StateMachine<R> {
    /// The state machine of `log`, at the log's commit point: what was known to be committed still is. A snapshot that
    /// was being installed is by then.
    ///
    /// # Errors
    /// If a membership or the snapshot cannot be read, or the log cannot begin behind it.
    pub(crate) fn new(log: &mut Log, installed: InstalledStart) -> io::Result<Self> {
        finish_install(log)?;
        let applied = recover(&log.reader())?;
        let log = log.committer();
        let snapshots = Arc::new(Snapshots::new(log.clone()));
        Ok(Self { log, applied: Arc::new(Mutex::new(applied)), snapshots, installed, _runtime: PhantomData })
    }

    /// Where snapshots are asked for.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        self.snapshots.clone()
    }
}

/// A snapshot that is installed is kept first; then the log begins anew behind it. A node that died in between does the
/// second now. openraft does so only if the log's last entry is of no later term than the snapshot's.
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
        // It was built here.
        return Ok(());
    }
    tracing::warn!(group = %log.identity().group, %last,
        "the log begins behind a snapshot that was being installed when this node died");
    log.reset(last.leader_id.term, last.index, next)
}

/// What had been applied when the log was closed or its process died.
fn recover(log: &LogReader) -> io::Result<Applied> {
    let start = log.start_point();
    let committed = log.progress().commit_point().number;
    let last = match committed.checked_sub(1) {
        None => None,
        Some(number) => match start.purged {
            Some(purged) if purged.number >= number => Some(log_id(purged.term, purged.number)),
            _ => log.entry_header(number).map_err(io::Error::other)?.map(|h| log_id(h.term, h.number)),
        },
    };
    let membership = match committed.checked_sub(1) {
        Some(number) => membership_at(log, number)?,
        None => current_snapshot(log)?.map(|snapshot| snapshot.meta.last_membership).unwrap_or_default(),
    };
    Ok(Applied { last, membership })
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

fn lock(applied: &Mutex<Applied>) -> MutexGuard<'_, Applied> {
    applied.lock()
}

impl<R: Runtime> RaftStateMachine<TypeConfig<R>> for StateMachine<R> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = lock(&self.applied);
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig<R>>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_CHUNK);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.into_iter().collect::<io::Result<Vec<_>>>()?;
            let Some((newest, _)) = chunk.last() else { continue };
            let newest = newest.id();
            // Readers see the records before anybody is told that they are committed.
            self.log.commit(newest.index).map_err(io::Error::other)?;
            let mut applied = lock(&self.applied);
            applied.last = Some(newest);
            for (entry, _) in &chunk {
                if let Some(membership) = entry.get_membership() {
                    applied.membership = StoredMembership::new(Some(entry.id()), membership);
                }
            }
            drop(applied);
            chunk.into_iter().filter_map(|(_, responder)| responder).for_each(|responder| responder.send(()));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { applied: self.applied.clone(), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
        self.snapshots.install(meta, start)?;
        if let (Some(last), Some(next)) = (meta.last_log_id, start) {
            *self.installed.lock() = Some((last, next));
        }
        *lock(&self.applied) = Applied { last: meta.last_log_id, membership: meta.last_membership.clone() };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<LedgerSnapshot>> {
        current_snapshot(&self.log.reader())
    }
}

impl<R: Runtime> RaftSnapshotBuilder<TypeConfig<R>> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<LedgerSnapshot> {
        self.snapshots.build(|| {
            let Applied { last, membership } = lock(&self.applied).clone();
            let start = match last {
                Some(last) => self.snapshots.log.reader().cursor_after(last.index).map_err(io::Error::other)?,
                None => None,
            };
            Ok((SnapshotMeta { last_log_id: last, last_membership: membership }, start))
        })
    }
}

/// Keeps a snapshot; there is one, the last.
fn save(log: &Committer, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
    log.save_snapshot(to_message(meta, start).encode_to_vec())
}

fn current_snapshot(log: &LogReader) -> io::Result<Option<LedgerSnapshot>> {
    let Some(bytes) = log.start_point().snapshot else { return Ok(None) };
    let message = pb::SnapshotRequest::decode(&bytes[..]).map_err(io::Error::other)?;
    let (meta, snapshot) = from_message(&message).map_err(io::Error::other)?;
    Ok(Some(Snapshot { meta, snapshot }))
}

/// A snapshot as it travels and is kept, without what is the sender's.
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
