//! Ledgers behind one port.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use futures::future::join_all;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

use super::builder::NodeBuilder;
use super::ledger::Ledger;
use super::start::{Environment, start_ledger};
use super::unopened::Unopened;
use crate::config::Config;
use crate::error::{CreateLedgerError, LedgerError, RemoveLedgerError, StartError, UnknownGroup};
use crate::log::directory::{self, Doomed, Owner};
use crate::log::reader::LogReader;
use crate::peer::outages::Outages;
use crate::raft::TokioRuntime;
use crate::transport::grpc::server::GrpcServer;
use crate::transport::router::Router;
use crate::types::{ClusterName, Group, LedgerFiles, NodeId};

/// A node: hosts ledgers and talks to its peers. Cheap to clone.
///
/// It runs until [`Node::shutdown`], or until the last clone of it is dropped: a [`Ledger`] does not keep it running.
/// A drop cannot wait, so the shutdown then goes on by itself in the runtime that the node was started in. What was
/// acknowledged is where the chosen [`Durability`](crate::Durability) says it is, with or without a shutdown.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    /// `None`: a handle of the node's own, which does not keep it running.
    _running: Option<Arc<ShutdownOnDrop>>,
}

struct Inner {
    config: Config,
    local: SocketAddr,
    /// Where peers reach this node.
    advertised: String,
    env: Environment,
    router: Arc<Router>,
    ledgers: RwLock<Vec<Ledger>>,
    /// Those that are to be hosted and could not be opened.
    unopened: Unopened,
    /// Told when ledgers come and go.
    changes: watch::Sender<()>,
    /// Held while ledgers come and go; whether the node has stopped, or is about to.
    changing: tokio::sync::Mutex<bool>,
    /// A shutdown has come to its end; one that was given up has not.
    ended: AtomicBool,
    server: Mutex<Option<GrpcServer>>,
}

/// A node that goes when its other handles do.
pub(super) struct WeakNode(Weak<Inner>);

impl WeakNode {
    pub(super) fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(|inner| Node { inner, _running: None })
    }
}

/// Shuts the node down when the last handle of it is dropped.
struct ShutdownOnDrop {
    inner: Arc<Inner>,
    runtime: tokio::runtime::Handle,
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        let node = Node { inner: self.inner.clone(), _running: None };
        if !node.inner.ended.load(Ordering::Acquire) {
            tracing::info!(node = %node.id(), "the last handle of the node was dropped: it shuts down");
            // A runtime that is gone has ended all that it ran.
            drop(self.runtime.spawn(async move { node.shutdown().await }));
        }
    }
}

impl Node {
    /// Begins a node with id `id` that listens at `bind` (`host:port`; port 0 takes a free one).
    pub fn builder(id: NodeId, bind: impl Into<String>) -> NodeBuilder {
        NodeBuilder::from_config(Config::new(id, bind))
    }

    /// A node without ledgers that does not listen yet. Must be called within a tokio runtime.
    pub(super) fn new(config: Config, local: SocketAddr, advertised: String, env: Environment) -> Self {
        let router = Arc::new(Router::new(config.cluster.clone()));
        let (ledgers, unopened, changes, changing, ended, server) = Default::default();
        let inner =
            Inner { config, local, advertised, env, router, ledgers, unopened, changes, changing, ended, server };
        let inner = Arc::new(inner);
        let runtime = tokio::runtime::Handle::current();
        Self { _running: Some(Arc::new(ShutdownOnDrop { inner: inner.clone(), runtime })), inner }
    }

    /// A handle for what the node itself runs: it keeps nothing running.
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

    /// Told when ledgers come and go.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    pub(super) fn tell_changed(&self) {
        self.inner.changes.send_replace(());
    }

    /// How many connections to this node are open.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn connections(&self) -> usize {
        let server = self.inner.server.lock();
        server.as_ref().map_or(0, GrpcServer::connections)
    }

    /// The ledger of `group`.
    ///
    /// # Errors
    /// If the node does not host it, or could not open it.
    pub fn ledger(&self, group: &str) -> Result<Ledger, LedgerError> {
        let ledgers = self.hosted();
        if let Some(ledger) = ledgers.iter().find(|ledger| ledger.group().as_str() == group) {
            return Ok(ledger.clone());
        }
        if let Some(reason) = self.inner.unopened.reason(group) {
            return Err(LedgerError::Closed { group: group.to_owned(), reason });
        }
        let hosted = ledgers.iter().map(|ledger| ledger.group().as_str()).collect::<Vec<_>>().join(", ");
        Err(UnknownGroup { group: group.to_owned(), hosted }.into())
    }

    /// All ledgers that the node hosts now and could open; [`Node::statuses`] has the others too.
    pub fn ledgers(&self) -> Vec<Ledger> {
        self.hosted().clone()
    }

    /// Hosts one more ledger, with the node's configuration. It is opened if its directory is there, else made. A new
    /// ledger is formed, and has a master, once all nodes of [`Config::peers`] host it.
    ///
    /// One that could not be opened when the node started is tried again: after a repair of its directory. If it still
    /// cannot be opened it stays closed, for the new reason. Where only somebody else has its directory open, it is
    /// opened as soon as that one lets go of it, without this call.
    ///
    /// Which ledgers were made at run time is not kept: after a restart the program makes them again, or names them in
    /// [`Config::groups`]. Dropping the future does not take it back.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The node hosts the ledger already, has been shut down, or the ledger cannot be started.
    pub async fn create_ledger(&self, group: Group) -> Result<Ledger, CreateLedgerError> {
        let node = self.clone();
        // On a task of its own: a ledger that is half started when the caller loses interest would be nobody's.
        let created = tokio::spawn(async move { node.create(group).await }).await;
        match created {
            Ok(created) => created,
            Err(ended) => Err(CreateLedgerError::Ended { reason: ended.to_string() }),
        }
    }

    async fn create(self, group: Group) -> Result<Ledger, CreateLedgerError> {
        let stopped = self.inner.changing.lock().await;
        if *stopped {
            return Err(CreateLedgerError::Stopped { group });
        }
        if self.ledger(group.as_str()).is_ok() {
            return Err(CreateLedgerError::Hosted { group });
        }
        let unopened = self.inner.unopened.reason(group.as_str()).is_some();
        let started = self.start(&group).await;
        if let (true, Err(error)) = (unopened, &started) {
            self.keep_closed(&group, error);
        }
        Ok(started?)
    }

    /// Tries once more to open a ledger whose directory somebody else has open. It stays closed, for the new reason, if
    /// that is of no use. False if the node has stopped.
    pub(super) async fn open_if_free(&self, group: &Group) -> bool {
        let stopped = self.inner.changing.lock().await;
        if *stopped || !self.inner.unopened.is_in_use(group) {
            return !*stopped;
        }
        // Looked at first: an attempt to open it waits, and holds up whoever else would change something.
        let (disk, dir) = (self.inner.env.disk.clone(), self.directory(group));
        let free = tokio::task::spawn_blocking(move || directory::is_free(&*disk, &dir)).await;
        if !free.is_ok_and(|free| free.is_ok()) {
            return true;
        }
        match self.start(group).await {
            Ok(_) => tracing::warn!(%group, "its directory is free: the ledger is open now"),
            Err(error) => {
                tracing::error!(%group, %error, "its directory is free, but the ledger cannot be opened");
                self.keep_closed(group, &error);
            }
        }
        true
    }

    pub(super) fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.inner))
    }

    pub(super) async fn start(&self, group: &Group) -> Result<Ledger, StartError> {
        let Inner { config, advertised, env, router, .. } = &*self.inner;
        let ledger = start_ledger::<TokioRuntime>(env, config, group, advertised, router).await?;
        self.hosted_mut().push(ledger.clone());
        self.inner.unopened.remove(group.as_str());
        self.tell_changed();
        Ok(ledger)
    }

    /// Hosts a ledger no more: takes it off the wire, ends its Raft, makes it durable and closes it. Handles of it
    /// say [`Role::Stopped`](crate::Role::Stopped); appends under way end with an unknown outcome; records that were
    /// read stay readable. `files` says what becomes of its directory.
    ///
    /// This concerns this node only. For the other members it is a node that is down: a quorum of them goes on. With
    /// its files kept, the ledger can be created again and takes up where it was. With its files deleted, it comes
    /// back with another disk as far as the others are concerned, and they refuse it as they refuse every wiped disk:
    /// its place in the membership must be given up first. To be rid of a ledger altogether, remove it on all nodes.
    /// One that could not be opened is removed like any other.
    ///
    /// Dropping the future does not take it back. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The node does not host the ledger, or has been shut down: nothing was done. Or it could not be closed cleanly,
    /// or its files not be deleted: it is no longer hosted then. A directory that is not this ledger's on this node is
    /// not deleted ([`RemoveLedgerError::NotDeleted`]).
    pub async fn remove_ledger(&self, group: &str, files: LedgerFiles) -> Result<(), RemoveLedgerError> {
        let (node, group) = (self.clone(), group.to_owned());
        let removed = tokio::spawn(async move { node.remove(&group, files).await }).await;
        removed.unwrap_or_else(|ended| Err(RemoveLedgerError::Ended { reason: ended.to_string() }))
    }

    async fn remove(self, group: &str, files: LedgerFiles) -> Result<(), RemoveLedgerError> {
        let stopped = self.inner.changing.lock().await;
        if *stopped {
            return Err(RemoveLedgerError::Stopped { group: group.to_owned() });
        }
        let (group, doomed) = match self.inner.unopened.group(group) {
            // Nothing of it runs, and nobody here has its directory open.
            Some(group) => {
                // While it is in view: if its files are not to be touched, it stays so.
                let doomed = self.doom(&group, files).await?;
                self.inner.unopened.remove(group.as_str());
                self.inner.router.remove(&group);
                self.tell_changed();
                (group, doomed)
            }
            None => {
                let group = self.take_down(group).await?;
                let doomed = self.doom(&group, files).await?;
                (group, doomed)
            }
        };
        tracing::info!(%group, deleted = doomed.is_some(), "no longer hosted");
        let Some(doomed) = doomed else { return Ok(()) };
        let (disk, path) = (self.inner.env.disk.clone(), self.directory(&group));
        let deleted = tokio::task::spawn_blocking(move || doomed.delete(&*disk)).await;
        let deleted = deleted.unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
        deleted.map_err(|source| RemoveLedgerError::Delete { group, path, source })
    }

    /// The directory of `group`, if it is to be deleted and there is one.
    async fn doom(&self, group: &Group, files: LedgerFiles) -> Result<Option<Doomed>, RemoveLedgerError> {
        if files == LedgerFiles::Keep {
            return Ok(None);
        }
        let (node, of) = (self.clone(), group.clone());
        let doomed = tokio::task::spawn_blocking(move || {
            let Inner { config, env, .. } = &*node.inner;
            let owner = Owner { cluster: &config.cluster, group: &of, node: &config.id };
            directory::doom(&*env.disk, &node.directory(&of), owner)
        });
        let doomed = doomed.await.map_err(|ended| RemoveLedgerError::Ended { reason: ended.to_string() })?;
        doomed.map_err(|source| RemoveLedgerError::NotDeleted { group: group.clone(), source })
    }

    fn directory(&self, group: &Group) -> PathBuf {
        self.inner.config.data_dir.join(group.as_str())
    }

    /// Ends a ledger that is open, and lets go of its directory.
    async fn take_down(&self, group: &str) -> Result<Group, RemoveLedgerError> {
        let ledger = match self.ledger(group) {
            Ok(ledger) => ledger,
            Err(LedgerError::Unknown(unknown)) => return Err(unknown.into()),
            Err(LedgerError::Closed { group, reason }) => {
                return Err(RemoveLedgerError::Ended { reason: format!("{group} came back closed: {reason}") });
            }
        };
        let group = ledger.group().clone();
        // While it can still be heard.
        ledger.step_down().await;
        self.inner.router.remove(&group);
        self.hosted_mut().retain(|hosted| *hosted.group() != group);
        self.tell_changed();
        ledger.replica().stop().await;
        close(&ledger).await.map_err(|source| RemoveLedgerError::Close { group: group.clone(), source })?;
        Ok(group)
    }

    /// The node's id.
    pub fn id(&self) -> &NodeId {
        &self.inner.config.id
    }

    /// The node's cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.inner.config.cluster
    }

    /// The configuration it was started with. Which ledgers it hosts by now, [`Node::ledgers`] says.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where the node really listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Stops cleanly: hands over what it is the master of, takes no more calls, ends Raft, makes everything durable,
    /// and lets others have the directories. Appends still under way end with an unknown outcome. A second call does
    /// nothing.
    pub async fn shutdown(&self) {
        *self.inner.changing.lock().await = true;
        // Its peers may stop as well, and nobody needs to look after that.
        self.inner.env.outages.hush();
        let ledgers = self.ledgers();
        // While it can still be heard: the others need not find out by themselves.
        join_all(ledgers.iter().map(Ledger::step_down)).await;
        self.inner.router.clear();
        for ledger in &ledgers {
            ledger.replica().stop().await;
        }
        let server = self.inner.server.lock().take();
        if let Some(server) = server {
            server.shutdown().await;
        }
        for ledger in &ledgers {
            match close(ledger).await {
                Ok(()) => tracing::info!(group = %ledger.group(), "closed"),
                Err(error) => tracing::error!(group = %ledger.group(), %error, "not closed cleanly"),
            }
        }
        self.inner.ended.store(true, Ordering::Release);
    }

    /// For tests: stops the node as if its process were killed, except that the rest of the process goes on. It hands
    /// nothing over, says good-bye to nobody, and syncs nothing: what is written and not synced is left to the system,
    /// and it is there after a restart. Connections break, and appends under way end with an unknown outcome.
    /// Afterwards the port and the directories are free, and another node can be started on them.
    ///
    /// A loss of power cannot be had this way: what was written is not lost.
    pub async fn abort(&self) {
        *self.inner.changing.lock().await = true;
        self.inner.router.clear();
        let server = self.inner.server.lock().take();
        if let Some(server) = server {
            server.abort().await;
        }
        let ledgers = self.ledgers();
        for ledger in &ledgers {
            beside(ledger, LogReader::abandon).await;
        }
        for ledger in &ledgers {
            ledger.replica().stop().await;
            // Nobody writes any more.
            beside(ledger, LogReader::let_go).await;
        }
        self.inner.ended.store(true, Ordering::Release);
    }

    fn hosted(&self) -> RwLockReadGuard<'_, Vec<Ledger>> {
        self.inner.ledgers.read()
    }

    fn hosted_mut(&self) -> RwLockWriteGuard<'_, Vec<Ledger>> {
        self.inner.ledgers.write()
    }
}

/// Does with the log of `ledger` what may wait for the disk.
async fn beside(ledger: &Ledger, work: fn(&LogReader)) {
    let log = ledger.replica().log.clone();
    if let Err(ended) = tokio::task::spawn_blocking(move || work(&log)).await {
        tracing::error!(group = %ledger.group(), %ended, "not ended as it should");
    }
}

/// Makes everything durable, and lets others have the directory.
async fn close(ledger: &Ledger) -> std::io::Result<()> {
    let log = ledger.replica().log.clone();
    tokio::task::spawn_blocking(move || log.close()).await.map_err(std::io::Error::other)?
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", self.id()).field("local", &self.inner.local).finish_non_exhaustive()
    }
}
