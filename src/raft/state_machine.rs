//! The commit cursor as openraft's state machine.
//!
//! The log is the data: applying an entry means no more than letting readers see it. A snapshot says where the log
//! begins and which membership holds there; it carries no records.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use prost::Message;

use super::config::{CommittedLeaderId, LogId, Runtime, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use super::entry::Entry;
use super::members::{self, MemberNode};
use super::storage::InstalledStart;
use crate::format::segment::Cursor;
use crate::log::reader::LogReader;
use crate::pb;
use crate::types::NodeId;

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
    log: LogReader,
    applied: Arc<Mutex<Applied>>,
    installed: InstalledStart,
    _runtime: PhantomData<fn() -> R>,
}

/// Builds metadata snapshots.
pub(crate) struct SnapshotBuilder {
    log: LogReader,
    applied: Arc<Mutex<Applied>>,
}

impl<R: Runtime> StateMachine<R> {
    /// The state machine of `log`, at the log's commit point: what was known to be committed still is.
    ///
    /// # Errors
    /// If a membership or the snapshot cannot be read.
    pub(crate) fn new(log: LogReader, installed: InstalledStart) -> io::Result<Self> {
        let applied = recover(&log)?;
        Ok(Self { log, applied: Arc::new(Mutex::new(applied)), installed, _runtime: PhantomData })
    }
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
    let snapshot = current_snapshot(log)?;
    let mut membership = snapshot.map(|snapshot| snapshot.meta.last_membership).unwrap_or_default();
    let set_by = log.memberships().into_iter().rev().find(|number| *number < committed);
    if let Some(number) = set_by
        && membership.log_id().is_none_or(|id| id.index < number)
        && let Some(frame) = log.frame(number).map_err(io::Error::other)?
    {
        let entry = Entry::stored(frame).map_err(io::Error::other)?;
        membership = StoredMembership::new(Some(entry.id()), entry.get_membership().unwrap_or_default());
    }
    Ok(Applied { last, membership })
}

fn lock(applied: &Mutex<Applied>) -> MutexGuard<'_, Applied> {
    applied.lock().unwrap_or_else(PoisonError::into_inner)
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
        SnapshotBuilder { log: self.log.clone(), applied: self.applied.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
        save(&self.log, meta, start)?;
        if let (Some(last), Some(next)) = (meta.last_log_id, start) {
            *self.installed.lock().unwrap_or_else(PoisonError::into_inner) = Some((last, next));
        }
        *lock(&self.applied) = Applied { last: meta.last_log_id, membership: meta.last_membership.clone() };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<LedgerSnapshot>> {
        current_snapshot(&self.log)
    }
}

impl<R: Runtime> RaftSnapshotBuilder<TypeConfig<R>> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<LedgerSnapshot> {
        let Applied { last, membership } = lock(&self.applied).clone();
        let start = match last {
            Some(last) => self.log.cursor_after(last.index).map_err(io::Error::other)?,
            None => None,
        };
        let meta = SnapshotMeta { last_log_id: last, last_membership: membership };
        save(&self.log, &meta, start)?;
        Ok(Snapshot { meta, snapshot: start })
    }
}

/// Keeps a snapshot; there is one, the last.
fn save(log: &LogReader, meta: &SnapshotMeta, start: SnapshotData) -> io::Result<()> {
    log.save_snapshot(to_message(meta, start).encode_to_vec())
}

fn current_snapshot(log: &LogReader) -> io::Result<Option<LedgerSnapshot>> {
    let Some(bytes) = log.start_point().snapshot else { return Ok(None) };
    let message = pb::SnapshotRequest::decode(&bytes[..]).map_err(io::Error::other)?;
    let (meta, snapshot) = from_message(&message).map_err(io::Error::other)?;
    Ok(Some(Snapshot { meta, snapshot }))
}

/// A snapshot as it travels and is kept, without envelope, vote and lease window.
pub(crate) fn to_message(meta: &SnapshotMeta, start: SnapshotData) -> pb::SnapshotRequest {
    pb::SnapshotRequest {
        envelope: None,
        vote: None,
        last_log_id: meta.last_log_id.map(|id| pb::LogId { term: id.leader_id.term, number: id.index }),
        membership: Some(members::stored_to_message(&meta.last_membership)),
        start: start.map(|next| pb::LogStart {
            position: next.position,
            index: next.index,
            chain: next.chain,
            timestamp: next.timestamp,
        }),
        lease_window_ms: 0,
    }
}

/// The reverse of [`to_message`].
pub(crate) fn from_message(
    message: &pb::SnapshotRequest,
) -> Result<(SnapshotMeta, SnapshotData), members::MembersError> {
    let last_log_id = message.last_log_id.as_ref().map(|id| log_id(id.term, id.number));
    let last_membership = match &message.membership {
        Some(stored) => members::stored_from_message(stored)?,
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
