//! Ledgers behind one port.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::environment::Environment;
use super::ledger::Ledger;
use super::unopened::Unopened;
use crate::config::Config;
use crate::error::{LedgerError, UnknownGroup};
use crate::log::LogCloser;
use crate::peer::outages::Outages;
use crate::transport::grpc::server::GrpcServer;
use crate::transport::router::Router;
use crate::types::{ClusterName, NodeId};

/// A node: hosts ledgers and talks to its peers. Cheap to clone.
///
/// It runs until [`Node::shutdown`], or until the last clone of it is dropped: a [`Ledger`] does not keep it running. A
/// drop cannot wait, so the shutdown then goes on by itself in the runtime in which the node was started. Acknowledged
/// records are where the chosen [`Durability`](crate::Durability) says they are, with or without a shutdown.
#[derive(Clone)]
pub struct Node {
    pub(super) inner: Arc<NodeInner>,
    /// `None`: a handle of the node's own, which does not keep it running.
    _running: Option<Arc<ShutdownOnDrop>>,
}

pub(super) struct NodeInner {
    pub(super) config: Config,
    pub(super) local: SocketAddr,
    /// Where peers reach this node.
    pub(super) advertised: String,
    pub(super) env: Environment,
    pub(super) router: Arc<Router>,
    pub(super) ledgers: RwLock<Vec<Ledger>>,
    /// The ledgers that the node is to host and could not open.
    pub(super) unopened: Unopened,
    /// Changes when ledgers come and go.
    pub(super) changes: watch::Sender<()>,
    /// Held while ledgers come and go. True once the node has stopped or is stopping.
    pub(super) changing: tokio::sync::Mutex<bool>,
    /// Whether a shutdown has ended; one whose caller dropped it has not.
    pub(super) ended: AtomicBool,
    pub(super) server: Mutex<Option<GrpcServer>>,
}

/// A handle that does not keep the node.
pub(super) struct WeakNode(Weak<NodeInner>);

impl WeakNode {
    pub(super) fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(|inner| Node { inner, _running: None })
    }
}

/// Shuts the node down when the last handle of it is dropped.
struct ShutdownOnDrop {
    inner: Arc<NodeInner>,
    runtime: tokio::runtime::Handle,
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        let node = Node { inner: self.inner.clone(), _running: None };
        if !node.inner.ended.load(Ordering::Acquire) {
            tracing::info!(node = %node.id(), "the last handle of the node was dropped: it shuts down");
            // A runtime that is gone has ended everything that it ran.
            drop(self.runtime.spawn(async move { node.shutdown().await }));
        }
    }
}

impl Node {
    /// A node without ledgers that does not listen yet. Must be called within a tokio runtime.
    pub(super) fn new(config: Config, local: SocketAddr, advertised: String, env: Environment) -> Self {
        let router = Arc::new(Router::new(config.cluster.clone()));
        let (ledgers, unopened, changes, changing, ended, server) = Default::default();
        let inner =
            NodeInner { config, local, advertised, env, router, ledgers, unopened, changes, changing, ended, server };
        let inner = Arc::new(inner);
        let runtime = tokio::runtime::Handle::current();
        Self { _running: Some(Arc::new(ShutdownOnDrop { inner: inner.clone(), runtime })), inner }
    }

    /// A handle for the node's own services: it does not keep the node running.
    pub(crate) fn own_handle(&self) -> Self {
        Self { inner: self.inner.clone(), _running: None }
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        &self.inner.router
    }

    pub(super) fn set_server(&self, server: GrpcServer) {
        *self.inner.server.lock() = Some(server);
    }

    pub(super) fn unopened(&self) -> &Unopened {
        &self.inner.unopened
    }

    pub(super) fn outages(&self) -> &Outages {
        &self.inner.env.outages
    }

    /// Changes when ledgers come and go.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    pub(super) fn tell_changed(&self) {
        self.inner.changes.send_replace(());
    }

    /// How many connections to this node are open.
    #[cfg(feature = "internals")]
    pub(crate) fn connections(&self) -> usize {
        let server = self.inner.server.lock();
        server.as_ref().map_or(0, GrpcServer::connections)
    }

    /// The ledger of `group`.
    ///
    /// # Errors
    /// If the node does not host it, or could not open it.
    pub fn ledger(&self, group: &str) -> Result<Ledger, LedgerError> {
        let ledgers = self.inner.ledgers.read();
        if let Some(ledger) = ledgers.iter().find(|ledger| ledger.group().as_str() == group) {
            return Ok(ledger.clone());
        }
        if let Some(reason) = self.inner.unopened.reason(group) {
            return Err(LedgerError::Closed { group: group.to_owned(), reason });
        }
        let hosted = ledgers.iter().map(|ledger| ledger.group().as_str()).collect::<Vec<_>>().join(", ");
        Err(UnknownGroup { group: group.to_owned(), hosted }.into())
    }

    /// All ledgers that the node hosts and could open; [`Node::statuses`] has the others too.
    pub fn ledgers(&self) -> Vec<Ledger> {
        self.inner.ledgers.read().clone()
    }

    pub(super) fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.inner))
    }

    /// The node's id.
    pub fn id(&self) -> &NodeId {
        &self.inner.config.id
    }

    /// The node's cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.inner.config.cluster
    }

    /// The configuration that the node was started with. [`Node::ledgers`] has the ledgers that it hosts by now.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The address at which the node listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Stops cleanly: hands over the ledgers it is the master of, takes no more calls, ends Raft, makes everything
    /// durable, and frees the directories. Appends still under way end with an unknown outcome. A second call does
    /// nothing.
    pub async fn shutdown(&self) {
        *self.inner.changing.lock().await = true;
        // Its peers may stop as well, and the log should not call that an outage.
        self.inner.env.outages.hush();
        let ledgers = self.ledgers();
        // While its peers still hear it, so that they need not find out by themselves.
        join_all(ledgers.iter().map(Ledger::step_down)).await;
        self.inner.router.clear();
        for ledger in &ledgers {
            ledger.replica().raft.shutdown().await;
        }
        let server = self.inner.server.lock().take();
        if let Some(server) = server {
            server.shutdown().await;
        }
        for ledger in &ledgers {
            match ledger.close().await {
                Ok(()) => tracing::info!(group = %ledger.group(), "closed"),
                Err(error) => tracing::error!(group = %ledger.group(), %error, "cannot close the ledger cleanly"),
            }
        }
        self.inner.ended.store(true, Ordering::Release);
    }

    /// For tests: stops the node as if its process were killed, except that the rest of the process goes on. The node
    /// hands nothing over, tells its peers nothing, and syncs nothing: what is written and not synced is left to the
    /// system, and is there after a restart. Connections break, and appends under way end with an unknown outcome.
    /// Afterwards the port and the directories are free, and another node can be started on them.
    ///
    /// This does not simulate a loss of power: what was written is not lost.
    pub async fn abort(&self) {
        *self.inner.changing.lock().await = true;
        self.inner.router.clear();
        let server = self.inner.server.lock().take();
        if let Some(server) = server {
            server.abort().await;
        }
        let ledgers = self.ledgers();
        for ledger in &ledgers {
            beside(ledger, LogCloser::abandon).await;
        }
        for ledger in &ledgers {
            ledger.replica().raft.shutdown().await;
            // Nothing writes any more.
            beside(ledger, LogCloser::release).await;
        }
        self.inner.ended.store(true, Ordering::Release);
    }
}

/// Does `work` with the log of `ledger` on a blocking thread, because it may wait for the disk.
async fn beside(ledger: &Ledger, work: fn(&LogCloser)) {
    let log = ledger.replica().closer.clone();
    if let Err(ended) = tokio::task::spawn_blocking(move || work(&log)).await {
        tracing::error!(group = %ledger.group(), %ended, "cannot end the log as it should");
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", self.id()).field("local", &self.inner.local).finish_non_exhaustive()
    }
}
