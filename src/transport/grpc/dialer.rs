//! How connections are made.

use std::io;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Error};

use super::resolver::Resolver;

/// Makes connections: over TCP, or what a test puts in its place.
pub trait Dialer: Send + Sync + 'static {
    /// A channel that connects when it is used and not connected, resolving the name anew each time. A connect takes no
    /// longer than `limit`. Must be called within a tokio runtime.
    fn lazy(&self, endpoint: &Endpoint, limit: Duration) -> Channel;

    /// A channel that is connected, by a connect that took no longer than `limit`.
    fn connected<'a>(&self, endpoint: &'a Endpoint, limit: Duration) -> BoxFuture<'a, Result<Channel, Error>>;

    /// Whether the machine behind `address` (`host:port`) says, at all addresses of that name, that nothing listens
    /// there.
    fn refuses(&self, address: String) -> BoxFuture<'static, bool>;
}

/// Connects over TCP.
pub(crate) struct TcpDialer(Resolver);

impl TcpDialer {
    /// Looks names up by `resolver`.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self(resolver)
    }

    fn connector(&self, limit: Duration) -> HttpConnector<Resolver> {
        let mut connector = HttpConnector::new_with_resolver(self.0.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(limit));
        connector
    }
}

impl Dialer for TcpDialer {
    fn lazy(&self, endpoint: &Endpoint, limit: Duration) -> Channel {
        endpoint.connect_with_connector_lazy(self.connector(limit))
    }

    fn connected<'a>(&self, endpoint: &'a Endpoint, limit: Duration) -> BoxFuture<'a, Result<Channel, Error>> {
        endpoint.connect_with_connector(self.connector(limit)).boxed()
    }

    fn refuses(&self, address: String) -> BoxFuture<'static, bool> {
        async move {
            let Ok(found) = tokio::net::lookup_host(address).await else { return false };
            let mut asked = 0;
            for at in found {
                match TcpStream::connect(at).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => asked += 1,
                    _ => return false,
                }
            }
            asked > 0
        }
        .boxed()
    }
}
