//! One ledger's Raft: the log, openraft's core, the proposer and the role task, started and stopped together.
//!
//! | file | what it is |
//! |---|---|
//! | [`start`] | starts a replica on a log |
//! | [`settings`] | openraft's settings for ours |
//! | [`handle`] | what the node layer asks of Raft, without its runtime type |

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::append::disk_admission::DiskAdmission;
use super::election::holdoff::ElectionHoldoff;
use super::election::lost_entries::LostEntries;
use super::heartbeat::ticker::LeaderCalls;
use super::membership::acks::MemberAcks;
use super::membership::change::Until;
use super::reads::ReadIndex;
use super::role::standing::Standing;
use super::role::tenure::Tenure;
use super::storage::retention_problems::RetentionProblems;
use super::storage::timestamps::Timestamps;
use crate::config::timing::Timing;
use crate::error::MemberError;
use crate::log::directory::Identity;
use crate::log::{Health, LogCloser, LogReader};
use crate::raft::append::waiter::Waiter;
use crate::raft::role::view::ClusterView;
use crate::types::Role;

mod handle;
mod settings;
mod start;

pub(crate) use handle::RaftHandle;
pub(crate) use start::{ReplicaOptions, start};

/// This node's replica of a ledger, running: what the node layer works with. It does not name the runtime's type.
pub(crate) struct Replica {
    pub(crate) identity: Identity,
    pub(crate) log: LogReader,
    pub(crate) health: Arc<Health>,
    pub(crate) closer: LogCloser,
    /// Membership, hand-over, removal, time: what the node layer asks of openraft itself.
    pub(crate) raft: Box<dyn RaftHandle>,
    pub(crate) admission: DiskAdmission,
    /// The source of timestamps for entries, where this node leads.
    pub(crate) timestamps: Arc<Timestamps>,
    pub(crate) retention_problems: RetentionProblems,
    /// Counts the leader's calls; the peer server notes them.
    pub(crate) leader_calls: LeaderCalls,
    pub(crate) role: watch::Receiver<Role>,
    /// Since when this node has been the master, if it is.
    pub(crate) tenure: watch::Receiver<Option<Tenure>>,
    pub(crate) view: watch::Receiver<ClusterView>,
    /// Where appends go.
    pub(crate) proposals: mpsc::UnboundedSender<Waiter>,
    /// Segments that the leader is to end, by the number of their first entry; a follower ignores them.
    pub(crate) rolls: mpsc::UnboundedSender<u64>,
    /// Bytes of appends that may still come in.
    pub(crate) budget: Arc<Semaphore>,
    /// Says up to where a read must see the log.
    pub(crate) reads: Arc<dyn ReadIndex>,
    /// How long what crosses the network may take.
    pub(crate) timing: Timing,
    /// Holds back this node's votes after a start.
    pub(crate) holdoff: ElectionHoldoff,
    pub(crate) lost_entries: LostEntries,
    /// What the members have acknowledged to this node.
    pub(crate) acks: MemberAcks,
    /// The peer server sets it when this node hears from a leader for the first time.
    pub(crate) contact: watch::Sender<bool>,
    pub(crate) standing: Standing,
}

impl Replica {
    /// Waits until the members are as `until` wants them, and no longer than `limit`.
    ///
    /// # Errors
    /// This node leads and has lost its quorum: waiting is of no use.
    pub(crate) async fn wait_for(&self, until: &Until<'_>, limit: Duration) -> Result<(), MemberError> {
        let mut clock = self.raft.clock();
        tokio::select! {
            biased;
            () = self.raft.wait_for(until) => Ok(()),
            missing = self.raft.quorum_lost() => Err(MemberError::NoQuorum { missing, waited: clock() }),
            () = self.raft.sleep(limit) => Ok(()),
        }
    }

    /// `future`'s outcome and how long it took; `None` if that is longer than `limit`.
    pub(crate) async fn timed<F: Future>(&self, limit: Duration, future: F) -> Option<(F::Output, Duration)> {
        let mut clock = self.raft.clock();
        tokio::select! {
            biased;
            output = future => Some((output, clock())),
            () = self.raft.sleep(limit) => None,
        }
    }
}
