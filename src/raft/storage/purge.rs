//! Removing what retention gives up, through Raft: a metadata snapshot at the purge point, then the purge.
//!
//! openraft purges nothing that its snapshot does not cover, and brings a peer that needs what was purged to the
//! snapshot's place. So the snapshot is made at the purge point and nowhere further on: the peer gets all that is left.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::WaitError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::snapshot::{Snapshots, membership_at};
use super::timestamps::Clock;
use crate::error::{Damage, RemoveError};
use crate::format::segment::Cursor;
use crate::log::reader::LogReader;
use crate::log::retention::Removal;
use crate::raft::Raft;
use crate::raft::log_id::log_id;
use crate::raft::membership::codec::SnapshotMeta;
use crate::raft::type_config::Runtime;
use crate::types::LastRemoval;

/// How long a purge waits for a peer's replication stream before it breaks the stream: entries that the stream still
/// has to send may go. Longer than the pause after which openraft tries again a peer that has been gone for seconds:
/// that attempt frees the stream as well.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How long openraft may take to make a snapshot, and to purge once the streams are broken.
const BOUND: Duration = Duration::from_secs(10);

/// What a replication stream must not hold on to.
#[derive(Clone)]
pub(crate) struct PurgeFloor {
    /// Number after the last entry that must go now; 0: streams may take their time.
    wanted: watch::Receiver<u64>,
    log: LogReader,
}

impl PurgeFloor {
    /// The floor of `log`, and the sender that raises it.
    pub(crate) fn new(log: LogReader) -> (watch::Sender<u64>, Self) {
        let (raise, wanted) = watch::channel(0);
        (raise, Self { wanted, log })
    }

    /// The log that the floor belongs to.
    pub(crate) fn log(&self) -> &LogReader {
        &self.log
    }

    /// Changes when the floor is raised, and when it is lowered again.
    pub(crate) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.clone()
    }

    /// Whether entry `number` is gone.
    pub(crate) fn is_gone(&self, number: u64) -> bool {
        number < self.log.numbers().start
    }
}

/// Removes entries of one ledger on this node, one purge at a time.
pub(crate) struct Purger<R: Runtime> {
    raft: Raft<R>,
    log: LogReader,
    clock: Clock,
    snapshots: Arc<Snapshots>,
    floor: watch::Sender<u64>,
    turn: tokio::sync::Mutex<()>,
    outcome: Mutex<RemovalOutcome>,
}

/// How removing went so far, in this life of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct RemovalOutcome {
    /// The last removal that succeeded.
    pub(crate) last: Option<LastRemoval>,
    /// Why the newest attempt failed, if it did.
    pub(crate) problem: Option<String>,
}

impl<R: Runtime> Purger<R> {
    pub(crate) fn new(
        raft: Raft<R>,
        log: LogReader,
        clock: Clock,
        snapshots: Arc<Snapshots>,
        floor: watch::Sender<u64>,
    ) -> Self {
        Self { raft, log, clock, snapshots, floor, turn: Default::default(), outcome: Mutex::default() }
    }

    fn outcome_mut(&self) -> MutexGuard<'_, RemovalOutcome> {
        self.outcome.lock()
    }

    pub(crate) fn outcome(&self) -> RemovalOutcome {
        self.outcome_mut().clone()
    }

    /// Does what retention decided, and keeps the outcome.
    ///
    /// # Errors
    /// As [`Purger::purge`].
    pub(crate) async fn remove(&self, removal: Removal) -> Result<(), RemoveError> {
        let purged = self.purge(removal.upto).await;
        let mut outcome = self.outcome_mut();
        outcome.problem = purged.as_ref().err().map(ToString::to_string);
        if purged == Ok(true) {
            let Removal { first, segments, bytes, reason, .. } = removal;
            tracing::info!(group = %self.log.group(), first, segments, bytes, reason = reason.name(),
                "removed the oldest segments");
            outcome.last = Some(LastRemoval { at: (self.clock)(), reason, first, segments: segments as u64, bytes });
        }
        purged.map(drop)
    }

    /// Removes the entries up to and including number `upto`, which is applied. False if they were gone already.
    ///
    /// # Errors
    /// An entry that the purge must read is damaged, another node holds on to entries that must go, or Raft
    /// has stopped.
    pub(crate) async fn purge(&self, upto: u64) -> Result<bool, RemoveError> {
        let _turn = self.turn.lock().await;
        if self.is_gone(upto) {
            return Ok(false);
        }
        if self.attempt(upto, PATIENCE).await? {
            return Ok(true);
        }
        // This node leads, and a peer is slower than retention: the peer must get a snapshot instead.
        let _raised = RaisedFloor::new(&self.floor, upto + 1);
        if self.attempt(upto, BOUND).await? { Ok(true) } else { Err(self.late()) }
    }

    fn is_gone(&self, number: u64) -> bool {
        self.log.purged().is_some_and(|purged| purged.number >= number)
    }

    /// Whether entry `upto` is gone within the time.
    async fn attempt(&self, upto: u64, within: Duration) -> Result<bool, RemoveError> {
        if self.is_gone(upto) {
            return Ok(true);
        }
        if let Some(at) = self.next_snapshot(upto) {
            let (meta, next) = point(&self.log, at).map_err(told)?;
            self.snapshots.want(meta, next);
            self.raft.trigger().snapshot().await.map_err(closed)?;
            let made = self.raft.wait(Some(BOUND));
            match made.metrics(|m| m.snapshot.is_some_and(|s| s.index >= at), "snapshot at the purge point").await {
                Ok(_) => {}
                Err(WaitError::Timeout(..)) => return Err(self.late()),
                Err(ended) => return Err(closed(ended)),
            }
        }
        self.raft.trigger().purge_log(upto).await.map_err(closed)?;
        let wait = self.raft.wait(Some(within));
        match wait.metrics(|m| m.purged.is_some_and(|p| p.index >= upto), "purge").await {
            Ok(_) => Ok(true),
            Err(WaitError::Timeout(..)) => Ok(false),
            Err(ended) => Err(closed(ended)),
        }
    }

    fn late(&self) -> RemoveError {
        match self.log.failure() {
            Some(failure) => RemoveError::Closed { reason: failure.reason().to_owned() },
            None => RemoveError::Busy { waited: PATIENCE + BOUND },
        }
    }

    /// Where the next snapshot must be so that openraft purges at `upto`; `None`: the present snapshot will do.
    ///
    /// A snapshot at `upto` or behind it comes from an attempt that failed. openraft remembers that purge, and ignores
    /// a second request for it; but if this node stopped leading meanwhile, openraft takes the purge up only when there
    /// is a new snapshot.
    fn next_snapshot(&self, upto: u64) -> Option<u64> {
        let there = self.raft.metrics().borrow_watched().snapshot.map(|id| id.index);
        match there.filter(|there| *there >= upto) {
            None => Some(upto),
            Some(there) => Some(there + 1).filter(|next| *next < self.log.progress().commit_point().number),
        }
    }
}

/// Keeps the floor raised while a purge waits for the streams to break, and no longer.
struct RaisedFloor<'a>(&'a watch::Sender<u64>);

impl<'a> RaisedFloor<'a> {
    fn new(floor: &'a watch::Sender<u64>, number: u64) -> Self {
        floor.send_replace(number);
        Self(floor)
    }
}

impl Drop for RaisedFloor<'_> {
    fn drop(&mut self) {
        self.0.send_replace(0);
    }
}

/// The snapshot behind entry `number`, and where the log goes on after it.
fn point(log: &LogReader, number: u64) -> io::Result<(SnapshotMeta, Cursor)> {
    let missing = || io::Error::other(format!("entry {number} is to be removed but is not there"));
    let header = log.entry_header(number).map_err(io::Error::other)?.ok_or_else(missing)?;
    let next = log.cursor_after(number).map_err(io::Error::other)?.ok_or_else(missing)?;
    let last_membership = membership_at(log, number)?;
    Ok((SnapshotMeta { last_log_id: Some(log_id(header.term, number)), last_membership }, next))
}

fn closed(reason: impl ToString) -> RemoveError {
    RemoveError::Closed { reason: reason.to_string() }
}

/// The error of a read that failed.
fn told(error: io::Error) -> RemoveError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        Some(damage) => RemoveError::Damaged(damage.clone()),
        None => closed(error),
    }
}
