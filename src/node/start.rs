//! Starts one ledger on any disk, clock and wire.

use std::sync::Arc;

use super::ledger::Ledger;
use super::lock_wait::retry_briefly;
use super::repair::{RepairTarget, repair};
use super::tasks::clock_check::ClockCheck;
use super::tasks::formation::Formation;
use super::tasks::leader_placement::LeaderPlacement;
use super::tasks::master_wait::MasterWait;
use super::tasks::retainer::Retainer;
use super::tasks::scrubber::Scrubber;
use crate::config::{Config, Durability, RepairPolicy};
use crate::disk::Disk;
use crate::error::{Damage, OpenError, StartError};
use crate::log::directory::{self, Identity};
use crate::log::reader::LogReader;
use crate::log::threads::FlushScheduler;
use crate::log::{Background, Log, LogOptions};
use crate::peer::client::PeerNetwork;
use crate::peer::leader::watch::LeaderWatch;
use crate::peer::outages::Outages;
use crate::peer::server::PeerServer;
use crate::raft::Runtime;
use crate::raft::election::lost_entries;
use crate::raft::heartbeat::ticker::Ticker;
use crate::raft::membership::acks::MemberAcks;
use crate::raft::replica::{self, ReplicaOptions};
use crate::raft::storage::log_store::Clock;
use crate::raft::storage::purge::PurgeFloor;
use crate::transport::Transport;
use crate::transport::router::Router;
use crate::types::{Group, Incarnation};

/// The world a ledger lives in: the machine in production, a simulation in tests.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) scheduler: Arc<dyn FlushScheduler>,
    pub(crate) background: Arc<dyn Background>,
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    /// Calls to peers that fail, of all ledgers of the node.
    pub(crate) outages: Outages,
    /// Strikes for all ledgers of the node.
    pub(crate) ticker: Arc<Ticker>,
    /// Makes the incarnation of a new directory.
    pub(crate) incarnation: Arc<dyn Fn() -> Incarnation + Send + Sync>,
}

/// Opens the log of `group`, starts Raft on it, makes it reachable through `router`, and forms the cluster if there is
/// none yet. `advertised` is where peers reach this node.
///
/// # Errors
/// If the directory cannot be opened or Raft refuses what it finds; if there is no membership, and nothing says which
/// cluster the node is of.
pub(crate) async fn start_ledger<R: Runtime>(
    env: &Environment,
    config: &Config,
    group: &Group,
    advertised: &str,
    router: &Router,
) -> Result<Ledger, StartError> {
    let identity = Identity {
        cluster: config.cluster.clone(),
        group: group.clone(),
        node: config.id.clone(),
        segment_size: config.segment_size,
        incarnation: (env.incarnation)(),
    };
    // What a ledger is refused for that has no membership: one that has it goes by that.
    let unformed = || can_form(config, group);
    if unformed().is_err() && directory::is_new(&*env.disk, &config.data_dir.join(group.as_str())) {
        unformed()?;
    }
    let options = LogOptions {
        segment_size: config.segment_size,
        interval: match config.durability {
            Durability::Sync => None,
            Durability::Interval(every) => Some(every),
        },
        scheduler: env.scheduler.clone(),
        background: env.background.clone(),
    };
    let lasting = options.interval.is_none();
    let network = |identity: &Identity, reader: LogReader, purge_floor| {
        let own = reader.clone();
        let holds = move |entry| lost_entries::holds(&own, entry);
        let after = move |number| reader.cursor_after(number).ok().flatten().map(|next| next.index);
        let acked = MemberAcks::new(group.clone(), Arc::new(after), Arc::new(holds), lasting);
        let (transport, window) = (env.transport.clone(), config.lease_window());
        PeerNetwork::new(identity.clone(), transport, advertised.to_owned(), window, purge_floor, acked)
            .telling(env.outages.clone())
    };
    let mut repaired = false;
    let (running, raft, network, identity) = loop {
        let log = open::<R>(env, config, identity.clone(), options.clone()).await?;
        if log.is_pristine() {
            unformed()?;
        }
        let (identity, reader) = (log.identity().clone(), log.reader());
        let (floor, purge_floor) = PurgeFloor::new(reader.clone());
        let network = network(&identity, reader.clone(), purge_floor);
        let (clock, probe) = (env.clock.clone(), network.rounds::<R>());
        let (acks, standing, votes) = (network.acknowledged(), network.standing(), network.vote_collector::<R>());
        let options = ReplicaOptions { config, log, clock, floor, ticker: &env.ticker, probe, acks, standing, votes };
        let reason = match replica::start::<R, _>(options, network.clone()).await {
            Ok((running, raft)) => break (running, raft, network, identity),
            Err(reason) => reason,
        };
        // Raft reads here and there what opening the log has no need to read.
        let damage = reader.newest_damage().filter(|_| !repaired);
        match damage {
            Some(damage) if config.repair == RepairPolicy::FromPeers => {
                drop((reader, network));
                repair_from_peers::<R>(env, config, identity, damage).await?;
                repaired = true;
            }
            _ => return Err(StartError::Raft { group: group.clone(), reason }),
        }
    };
    network.addresses().follow(running.view.clone());
    let watch = LeaderWatch::start(&running, network, raft.clone(), config.fast_failover);
    // A node that joins promises itself to nobody.
    let peers = if config.join { String::new() } else { config.peers.agreed() };
    let server = PeerServer::<R>::new(identity.clone(), advertised.to_owned(), peers, &running, raft, watch);
    router.insert(group, Arc::new(server));
    let ledger = Ledger::new(running, env.transport.clone(), advertised, config);
    let retainer = Retainer::new(ledger.downgrade(), config, env.clock.clone());
    let scrubber = Scrubber::new(ledger.downgrade(), config, env.transport.clone(), env.clock.clone());
    let formation = Formation::new(identity, config, advertised, (env.incarnation)(), env.transport.clone());
    let waiting = MasterWait::new(formation, ledger.downgrade(), env.outages.clone());
    let steward = LeaderPlacement::new(ledger.downgrade(), config);
    // It ends by itself; nothing waits for it.
    drop(R::spawn(waiting.run::<R>()));
    // As do these, once the ledger is closed.
    drop(R::spawn(scrubber.run::<R>()));
    drop(R::spawn(steward.run::<R>()));
    drop(R::spawn(retainer.run::<R>()));
    drop(R::spawn(ClockCheck::new(ledger.downgrade()).run::<R>()));
    Ok(ledger)
}

/// Whether what the node was told says how its ledger comes to a membership.
///
/// # Errors
/// [`StartError::NoCluster`]; [`StartError::Peers`], if it is not on its own peer list.
fn can_form(config: &Config, group: &Group) -> Result<(), StartError> {
    if !config.names_a_cluster() {
        let listed = !config.peers.is_empty();
        return Err(StartError::NoCluster { node: config.id.clone(), group: group.clone(), listed });
    }
    if config.is_unlisted() {
        config.peers.require(&config.id)?;
    }
    Ok(())
}

/// The log, repaired if it is found to be damaged and that is wanted.
async fn open<R: Runtime>(
    env: &Environment,
    config: &Config,
    identity: Identity,
    options: LogOptions,
) -> Result<Log, StartError> {
    let group = identity.group.clone();
    let directory = config.data_dir.join(group.as_str());
    let open = {
        let (disk, identity) = (env.disk.clone(), identity.clone());
        move || Log::open(disk.clone(), directory.clone(), identity.clone(), options.clone())
    };
    let (mut log, recovered) = match retry_briefly::<R, _>(config.lock_wait, open.clone()).await {
        // Before Raft starts: a node neither votes nor acknowledges on the strength of what it lacks.
        Err(OpenError::Damaged(damage)) if config.repair == RepairPolicy::FromPeers => {
            repair_from_peers::<R>(env, config, identity.clone(), damage).await?;
            retry_briefly::<R, _>(config.lock_wait, open).await?
        }
        opened => opened?,
    };
    if let Some(retention) = &config.retention {
        log.refuse_above(retention);
    }
    let identity = log.identity().clone();
    let (committed, end) = (log.progress().committed(), log.progress().end());
    let cut = recovered.cut.map_or_else(|| "nothing".into(), |cut| cut.to_string());
    tracing::info!(%group, node = %identity.node, disk = %identity.incarnation, committed, end, %cut, "opened");
    Ok(log)
}

async fn repair_from_peers<R: Runtime>(
    env: &Environment,
    config: &Config,
    identity: Identity,
    damage: Damage,
) -> Result<(), StartError> {
    let group = identity.group.clone();
    tracing::warn!(%group, %damage, "damaged: to be repaired from the peers");
    let patient = RepairTarget {
        disk: env.disk.clone(),
        path: config.data_dir.join(group.as_str()),
        wanted: Some(identity),
        peers: config.other_peers(),
        transport: env.transport.clone(),
        dry_run: false,
    };
    let report =
        repair::<R>(patient).await.map_err(|error| StartError::Unrepaired { damage: Box::new(damage), error })?;
    for range in &report.ranges {
        tracing::warn!(%group, %range, "repaired");
    }
    tracing::warn!(%group, ranges = report.ranges.len(), removed = report.removed.len(), "repaired from the peers");
    Ok(())
}
