//! Collects a node's configuration and starts it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
#[cfg(feature = "testkit")]
use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::service::Routes;

use super::descriptors;
use super::environment::{Environment, message_limit};
use super::lock_wait::retry_while_locked;
use super::node::Node;
use super::tasks::disk_watch::watch_disk;
use super::tasks::reopener::reopen;
use crate::config::{CLIENT_FRAME_BYTES, Config, ConfigError, Durability, RepairPolicy};
use crate::disk::owner;
use crate::disk::real::RealDisk;
use crate::error::StartError;
use crate::log::directory;
use crate::raft::TokioRuntime;
#[cfg(feature = "testkit")]
use crate::transport::Transport;
use crate::transport::grpc::acceptor::{Accept, AcceptorOptions};
use crate::transport::grpc::connection_limit::Places;
use crate::transport::grpc::server::{GrpcServer, ServerOptions};
use crate::types::{ClusterName, Group, NodeId, Peers, checked_address};

type Services = Box<dyn FnOnce(&Node) -> Routes + Send>;

/// Collects a node's configuration and starts it.
#[must_use]
pub struct NodeBuilder {
    config: Config,
    services: Option<Services>,
}

impl Node {
    /// Begins a node with id `id` that listens at `bind` (`host:port`; port 0 takes a free one).
    pub fn builder(id: NodeId, bind: impl Into<String>) -> NodeBuilder {
        NodeBuilder::from_config(Config::new(id, bind))
    }
}

impl NodeBuilder {
    /// Begins with a whole configuration.
    pub fn from_config(config: Config) -> Self {
        Self { config, services: None }
    }

    /// Name of the cluster; see [`Config::cluster`].
    pub fn cluster(mut self, name: ClusterName) -> Self {
        self.config.cluster = name;
        self
    }

    /// One more ledger to host.
    pub fn group(mut self, group: Group) -> Self {
        self.config.groups.push(group);
        self
    }

    /// The nodes the cluster is first formed of, this one included.
    pub fn peers(mut self, peers: Peers) -> Self {
        self.config.peers = peers;
        self
    }

    /// The node joins a cluster that exists, and never forms one; see [`Config::join`].
    pub fn join(mut self) -> Self {
        self.config.join = true;
        self
    }

    /// The node is a cluster of its own; see [`Config::single`].
    pub fn single(mut self) -> Self {
        self.config.single = true;
        self
    }

    /// Directory of the node's data.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.data_dir = dir.into();
        self
    }

    /// `host:port` the others reach this node at, if not its address in the peer list; see [`Config::advertise`].
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.config.advertise = Some(address.into());
        self
    }

    /// What an ack means for the disks.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// What is done about a damaged ledger.
    pub fn repair(mut self, policy: RepairPolicy) -> Self {
        self.config.repair = policy;
        self
    }

    /// One ledger that cannot be opened keeps the node from starting; see [`Config::strict`].
    pub fn strict(mut self) -> Self {
        self.config.strict = true;
        self
    }

    /// The node starts although no ledger of it can be opened; see [`Config::stay`].
    pub fn stay(mut self) -> Self {
        self.config.stay = true;
        self
    }

    /// Bytes of a segment file; the same on all nodes, for ever. The largest batch and record follow from it, unless
    /// they are set ([`Config::set_segment_size`]).
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.config.set_segment_size(bytes);
        self
    }

    /// Every other knob.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Further gRPC services on the node's port.
    pub(crate) fn service(mut self, make: impl FnOnce(&Node) -> Routes + Send + 'static) -> Self {
        self.services = Some(Box::new(make));
        self
    }

    /// Starts the node within the current tokio runtime. Returns as soon as it listens; the ledgers elect their masters
    /// from then on ([`Ledger::role`](crate::Ledger::role)). A ledger that cannot be opened stays closed, and the
    /// others serve: [`Node::ledger`] and [`Node::status`] say why, [`Node::closed`] waits until the last ledger is
    /// closed.
    ///
    /// # Errors
    /// The configuration cannot be used, or the address is taken; no ledger can be opened and [`Config::stay`] is not
    /// set, or, with [`Config::strict`], one of them cannot; or nothing names the cluster of a ledger that has no
    /// membership ([`StartError::NoCluster`]). Nothing is left running then.
    pub async fn start(self) -> Result<Node, StartError> {
        let (ready, listener, env) = self.ready().await?;
        ready.start_on(listener, env).await
    }

    /// As [`NodeBuilder::start`], with the transport that `wire` makes of the machine's. `wire` gets the address at
    /// which peers reach this node.
    #[cfg(feature = "testkit")]
    pub(crate) async fn start_through(
        self,
        wire: impl FnOnce(&str, Arc<dyn Transport>) -> Arc<dyn Transport>,
    ) -> Result<Node, StartError> {
        let (ready, listener, mut env) = self.ready().await?;
        let bind = |source| StartError::Bind { address: ready.config.bind.clone(), source };
        let own = advertised(&ready.config, listener.local_addr().map_err(bind)?)?;
        env.transport = wire(&own, env.transport);
        ready.start_on(listener, env).await
    }

    /// Checks the configuration, and takes what the node needs from the machine.
    async fn ready(self) -> Result<(Self, TcpListener, Environment), StartError> {
        let Self { mut config, services } = self;
        config.validate()?;
        descriptors::fit(&mut config);
        if let Some((uid, gid)) = owner::given_to(&config.data_dir) {
            let dir = config.data_dir.display();
            tracing::info!(%dir, uid, gid, "running as root: new files are given to the owner of the directory");
        }
        // Before the address: a process that has the directory has the address too.
        let directories: Vec<_> = config.groups.iter().map(|group| config.data_dir.join(group.as_str())).collect();
        let looked_at = directories.clone();
        let free = move || looked_at.iter().try_for_each(|dir| directory::is_free(&RealDisk, dir));
        let waited = retry_while_locked::<TokioRuntime, _>(config.lock_wait, free).await;
        let none = || !config.stay && directories.iter().all(|dir| directory::is_free(&RealDisk, dir).is_err());
        if let Err(error) = waited
            && (config.strict || none())
        {
            return Err(error.into());
        }
        let bind = |source| StartError::Bind { address: config.bind.clone(), source };
        let listener = TcpListener::bind(&config.bind).await.map_err(bind)?;
        let env = Environment::machine(&config).map_err(bind)?;
        Ok((Self { config, services }, listener, env))
    }

    /// Starts the node in any environment, with its port at `listener`.
    ///
    /// # Errors
    /// As [`NodeBuilder::start`].
    pub(crate) async fn start_on(self, listener: impl Accept, env: Environment) -> Result<Node, StartError> {
        let Self { config, services } = self;
        let local = listener.local_addr();
        let local = local.map_err(|source| StartError::Bind { address: config.bind.clone(), source })?;
        let advertised = advertised(&config, local)?;
        let options = ServerOptions {
            acceptor: acceptor_options(&config),
            max_message_bytes: message_limit(config.segment_size),
            client_window: (config.client_stream() - CLIENT_FRAME_BYTES) as u32,
            ..ServerOptions::default()
        };
        let node = Node::new(config, local, advertised.clone(), env);
        if let Err(error) = start_ledgers(&node).await {
            node.shutdown().await;
            return Err(error);
        }
        let routes = services.map(|make| make(&node)).unwrap_or_default();
        match GrpcServer::start(listener, node.router().clone(), routes, options) {
            Ok(server) => node.set_server(server),
            Err(source) => {
                node.shutdown().await;
                return Err(StartError::Bind { address: local.to_string(), source });
            }
        }
        tracing::info!(node = %node.id(), %local, %advertised, "listening");
        // Both end with the node.
        drop(tokio::spawn(reopen(node.downgrade(), node.changes())));
        drop(tokio::spawn(watch_disk(node.downgrade())));
        Ok(node)
    }
}

/// How many connections the node accepts.
fn acceptor_options(config: &Config) -> AcceptorOptions {
    let options = AcceptorOptions::default();
    let (clients, peers) = (config.max_connections, config.max_peer_connections);
    let places = Places { clients, own_machine: config.own_machine_connections(), peers, ..options.places };
    AcceptorOptions { places, ..options }
}

/// Starts the configured ledgers; those that cannot be opened stay closed.
///
/// # Errors
/// None of them can be opened, unless [`Config::stay`] is set; with [`Config::strict`], one cannot.
async fn start_ledgers(node: &Node) -> Result<(), StartError> {
    let mut failed = Vec::new();
    for group in &node.config().groups {
        match node.start(group).await {
            Ok(_) => {}
            // The fault is the node's, not this ledger's.
            Err(error @ (StartError::NoCluster { .. } | StartError::Peers(_))) => return Err(error),
            Err(error) if node.config().strict => return Err(error),
            Err(error) => {
                tracing::error!(%group, %error, "the ledger is closed on this node: it cannot be opened");
                node.keep_closed(group, &error);
                failed.push((group.clone(), error));
            }
        }
    }
    let config = node.config();
    if failed.len() < config.groups.len() || failed.is_empty() || config.stay {
        if config.is_unlisted() {
            tracing::warn!(node = %config.id, peers = %config.peers,
                "the peer list lacks this node, which is a member all the same and goes on: correct the list");
        }
        return Ok(());
    }
    match <[_; 1]>::try_from(failed) {
        Ok([(_, error)]) => Err(error),
        Err(failed) => Err(StartError::Ledgers { failed }),
    }
}

/// Where peers reach this node: at [`Config::advertise`], at its address in the peer list, or else where it listens.
///
/// # Errors
/// It listens on an address that means all interfaces, and nobody can call it there.
fn advertised(config: &Config, local: SocketAddr) -> Result<String, ConfigError> {
    let listed = || config.peers.get(&config.id).map(|peer| peer.address.clone());
    if let Some(told) = config.advertise.clone().or_else(listed) {
        return Ok(told);
    }
    checked_address(&local.to_string()).map_err(|why| ConfigError {
        key: "advertise",
        found: "none".into(),
        expected: format!("host:port that others reach this node at, because it listens on {local} ({why})"),
    })
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
