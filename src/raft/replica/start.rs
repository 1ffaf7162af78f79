//! Starts a replica on a log.

use std::io;
use std::sync::Arc;

use openraft::network::{NetSnapshot, RaftNetworkFactory};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use super::Replica;
use super::handle::OpenraftHandle;
use super::settings::raft_config;
use crate::config::Config;
use crate::config::timing::Timing;
use crate::log::Log;
use crate::raft::Raft;
use crate::raft::append::disk_admission::DiskAdmission;
use crate::raft::append::proposer::Proposer;
use crate::raft::blocking::run_blocking;
use crate::raft::election::handover::Handover;
use crate::raft::election::holdoff::ElectionHoldoff;
use crate::raft::election::lost_entries::LostEntries;
use crate::raft::election::vote_saves::{ElectionBounds, VoteCollector};
use crate::raft::heartbeat::ticker::{LeaderCalls, Ticker};
use crate::raft::membership::acks::MemberAcks;
use crate::raft::membership::codec::StoredMembership;
use crate::raft::reads::{LeadershipProbe, ReadLeader};
use crate::raft::role::standing::Standing;
use crate::raft::role::task::{RoleChannels, RoleTask};
use crate::raft::storage::log_store::LogStore;
use crate::raft::storage::purge::Purger;
use crate::raft::storage::retention_problems::RetentionProblems;
use crate::raft::storage::snapshot;
use crate::raft::storage::snapshot::InstalledStart;
use crate::raft::storage::snapshot::SnapshotData;
use crate::raft::storage::state_machine::StateMachine;
use crate::raft::storage::timestamps::Clock;
use crate::raft::type_config::{Runtime, TypeConfig};

/// What [`start`] needs besides the network.
pub(crate) struct ReplicaOptions<'a> {
    pub(crate) config: &'a Config,
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    /// Tells the network which entries are to go ([`PurgeFloor`](crate::raft::storage::purge::PurgeFloor)).
    pub(crate) floor: watch::Sender<u64>,
    pub(crate) ticker: &'a Ticker,
    /// Proves that this node leads.
    pub(crate) probe: Arc<dyn LeadershipProbe>,
    /// Where the network notes what members acknowledge.
    pub(crate) acks: MemberAcks,
    /// Where the network notes what the peers say of this node.
    pub(crate) standing: Standing,
    /// Asks for votes that take long to be saved.
    pub(crate) votes: Arc<dyn VoteCollector>,
}

/// Starts Raft on a log. Returns the replica and the handle that the network's server needs.
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
    let (reader, health, closer) = (log.reader(), log.health(), log.closer());
    let saves = votes.saves();
    let bounds = ElectionBounds { node: identity.node.clone(), election_timeout: config.election_timeout };
    let Opened { store, machine, members, admission } = open::<R>(log, clock.clone(), votes, bounds).await?;
    let (snapshots, timestamps) = (machine.snapshots(), store.timestamps());
    let due = ElectionHoldoff::is_due(&identity.node, reader.vote().as_ref(), &members);
    let settings = Arc::new(raft_config(config)?);
    let raft = Raft::<R>::new(identity.node.clone(), settings, network, store, machine).await;
    let raft = raft.map_err(|fatal| fatal.to_string())?;
    let holdoff = hold_off_elections::<R>(config, due);
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
    let leader_calls = LeaderCalls::default();
    let timing = Timing::of(config);
    let handle = Box::new(OpenraftHandle {
        _pace: ticker.pace(raft.clone(), leader_calls.clone()),
        raft: raft.clone(),
        log: reader.clone(),
        purger: Purger::new(raft.clone(), reader.clone(), clock, snapshots, floor),
        lease: config.election_timeout.1,
        timing,
        handover: Handover::default(),
        saves,
        stop,
        tasks: Mutex::new(vec![role_task, proposer]),
    });
    let replica = Replica {
        identity,
        log: reader,
        health,
        closer,
        raft: handle,
        admission,
        timestamps,
        retention_problems: RetentionProblems::default(),
        leader_calls,
        role,
        tenure,
        view,
        proposals,
        rolls,
        budget: Arc::new(Semaphore::new(config.max_inflight_bytes)),
        reads,
        timing,
        holdoff,
        lost_entries,
        acks,
        contact,
        standing,
    };
    Ok((replica, raft))
}

fn hold_off_elections<R: Runtime>(config: &Config, due: bool) -> ElectionHoldoff {
    match due {
        true => ElectionHoldoff::start::<R>(config.follower_patience(), config.reminded_by()),
        false => ElectionHoldoff::none(),
    }
}

/// A log as openraft takes it.
struct Opened<R: Runtime> {
    store: LogStore<R>,
    machine: StateMachine<R>,
    members: StoredMembership,
    admission: DiskAdmission,
}

async fn open<R: Runtime>(
    log: Log,
    clock: Clock,
    votes: Arc<dyn VoteCollector>,
    bounds: ElectionBounds,
) -> Result<Opened<R>, String> {
    let installed = Arc::new(Mutex::new(None));
    let opened = run_blocking::<R, _>(open_machine(log, installed.clone())).await.and_then(|opened| opened);
    let (log, machine, members) = opened.map_err(|error| error.to_string())?;
    let admission = DiskAdmission::new(&log, clock.clone());
    let saves = votes.saves();
    let store = LogStore::<R>::new(log, clock, installed).asking(votes, saves, bounds);
    Ok(Opened { store, machine, members, admission })
}

/// Reads the state machine of a log, and the members that it names.
fn open_machine<R: Runtime>(
    mut log: Log,
    installed: InstalledStart,
) -> impl FnOnce() -> io::Result<(Log, StateMachine<R>, StoredMembership)> + Send + 'static {
    move || {
        let machine = StateMachine::<R>::new(&mut log, installed)?;
        let members = snapshot::membership_at(&log.reader(), u64::MAX)?;
        Ok((log, machine, members))
    }
}
