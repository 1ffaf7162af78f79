//! Starts one ledger in any environment.

use std::sync::Arc;

use super::environment::Environment;
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
use crate::error::{Damage, OpenError, StartError};
use crate::log::directory::{self, Identity};
use crate::log::reader::LogReader;
use crate::log::{Log, LogOptions};
use crate::peer::leader::watch::LeaderWatch;
use crate::peer::network::PeerNetwork;
use crate::peer::peer_vote_collector::PeerVoteCollector;
use crate::peer::read_quorum::ReadQuorum;
use crate::peer::server::PeerServer;
use crate::raft::log_id;
use crate::raft::membership::acks::MemberAcks;
use crate::raft::replica::{self, ReplicaOptions};
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::{Raft, Runtime};
use crate::transport::router::Router;
use crate::types::Group;

/// Opens the log of `group`, starts Raft on it, makes it reachable through `router`, and spawns its tasks, which form
/// the cluster if there is none yet. `advertised` is where peers reach this node.
///
/// # Errors
/// The directory cannot be opened, or Raft refuses what it finds there; there is no membership, and nothing says which
/// cluster the node is of.
pub async fn start_ledger<R: Runtime>(
    env: &Environment,
    config: &Config,
    group: &Group,
    advertised: &str,
    router: &Router,
) -> Result<Ledger, StartError> {
    let starter = Starter { env, config, group, advertised };
    let wanted = starter.identity()?;
    let mut repaired = false;
    let running = loop {
        let log = starter.open_or_repair::<R>(&wanted).await?;
        match starter.start_raft::<R>(log).await {
            Ok(running) => break running,
            // Raft reads here and there what opening the log has no need to read.
            Err(RaftRefusal { damage: Some(damage), identity, .. }) if starter.repairs() && !repaired => {
                starter.repair_from_peers::<R>(identity, damage).await?;
                repaired = true;
            }
            Err(RaftRefusal { reason, .. }) => return Err(StartError::Raft { group: group.clone(), reason }),
        }
    };
    let identity = running.identity.clone();
    let ledger = starter.serve::<R>(running, router);
    starter.spawn_tasks::<R>(&ledger, identity);
    Ok(ledger)
}

/// What one ledger is started with.
struct Starter<'a> {
    env: &'a Environment,
    config: &'a Config,
    group: &'a Group,
    advertised: &'a str,
}

/// A ledger whose Raft runs, and which no peer reaches yet.
struct Running<R: Runtime> {
    replica: replica::Replica,
    raft: Raft<R>,
    network: PeerNetwork,
    /// What the directory says: an existing one keeps its own incarnation.
    identity: Identity,
}

/// Raft does not start on what it found in the log.
struct RaftRefusal {
    reason: String,
    /// What Raft found damaged, if that is why.
    damage: Option<Damage>,
    identity: Identity,
}

impl Starter<'_> {
    /// What the directory must be, with the incarnation that a new one gets.
    ///
    /// # Errors
    /// The directory would be new, and nothing says which cluster the ledger is of.
    fn identity(&self) -> Result<Identity, StartError> {
        let Self { env, config, group, .. } = *self;
        let identity = Identity {
            cluster: config.cluster.clone(),
            group: group.clone(),
            node: config.id.clone(),
            segment_size: config.segment_size,
            incarnation: (env.incarnation)(),
        };
        // A ledger that has a membership goes by that, whatever the configuration says.
        if let Err(unformed) = self.check_formation()
            && directory::is_new(&*env.disk, &config.data_dir.join(group.as_str()))
        {
            return Err(unformed);
        }
        Ok(identity)
    }

    /// Whether the configuration says how a ledger without a membership comes to one.
    ///
    /// # Errors
    /// [`StartError::NoCluster`]; [`StartError::Peers`], if the node is not on its own peer list.
    fn check_formation(&self) -> Result<(), StartError> {
        let Self { config, group, .. } = *self;
        if !config.names_a_cluster() {
            let listed = !config.peers.is_empty();
            return Err(StartError::NoCluster { node: config.id.clone(), group: group.clone(), listed });
        }
        if config.is_unlisted() {
            config.peers.require(&config.id)?;
        }
        Ok(())
    }

    fn repairs(&self) -> bool {
        self.config.repair == RepairPolicy::FromPeers
    }

    /// The log, repaired if it is damaged and the configuration allows that.
    async fn open_or_repair<R: Runtime>(&self, wanted: &Identity) -> Result<Log, StartError> {
        let Self { env, config, group, .. } = *self;
        let options = LogOptions {
            segment_size: config.segment_size,
            interval: match config.durability {
                Durability::Sync => None,
                Durability::Interval(every) => Some(every),
            },
            scheduler: env.scheduler.clone(),
            background: env.background.clone(),
        };
        let open = {
            let (disk, directory) = (env.disk.clone(), config.data_dir.join(group.as_str()));
            let identity = wanted.clone();
            move || Log::open(disk.clone(), directory.clone(), identity.clone(), options.clone())
        };
        let (mut log, recovered) = match retry_briefly::<R, _>(config.lock_wait, open.clone()).await {
            // Before Raft starts: a node must neither vote nor acknowledge on the strength of what it lacks.
            Err(OpenError::Damaged(damage)) if self.repairs() => {
                self.repair_from_peers::<R>(wanted.clone(), damage).await?;
                retry_briefly::<R, _>(config.lock_wait, open).await?
            }
            opened => opened?,
        };
        if let Some(retention) = &config.retention {
            log.refuse_above(retention);
        }
        let identity = log.identity();
        let (committed, end) = (log.progress().committed(), log.progress().end());
        let cut = recovered.cut.map_or_else(|| "nothing".into(), |cut| cut.to_string());
        tracing::info!(%group, node = %identity.node, disk = %identity.incarnation, committed, end, %cut, "opened");
        if log.is_pristine() {
            self.check_formation()?;
        }
        Ok(log)
    }

    async fn repair_from_peers<R: Runtime>(&self, identity: Identity, damage: Damage) -> Result<(), StartError> {
        let Self { env, config, group, .. } = *self;
        tracing::warn!(%group, %damage, "the ledger is damaged: repairing it from the peers");
        let target = RepairTarget {
            disk: env.disk.clone(),
            path: config.data_dir.join(group.as_str()),
            wanted: Some(identity),
            peers: config.other_peers(),
            transport: env.transport.clone(),
            dry_run: false,
        };
        let repaired = repair::<R>(target).await;
        let report = repaired.map_err(|error| StartError::Unrepaired { damage: Box::new(damage), error })?;
        for range in &report.ranges {
            tracing::warn!(%group, %range, "repaired");
        }
        tracing::warn!(%group, ranges = report.ranges.len(), removed = report.removed.len(), "repaired from the peers");
        Ok(())
    }

    async fn start_raft<R: Runtime>(&self, log: Log) -> Result<Running<R>, RaftRefusal> {
        let Self { env, config, .. } = *self;
        let (identity, reader) = (log.identity().clone(), log.reader());
        let (floor, purge_floor) = PurgeFloor::new(reader.clone());
        let network = self.network(&identity, reader.clone(), purge_floor);
        let (clock, probe) = (env.clock.clone(), Arc::new(ReadQuorum::<R>::new(network.clone())));
        let (acks, standing, votes) =
            (network.acknowledged(), network.standing(), Arc::new(PeerVoteCollector::<R>::new(network.clone())));
        let options = ReplicaOptions { config, log, clock, floor, ticker: &env.ticker, probe, acks, standing, votes };
        match replica::start::<R, _>(options, network.clone()).await {
            Ok((replica, raft)) => Ok(Running { replica, raft, network, identity }),
            Err(reason) => Err(RaftRefusal { reason, damage: reader.newest_damage(), identity }),
        }
    }

    /// The ledger's calls to its peers.
    fn network(&self, identity: &Identity, reader: LogReader, purge_floor: PurgeFloor) -> PeerNetwork {
        let Self { env, config, group, advertised } = *self;
        let own = reader.clone();
        let holds = move |entry| log_id::holds(&own, entry);
        let after = move |number| reader.cursor_after(number).ok().flatten().map(|next| next.index);
        let lasting = config.durability == Durability::Sync;
        let acked = MemberAcks::new(group.clone(), Arc::new(after), Arc::new(holds), lasting);
        let (transport, window) = (env.transport.clone(), config.lease_window());
        PeerNetwork::new(identity.clone(), transport, advertised.to_owned(), window, purge_floor, acked)
            .telling(env.outages.clone())
    }

    /// Makes the ledger reachable for its peers.
    fn serve<R: Runtime>(&self, running: Running<R>, router: &Router) -> Ledger {
        let Self { env, config, group, advertised } = *self;
        let Running { replica, raft, network, identity } = running;
        network.addresses().follow(replica.view.clone());
        let watch = LeaderWatch::start(&replica, network, raft.clone(), config.fast_failover);
        // A node that joins promises itself to nobody.
        let peers = if config.join { String::new() } else { config.peers.agreed() };
        let server = PeerServer::<R>::new(identity, advertised.to_owned(), peers, &replica, raft, watch);
        router.insert(group, Arc::new(server));
        Ledger::new(replica, env.transport.clone(), advertised, config)
    }

    /// Nobody waits for these tasks: each of them ends once the ledger is closed or gone.
    fn spawn_tasks<R: Runtime>(&self, ledger: &Ledger, identity: Identity) {
        let Self { env, config, advertised, .. } = *self;
        let (transport, clock) = (env.transport.clone(), env.clock.clone());
        let formation = Formation::new(identity, config, advertised, (env.incarnation)(), transport.clone());
        drop(R::spawn(MasterWait::new(formation, ledger.downgrade(), env.outages.clone()).run::<R>()));
        drop(R::spawn(Scrubber::new(ledger.downgrade(), config, transport, clock.clone()).run::<R>()));
        drop(R::spawn(LeaderPlacement::new(ledger.downgrade(), config).run::<R>()));
        drop(R::spawn(Retainer::new(ledger.downgrade(), config, clock).run::<R>()));
        drop(R::spawn(ClockCheck::new(ledger.downgrade()).run::<R>()));
    }
}
