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
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use parking_lot::{Mutex, MutexGuard};

use super::snapshot::InstalledStart;
use super::snapshot::{LedgerSnapshot, SnapshotData, Snapshots, current_snapshot, finish_install, membership_at};
use crate::log::reader::LogReader;
use crate::log::{Committer, Log};
use crate::raft::log_id::{LogId, log_id};
use crate::raft::membership::codec::{SnapshotMeta, StoredMembership};
use crate::raft::type_config::{Runtime, TypeConfig};

/// Entries applied in one go.
const APPLY_CHUNK: usize = 1024;

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

impl<R: Runtime> StateMachine<R> {
    /// The state machine of `log`, at the log's commit point: entries that were known to be committed still are.
    /// Completes the installation of a snapshot if the node died during it.
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

    /// The snapshots that this state machine keeps and builds.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        self.snapshots.clone()
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
    let membership = match committed.checked_sub(1) {
        Some(number) => membership_at(log, number)?,
        None => current_snapshot(log)?.map(|snapshot| snapshot.meta.last_membership).unwrap_or_default(),
    };
    Ok(Applied { last, membership })
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
