//! The transport: keeps one link per address and lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::dialer::{Dialer, TcpDialer};
use super::heartbeats::HeartbeatLink;
use super::link::GrpcLink;
use super::resolver::Resolver;
use crate::transport::{Lane, Link, Transport};

/// Settings of the calling side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrpcOptions {
    /// Largest message sent or taken, bytes. The server's must not be smaller.
    pub(crate) max_message_bytes: usize,
    /// A replication stream with an unanswered request counts as broken after this time without an answer. Opening one
    /// takes no longer either.
    pub(crate) stall_timeout: Duration,
    /// How long connecting may take, over all addresses of a name. The lookup comes on top, bounded by the call.
    pub(crate) connect_timeout: Duration,
    /// How long a probe may take to find out that nothing listens.
    pub(crate) probe_timeout: Duration,
    /// How long a connection may be silent before it is pinged, used or not.
    pub(crate) keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection breaks. At least `stall_timeout` on the data lane, at
    /// most `stall_timeout` on the others.
    pub(crate) keepalive_timeout: Duration,
}

impl Default for GrpcOptions {
    /// 16 MiB; 5 s; 1 s; 200 ms; 1 s; 2 s.
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            stall_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(200),
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(2),
        }
    }
}

/// gRPC to all peers. A node's ledgers share it, and with it one connection per peer and lane.
pub(crate) struct GrpcTransport {
    options: GrpcOptions,
    dialer: Arc<dyn Dialer>,
    /// Never shrinks; but an unused link costs no connection once its peer is gone.
    links: Mutex<HashMap<(String, Lane), Arc<dyn Link>>>,
}

impl GrpcTransport {
    /// A transport without links.
    pub(crate) fn new(options: GrpcOptions) -> Self {
        Self::with_dialer(options, Arc::new(TcpDialer::new(Resolver::system())))
    }

    /// A transport that connects by `dialer`.
    pub(crate) fn with_dialer(options: GrpcOptions, dialer: Arc<dyn Dialer>) -> Self {
        Self { options, dialer, links: Mutex::default() }
    }
}

impl Transport for GrpcTransport {
    fn link(&self, address: &str, lane: Lane) -> Arc<dyn Link> {
        let mut links = self.links.lock();
        let link = links.entry((address.to_owned(), lane)).or_insert_with(|| {
            let link = Arc::new(GrpcLink::new(address, lane, &self.options, self.dialer.clone()));
            match lane {
                Lane::Heartbeat => Arc::new(HeartbeatLink::new(link)),
                Lane::Control | Lane::Data => link,
            }
        });
        link.clone()
    }

    fn nobody_listens(&self, address: &str) -> BoxFuture<'static, bool> {
        let refuses = self.dialer.refuses(address.to_owned());
        let limit = self.options.probe_timeout;
        async move { tokio::time::timeout(limit, refuses).await.unwrap_or(false) }.boxed()
    }
}
