//! Ledgers behind one port.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;

use super::builder::NodeBuilder;
use super::ledger::Ledger;
use crate::config::Config;
use crate::error::UnknownGroup;
use crate::rpc::grpc::server::GrpcServer;
use crate::rpc::router::Router;
use crate::types::{ClusterName, NodeId};

/// A node: hosts ledgers and talks to its peers. Cheap to clone. Runs until [`Node::shutdown`].
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    local: SocketAddr,
    ledgers: Vec<Ledger>,
    router: Arc<Router>,
    server: Mutex<Option<GrpcServer>>,
}

impl Node {
    /// Begins a node with id `id` that listens at `bind` (`host:port`; port 0 takes a free one).
    pub fn builder(id: NodeId, bind: impl Into<String>) -> NodeBuilder {
        NodeBuilder::from_config(Config::new(id, bind))
    }

    pub(super) fn new(config: Config, local: SocketAddr, ledgers: Vec<Ledger>, router: Arc<Router>) -> Self {
        Self { inner: Arc::new(Inner { config, local, ledgers, router, server: Mutex::new(None) }) }
    }

    pub(super) fn set_server(&self, server: GrpcServer) {
        *self.inner.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// The ledger of `group`.
    ///
    /// # Errors
    /// If the node does not host it.
    pub fn ledger(&self, group: &str) -> Result<Ledger, UnknownGroup> {
        let ledger = self.inner.ledgers.iter().find(|ledger| ledger.group().as_str() == group);
        ledger.cloned().ok_or_else(|| {
            let hosted = self.inner.ledgers.iter().map(|ledger| ledger.group().as_str()).collect::<Vec<_>>().join(", ");
            UnknownGroup { group: group.to_owned(), hosted }
        })
    }

    /// All ledgers.
    pub fn ledgers(&self) -> Vec<Ledger> {
        self.inner.ledgers.clone()
    }

    /// The node's id.
    pub fn id(&self) -> &NodeId {
        &self.inner.config.id
    }

    /// The node's cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.inner.config.cluster
    }

    /// The configuration it runs with.
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
        // While it can still be heard: the others need not find out by themselves.
        join_all(self.inner.ledgers.iter().map(Ledger::step_down)).await;
        self.inner.router.clear();
        for ledger in &self.inner.ledgers {
            ledger.raft_group().stop().await;
        }
        let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.shutdown().await;
        }
        for ledger in &self.inner.ledgers {
            let log = ledger.raft_group().log.clone();
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            match closed {
                Ok(Ok(())) => tracing::info!(group = %ledger.group(), "closed"),
                Ok(Err(error)) => tracing::error!(group = %ledger.group(), %error, "not closed cleanly"),
                Err(error) => tracing::error!(group = %ledger.group(), %error, "closing ended badly"),
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", self.id()).field("local", &self.inner.local).finish_non_exhaustive()
    }
}
