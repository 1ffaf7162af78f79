//! Turns names into addresses, at every connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tonic::codegen::Service;

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Looks a host name up whenever a connection is made, and caches nothing: so the next attempt finds a pod that comes
/// back under its name with another address.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Lookup>);

impl Resolver {
    /// Asks the system.
    pub(crate) fn system() -> Self {
        Self(Arc::new(|host| {
            // The port comes from the address that is connected to.
            async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) }.boxed()
        }))
    }

    /// Asks `table`.
    #[cfg(test)]
    pub(crate) fn of(table: impl Fn(&str) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |host| std::future::ready(Ok(table(&host))).boxed()))
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = (self.0)(name.as_str().to_owned());
        async move { Ok(found.await?.into_iter()) }.boxed()
    }
}
