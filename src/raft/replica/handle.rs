//! What the node layer asks of Raft besides appends and reads, without the runtime's type.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::Instant;
use openraft::errors::{InitializeError, RaftError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::timing::Timing;
use crate::error::{MemberError, RemoveError};
use crate::log::reader::LogReader;
use crate::log::retention::Removal;
use crate::raft::Raft;
use crate::raft::election::handover::Handover;
use crate::raft::election::vote_saves::VoteSaves;
use crate::raft::heartbeat::ticker::Ticked;
use crate::raft::membership::change::{self, Decide, Until};
use crate::raft::membership::codec::MemberNode;
use crate::raft::membership::view::{self, MembershipView};
use crate::raft::storage::purge::{Purger, RemovalOutcome};
use crate::raft::type_config::Runtime;
use crate::types::{Incarnation, Member, NodeId};

/// Raft of one ledger, as [`Replica`](super::Replica) gives it to the node layer.
pub(crate) trait RaftHandle: Send + Sync {
    /// Whether the ledger has never had a vote or an entry.
    ///
    /// # Errors
    /// If Raft has stopped.
    fn is_pristine(&self) -> BoxFuture<'_, Result<bool, String>>;

    /// Makes `members` the first membership of a cluster of this incarnation. Harmless if there is one already.
    ///
    /// # Errors
    /// If Raft has stopped, or the members do not include this node.
    fn initialize(&self, members: Vec<Member>, cluster: Incarnation) -> BoxFuture<'_, Result<(), String>>;

    /// How this node sees the members.
    fn membership(&self) -> MembershipView;

    /// See [`change::change`].
    ///
    /// # Errors
    /// As [`change::change`].
    fn change<'a>(&'a self, decide: &'a Decide<'a>) -> BoxFuture<'a, Result<(), MemberError>>;

    /// Waits until the members are as `until` wants them, or Raft has stopped.
    fn wait_for<'a>(&'a self, until: &'a Until<'a>) -> BoxFuture<'a, ()>;

    /// Ends when this node leads and has lost its quorum, and names the voters that are missing.
    fn quorum_lost(&self) -> BoxFuture<'_, String>;

    /// Has this node, if it leads, hand over to `to`. Returns before that has happened; a hand-over that `to` does not
    /// take is taken back ([`handover`](crate::raft::election::handover)).
    ///
    /// # Errors
    /// If Raft has stopped.
    fn transfer(&self, to: NodeId) -> BoxFuture<'_, Result<(), String>>;

    /// Removes the entries that retention decided to remove.
    ///
    /// # Errors
    /// Why the entries are still there.
    fn remove(&self, removal: Removal) -> BoxFuture<'_, Result<(), RemoveError>>;

    /// How removing went so far.
    fn removal_outcome(&self) -> RemovalOutcome;

    /// Removes everything committed so far.
    #[cfg(feature = "internals")]
    fn purge_all(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Sleeps on the clock that Raft goes by.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Tells the time since the call, on the clock that Raft goes by.
    fn clock(&self) -> Box<dyn FnMut() -> Duration + Send>;

    /// Stops Raft and its tasks. The log is still open then; close it after.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// The [`RaftHandle`] over openraft on runtime `R`.
pub(super) struct OpenraftHandle<R: Runtime> {
    /// Dropped with the replica, which ends its ticks.
    pub(super) _pace: Arc<dyn Ticked>,
    pub(super) raft: Raft<R>,
    pub(super) log: LogReader,
    pub(super) purger: Purger<R>,
    /// A member that has not answered for this long does not count as alive.
    pub(super) lease: Duration,
    pub(super) timing: Timing,
    pub(super) handover: Handover,
    pub(super) saves: VoteSaves,
    /// Ends the role task as `Stopped` and not as failed: cancelled before openraft is shut down.
    pub(super) stop: CancellationToken,
    /// The role task and the proposer, until `shutdown` has waited for them.
    pub(super) tasks: Mutex<Vec<R::JoinHandle<()>>>,
}

impl<R: Runtime> RaftHandle for OpenraftHandle<R>
where
    R::JoinHandle<()>: Send,
{
    fn is_pristine(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async move {
            let initialized = self.raft.is_initialized().await.map_err(|fatal| fatal.to_string())?;
            Ok(!initialized && self.log.purged().is_none())
        })
    }

    fn initialize(&self, members: Vec<Member>, cluster: Incarnation) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let cluster = Some(cluster);
            let node = |m: Member| (m.id, MemberNode { address: m.address, incarnation: m.incarnation, cluster });
            let members: BTreeMap<_, _> = members.into_iter().map(node).collect();
            match self.raft.initialize(members).await {
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn remove(&self, removal: Removal) -> BoxFuture<'_, Result<(), RemoveError>> {
        Box::pin(self.purger.remove(removal))
    }

    fn removal_outcome(&self) -> RemovalOutcome {
        self.purger.outcome()
    }

    #[cfg(feature = "internals")]
    fn purge_all(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let applied = self.log.progress().commit_point().number - 1;
            self.purger.purge(applied).await.map(drop).map_err(|error| error.to_string())
        })
    }

    fn membership(&self) -> MembershipView {
        view::view(&self.raft, self.lease)
    }

    fn change<'a>(&'a self, decide: &'a Decide<'a>) -> BoxFuture<'a, Result<(), MemberError>> {
        Box::pin(change::change(&self.raft, self.lease, decide))
    }

    fn wait_for<'a>(&'a self, until: &'a Until<'a>) -> BoxFuture<'a, ()> {
        Box::pin(change::wait_for(&self.raft, self.lease, until))
    }

    fn quorum_lost(&self) -> BoxFuture<'_, String> {
        Box::pin(change::quorum_lost(&self.raft, self.lease, self.lease))
    }

    fn transfer(&self, to: NodeId) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.handover.begin(&self.log, &self.raft, to, self.timing.hand_over()))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(R::sleep(duration))
    }

    fn clock(&self) -> Box<dyn FnMut() -> Duration + Send> {
        let began = R::Instant::now();
        Box::new(move || R::Instant::now() - began)
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.saves.stop();
            if let Err(error) = self.raft.shutdown().await {
                tracing::error!(group = %self.log.group(), %error, "Raft did not shut down cleanly");
            }
            let tasks = std::mem::take(&mut *self.tasks.lock());
            for task in tasks {
                if let Err(error) = task.await {
                    let group = self.log.group();
                    tracing::error!(%group, %error, "a task of the ledger panicked or was cancelled");
                }
            }
        })
    }
}
