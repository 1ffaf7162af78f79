//! What a client can be told.

use std::sync::Arc;
use std::time::Duration;

use crate::client::client::Client;
use crate::client::cluster::topology::Topology;
use crate::transport::grpc::dialer::{Dialer, TcpDialer};
use crate::transport::grpc::resolver::Resolver;
use crate::types::{ClusterName, Group, Peers};

/// Longest timeout: far beyond any use, far below what clocks overflow at.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Collects what a [`Client`] needs to know.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    peers: Peers,
    pub(super) settings: Settings,
}

/// The settings that all parts of a client share.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: Group,
    pub(super) cluster: Option<ClusterName>,
    pub(super) timeout: Duration,
    pub(super) max_inflight_bytes: usize,
}

impl ClientBuilder {
    pub(super) fn new(peers: Peers, group: Group) -> Self {
        let settings =
            Settings { group, cluster: None, timeout: Duration::from_secs(10), max_inflight_bytes: 32 << 20 };
        Self { peers, settings }
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
        self.settings.timeout = timeout.min(MAX_TIMEOUT);
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
