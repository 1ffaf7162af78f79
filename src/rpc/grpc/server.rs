//! The server: listener, services, an end that comes.

use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;

use super::acceptor::{self, Accept, AcceptorOptions};
use super::gate::Gate;
use super::service::{PeerService, Stopping};
use super::{CONNECTION_WINDOW, FRAME_BYTES, HEADER_BYTES, STREAM_WINDOW};
use crate::rpc::pb::raft_service_server::RaftServiceServer;
use crate::rpc::router::Router;

/// Most calls one connection may have under way.
const MAX_STREAMS: u32 = 1024;
/// Most calls one connection may open and reset before they are looked at.
const MAX_PENDING_RESETS: usize = 64;

/// Settings of the serving side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerOptions {
    /// The accept loop.
    pub(crate) acceptor: AcceptorOptions,
    /// Largest message of the peer service taken or sent, bytes.
    pub(crate) max_message_bytes: usize,
    /// How long a connection may be silent before it is pinged.
    pub(crate) keepalive_interval: Duration,
    /// A ping unanswered for so long breaks the connection.
    pub(crate) keepalive_timeout: Duration,
    /// How long calls may take to end once the server stops. Then their connections are closed.
    pub(crate) grace: Duration,
}

impl Default for ServerOptions {
    /// 16 MiB; 2 s; 5 s; 500 ms.
    fn default() -> Self {
        Self {
            acceptor: AcceptorOptions::default(),
            max_message_bytes: 16 << 20,
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(5),
            grace: Duration::from_millis(500),
        }
    }
}

/// A running server. Dropping it stops it too, without waiting.
pub(crate) struct GrpcServer {
    #[cfg(test)]
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    gate: Arc<Gate>,
    grace: Duration,
    /// `None` once it has been waited for.
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
}

impl GrpcServer {
    /// Serves the peer service over `router`, and `extra`, on `listener`. Must be called within a tokio runtime.
    ///
    /// `extra` must not hold the peer service already: routes of the same path panic. Its streams are waited for no
    /// longer than the grace when the server stops, so they should be ended before.
    ///
    /// # Errors
    /// The listener has no address.
    pub(crate) fn start(
        listener: impl Accept,
        router: Arc<Router>,
        extra: Routes,
        options: ServerOptions,
    ) -> io::Result<Self> {
        #[cfg(test)]
        let local_addr = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let gate = Gate::new(options.acceptor.max_connections);
        let peers = RaftServiceServer::new(PeerService::new(router, stopping.clone()))
            .max_decoding_message_size(options.max_message_bytes)
            .max_encoding_message_size(options.max_message_bytes);
        let routes = extra.add_service(peers).prepare();
        let incoming = acceptor::connections(listener, gate.clone(), options.acceptor.preface_timeout);
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(HEADER_BYTES)
            .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
            .http2_keepalive_interval(Some(options.keepalive_interval))
            .http2_keepalive_timeout(Some(options.keepalive_timeout));
        let serving = server.serve_with_incoming_shutdown(routes, incoming, stopped(stopping));
        let serving = Some(tokio::spawn(serving));
        Ok(Self {
            #[cfg(test)]
            local_addr,
            stop,
            gate,
            grace: options.grace,
            serving,
        })
    }

    /// Where the server listens; port 0 is resolved.
    #[cfg(test)]
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections are open.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn connections(&self) -> usize {
        self.gate.taken()
    }

    /// Stops: accepts no more, ends the replication streams, waits a little for calls to end, closes what is left. The
    /// port is free afterwards. Takes no longer than twice the grace.
    pub(crate) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let Some(mut serving) = self.serving.take() else {
            return;
        };
        let ended = match tokio::time::timeout(self.grace, &mut serving).await {
            Ok(ended) => Some(ended),
            Err(_) => {
                tracing::info!("{} connections still open after {:?} are closed", self.gate.taken(), self.grace);
                self.gate.shut();
                tokio::time::timeout(self.grace, &mut serving).await.ok()
            }
        };
        match ended {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => tracing::warn!("the server ended with an error: {error}"),
            Some(Err(error)) => tracing::error!("the server's task died: {error}"),
            None => {
                tracing::warn!("connections have not ended {:?} after they were closed", self.grace);
                serving.abort();
                // Cancelled, or ended just now; either way the listener is gone.
                let _ = serving.await;
            }
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.gate.shut();
    }
}

async fn stopped(mut stopping: Stopping) {
    // An error means that the server itself is gone.
    let _ = stopping.wait_for(|stop| *stop).await;
}
