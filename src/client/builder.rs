//! What a client can be told.

use std::sync::Arc;
use std::time::Duration;

use crate::client::client::Client;
use crate::client::cluster::topology::Topology;
use crate::client::settings::{Settings, at_most};
use crate::transport::grpc::dialer::{Dialer, TcpDialer};
use crate::transport::grpc::resolver::Resolver;
use crate::types::{ClusterName, Group, Peers};

/// Collects what a [`Client`] needs to know.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    peers: Peers,
    pub(super) settings: Settings,
}

impl Client {
    /// A client for the ledger `group` of the cluster that some of `peers` are in. Nodes that the list lacks are found
    /// through those it has.
    pub fn builder(peers: Peers, group: Group) -> ClientBuilder {
        ClientBuilder::new(peers, group)
    }
}

impl ClientBuilder {
    pub(super) fn new(peers: Peers, group: Group) -> Self {
        Self { peers, settings: Settings::new(group) }
    }

    /// The cluster that is meant: a node of another one refuses. Default: whichever answers.
    pub fn cluster(mut self, name: ClusterName) -> Self {
        self.settings.cluster = Some(name);
        self
    }

    /// How long an append may take, from the call to the ack, with all that happens in between (finding the master,
    /// failover, the quorum); also how long a read waits for a node that answers. Default 10 s; at most an
    /// hour, to which more is cut.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = at_most(timeout);
        self
    }

    /// Bytes of appends that may be in flight; above it `submit` and `append` wait. A batch that is larger travels
    /// alone. Default 32 MiB; at least 64 KiB.
    pub fn max_inflight_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_inflight_bytes = bytes.clamp(64 << 10, u32::MAX as usize >> 1);
        self
    }

    /// The client. Does not connect: that happens with the first call.
    pub fn build(self) -> Client {
        self.build_on(Arc::new(TcpDialer::new(Resolver::system())))
    }

    /// The client, which connects by `dialer`.
    pub(crate) fn build_on(self, dialer: Arc<dyn Dialer>) -> Client {
        Client::new(Arc::new(Topology::new(&self.peers, self.settings, dialer)))
    }
}
