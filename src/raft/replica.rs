//! One ledger's Raft: the log, the core, the proposer and the role task, started and stopped together.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::errors::{InitializeError, RaftError};
use openraft::network::{NetSnapshot, RaftNetworkFactory};
use openraft::{Config as RaftConfig, Instant, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use super::append::disk_admission::DiskAdmission;
use super::append::inflight::Waiter;
use super::append::proposer::Proposer;
use super::blocking::run_blocking;
use super::election::handover::Handover;
use super::election::holdoff::ElectionHoldoff;
use super::election::lost_entries::LostEntries;
use super::election::vote_saves::{ElectionBounds, VoteCollector, VoteSaves};
use super::heartbeat::ticker::{LeaderCalls, Ticked, Ticker};
use super::membership::acks::MemberAcks;
use super::membership::change::{self, Decide, MembershipView, Until};
use super::membership::codec::MemberNode;
use super::reads::{LeadershipProbe, ReadIndex, ReadLeader};
use super::role::standing::Standing;
use super::role::task::{ClusterView, RoleChannels, RoleTask};
use super::role::tenure::Tenure;
use super::storage::log_store::{Clock, InstalledStart, LogStore};
use super::storage::purge::{Purger, RemovalOutcome};
use super::storage::state_machine::{self, SnapshotData, StateMachine};
use super::storage::timestamps::Timestamps;
use super::type_config::{Raft, Runtime, StoredMembership, TypeConfig};
use crate::config::Config;
use crate::config::lease::Timing;
use crate::error::{MemberError, RemoveError};
use crate::log::Log;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::log::retention::Removal;
use crate::types::{Incarnation, Member, NodeId, Role};

/// A running ledger, without its runtime type: what the node layer works with.
pub(crate) struct Replica {
    pub(crate) identity: Identity,
    pub(crate) log: LogReader,
    pub(crate) admission: DiskAdmission,
    /// What time entries are stamped with where this node leads.
    pub(crate) timestamps: Arc<Timestamps>,
    /// What is wrong with the clock or the timestamps, as far as retention goes by them.
    pub(crate) clock_problem: Mutex<Option<String>>,
    /// Why the master cannot end a segment whose records have their age.
    pub(crate) roll_problem: Mutex<Option<String>>,
    /// Where the peer server tells that the leader lives.
    pub(crate) leader_calls: LeaderCalls,
    pub(crate) role: watch::Receiver<Role>,
    /// Since when this node has been the master, if it is.
    pub(crate) tenure: watch::Receiver<Option<Tenure>>,
    pub(crate) view: watch::Receiver<ClusterView>,
    /// Where appends go.
    pub(crate) proposals: mpsc::UnboundedSender<Waiter>,
    /// Segments that the leader is to end, by the number of their first entry; who does not lead ends none.
    pub(crate) rolls: mpsc::UnboundedSender<u64>,
    /// Bytes of appends that may still come in.
    pub(crate) budget: Arc<Semaphore>,
    /// Where reads ask up to where they must see.
    pub(crate) reads: Arc<dyn ReadIndex>,
    /// How long what crosses the network may take.
    pub(crate) timing: Timing,
    /// Votes wait for it.
    pub(crate) holdoff: ElectionHoldoff,
    /// What this node has acknowledged and does not have: it votes as if it had it.
    pub(crate) lost_entries: LostEntries,
    /// What the members have acknowledged to this node.
    pub(crate) acks: MemberAcks,
    /// To be told when this node hears from a leader for the first time.
    pub(crate) contact: watch::Sender<bool>,
    pub(crate) standing: Standing,
    control: Box<dyn Control>,
}

/// What the node layer asks of Raft besides appends.
trait Control: Send + Sync {
    fn is_pristine(&self) -> BoxFuture<'_, Result<bool, String>>;
    fn initialize(&self, members: Vec<Member>, cluster: Incarnation) -> BoxFuture<'_, Result<(), String>>;
    fn membership(&self) -> MembershipView;
    fn change<'a>(&'a self, decide: &'a Decide<'a>) -> BoxFuture<'a, Result<(), MemberError>>;
    fn wait_for<'a>(&'a self, settled: &'a Until<'a>) -> BoxFuture<'a, ()>;
    fn quorum_lost(&self) -> BoxFuture<'_, String>;
    fn transfer(&self, to: NodeId) -> BoxFuture<'_, Result<(), String>>;
    fn shutdown(&self) -> BoxFuture<'_, ()>;
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Tells the time since it was made.
    fn clock(&self) -> Box<dyn FnMut() -> Duration + Send>;
    fn remove(&self, removal: Removal) -> BoxFuture<'_, Result<(), RemoveError>>;
    fn removal_outcome(&self) -> RemovalOutcome;
    /// Removes everything committed so far.
    #[cfg(test)]
    fn purge_all(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// What a group is started with, besides its network.
pub(crate) struct ReplicaOptions<'a> {
    pub(crate) config: &'a Config,
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    /// Tells the network which entries are to go ([`PurgeFloor`](super::storage::purge::PurgeFloor)).
    pub(crate) floor: watch::Sender<u64>,
    pub(crate) ticker: &'a Ticker,
    /// What proves that this node leads.
    pub(crate) probe: Arc<dyn LeadershipProbe>,
    /// Where the network notes what members acknowledge.
    pub(crate) acks: MemberAcks,
    /// Where the network tells what the peers say of this node.
    pub(crate) standing: Standing,
    /// Asks for votes that take long to be saved.
    pub(crate) votes: Arc<dyn VoteCollector>,
}

/// Starts Raft on a log. Returns the group and the handle that the network's server needs.
///
/// # Errors
/// If openraft refuses its configuration or what it finds in the log.
pub(crate) async fn start<R, N>(options: ReplicaOptions<'_>, network: N) -> Result<(Replica, Raft<R>), String>
where
    R: Runtime,
    N: RaftNetworkFactory<TypeConfig<R>>,
    N::Network: NetSnapshot<TypeConfig<R>, SnapshotData = SnapshotData>,
{
    let ReplicaOptions { config, log, clock, floor, ticker, probe, acks, standing, votes } = options;
    let identity = log.identity().clone();
    let reader = log.reader();
    let installed = Arc::new(Mutex::new(None));
    let opened = run_blocking::<R, _>(open_machine(log, installed.clone())).await.and_then(|opened| opened);
    let (log, machine, members) = opened.map_err(|error| error.to_string())?;
    let admission = DiskAdmission::new(reader.clone(), clock.clone());
    let snapshots = machine.snapshots();
    let saves = votes.saves();
    let bounds = ElectionBounds { node: identity.node.clone(), election_timeout: config.election_timeout };
    let store = LogStore::<R>::new(log, clock.clone(), installed).asking(votes, saves.clone(), bounds);
    let timestamps = store.timestamps();
    let settings = raft_config(config)?;
    let due = ElectionHoldoff::is_due(&identity.node, reader.vote().as_ref(), &members);
    let raft = Raft::<R>::new(identity.node.clone(), Arc::new(settings), network, store, machine)
        .await
        .map_err(|fatal| fatal.to_string())?;
    let holdoff = match due {
        true => ElectionHoldoff::start::<R>(config.follower_patience(), config.reminded_by()),
        false => ElectionHoldoff::none(),
    };
    let reads = Arc::new(ReadLeader::new(raft.clone(), reader.clone(), config.lease_window(), probe));
    let lost_entries = LostEntries::new();
    let (log, told) = (reader.clone(), standing.clone());
    let roles = RoleTask::<R>::start(config, &identity, raft.clone(), log, holdoff.clone(), lost_entries.clone(), told);
    let RoleChannels { role, tenure, view, contact, stop, task: role_task } = roles;
    let (proposals, submitted) = mpsc::unbounded_channel();
    let (rolls, rolling) = mpsc::unbounded_channel();
    let (of_raft, role_seen, told) = (raft.clone(), role.clone(), standing.clone());
    let proposer =
        Proposer::new(of_raft, admission.clone(), role_seen, told, submitted, rolling, config.max_batch_bytes);
    let proposer = R::spawn(proposer.run());
    let budget = Arc::new(Semaphore::new(config.max_inflight_bytes));
    let leader_calls = LeaderCalls::default();
    let purger = Purger::new(raft.clone(), reader.clone(), clock, snapshots, floor);
    let timing = Timing::of(config);
    let control = Box::new(RaftControl {
        _pace: ticker.pace(raft.clone(), leader_calls.clone()),
        raft: raft.clone(),
        log: reader.clone(),
        purger,
        lease: config.election_timeout.1,
        timing,
        handover: Handover::default(),
        saves,
        stop,
        tasks: Mutex::new(vec![role_task, proposer]),
    });
    let group = Replica {
        identity,
        log: reader,
        admission,
        timestamps,
        clock_problem: Mutex::default(),
        roll_problem: Mutex::default(),
        leader_calls,
        role,
        tenure,
        view,
        proposals,
        rolls,
        budget,
        reads,
        timing,
        holdoff,
        lost_entries,
        acks,
        contact,
        standing,
        control,
    };
    Ok((group, raft))
}

/// The state machine of a log, and the members that it says there are: both are read.
fn open_machine<R: Runtime>(
    mut log: Log,
    installed: InstalledStart,
) -> impl FnOnce() -> io::Result<(Log, StateMachine<R>, StoredMembership)> + Send + 'static {
    move || {
        let machine = StateMachine::<R>::new(&mut log, installed)?;
        let members = state_machine::membership_at(&log.reader(), u64::MAX)?;
        Ok((log, machine, members))
    }
}

impl Replica {
    /// Whether the ledger has never had a vote or an entry.
    ///
    /// # Errors
    /// If Raft has stopped.
    pub(crate) async fn is_pristine(&self) -> Result<bool, String> {
        self.control.is_pristine().await
    }

    /// Makes `members` the first membership of a cluster of this incarnation. Harmless if there is one already.
    ///
    /// # Errors
    /// If Raft has stopped, or the members do not include this node.
    pub(crate) async fn initialize(&self, members: Vec<Member>, cluster: Incarnation) -> Result<(), String> {
        self.control.initialize(members, cluster).await
    }

    /// Removes what retention decided.
    ///
    /// # Errors
    /// Why it is there still.
    pub(crate) async fn remove(&self, removal: Removal) -> Result<(), RemoveError> {
        self.control.remove(removal).await
    }

    /// How removing went so far.
    pub(crate) fn removal_outcome(&self) -> RemovalOutcome {
        self.control.removal_outcome()
    }

    #[cfg(test)]
    pub(crate) async fn purge_all(&self) -> Result<(), String> {
        self.control.purge_all().await
    }

    /// Tells the time since it was made.
    pub(crate) fn clock(&self) -> Box<dyn FnMut() -> Duration + Send> {
        self.control.clock()
    }

    /// How this node sees the members.
    pub(crate) fn membership(&self) -> MembershipView {
        self.control.membership()
    }

    /// See [`change::change`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn change(&self, decide: &Decide<'_>) -> Result<(), MemberError> {
        self.control.change(decide).await
    }

    /// Waits until the members are seen as `settled` wants them, and no longer than `limit`.
    ///
    /// # Errors
    /// This node leads and has no quorum any more: waiting is of no use.
    pub(crate) async fn wait_for(&self, settled: &Until<'_>, limit: Duration) -> Result<(), MemberError> {
        let mut clock = self.control.clock();
        tokio::select! {
            biased;
            () = self.control.wait_for(settled) => Ok(()),
            missing = self.control.quorum_lost() => Err(MemberError::NoQuorum { missing, waited: clock() }),
            () = self.control.sleep(limit) => Ok(()),
        }
    }

    /// Has the leader, if this is it, hand over to `to`. Ends before that has happened; it may not, and is taken back
    /// then ([`handover`]).
    ///
    /// # Errors
    /// If Raft has stopped.
    pub(crate) async fn transfer(&self, to: NodeId) -> Result<(), String> {
        self.control.transfer(to).await
    }

    /// `future`'s outcome and how long it took; `None` if that is longer than `limit`.
    pub(crate) async fn timed<F: Future>(&self, limit: Duration, future: F) -> Option<(F::Output, Duration)> {
        let mut clock = self.control.clock();
        tokio::select! {
            biased;
            output = future => Some((output, clock())),
            () = self.control.sleep(limit) => None,
        }
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.control.sleep(duration)
    }

    /// Stops Raft and its tasks. The log is still open then; close it after.
    pub(crate) async fn stop(&self) {
        self.control.shutdown().await;
    }
}

struct RaftControl<R: Runtime> {
    /// Dropped with the group: the clock strikes for it no more.
    _pace: Arc<dyn Ticked>,
    raft: Raft<R>,
    log: LogReader,
    purger: Purger<R>,
    /// Who has not answered for so long is not counted on.
    lease: Duration,
    timing: Timing,
    handover: Handover,
    saves: VoteSaves,
    stop: Arc<AtomicBool>,
    /// The role task and the proposer, until they have been waited for.
    tasks: Mutex<Vec<R::JoinHandle<()>>>,
}

impl<R: Runtime> Control for RaftControl<R>
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

    #[cfg(test)]
    fn purge_all(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let applied = self.log.progress().commit_point().number - 1;
            self.purger.purge(applied).await.map(drop).map_err(|error| error.to_string())
        })
    }

    fn membership(&self) -> MembershipView {
        change::view(&self.raft, self.lease)
    }

    fn change<'a>(&'a self, decide: &'a Decide<'a>) -> BoxFuture<'a, Result<(), MemberError>> {
        Box::pin(change::change(&self.raft, self.lease, decide))
    }

    fn wait_for<'a>(&'a self, settled: &'a Until<'a>) -> BoxFuture<'a, ()> {
        Box::pin(change::wait_for(&self.raft, self.lease, settled))
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
            self.stop.store(true, Ordering::Release);
            self.saves.stop();
            if let Err(error) = self.raft.shutdown().await {
                tracing::error!(group = %self.log.group(), %error, "Raft ended badly");
            }
            let tasks = std::mem::take(&mut *self.tasks.lock());
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(group = %self.log.group(), %error, "a task of the ledger ended badly");
                }
            }
        })
    }
}

/// openraft's settings for ours. Reasons: `docs/architecture.md`.
fn raft_config(config: &Config) -> Result<RaftConfig, String> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let (low, high) = config.election_timeout;
    RaftConfig {
        cluster_name: config.cluster.to_string(),
        heartbeat_interval: millis(config.heartbeat_interval),
        election_timeout_min: millis(low),
        election_timeout_max: millis(high),
        install_snapshot_timeout: 5_000,
        max_payload_entries: 4096,
        max_append_entries: Some(4096),
        // Snapshots are made at the purge point only, and nothing is purged behind our back.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // The role task allows elections, once it knows that this disk is the one the membership means.
        enable_elect: false,
        enable_pre_vote: Some(true),
        // A leader without a quorum falls silent for so long, so that those who still hear it elect another.
        quorum_loss_probe_interval: Some(millis(config.leader_silence())),
        backoff: "20ms".into(),
        // A restarted leader is elected anew: what it applied before may not be known to it any more.
        enable_leader_restore: Some(false),
        // A follower that comes back without what it had acknowledged counts for what it has, and is brought up to
        // date. With `Sync` that is an alarm (`acks`): its disk was lost or set back.
        allow_log_reversion: Some(true),
        ..RaftConfig::default()
    }
    .validate()
    .map_err(|error| error.to_string())
}
