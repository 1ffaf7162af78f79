//! The server: listener, services, and a shutdown that ends in bounded time.

use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::acceptor::{self, Accept, AcceptorOptions, ConnectionSinks};
use super::connection_limit::ConnectionLimit;
use super::greeting::Caller;
use super::guarded::GuardedConnection;
use super::service::{PeerService, Stopping};
use super::turned_away::TurnedAway;
use super::{CONNECTION_WINDOW, FRAME_BYTES, HEADER_BYTES, STREAM_WINDOW};
use crate::config::CLIENT_FRAME_BYTES;
use crate::transport::router::Router;
use crate::types::Span;
use crate::wire::pb::raft_service_server::RaftServiceServer;

/// Most calls that one connection may have under way.
const MAX_STREAMS: u32 = 1024;
/// Most calls that one connection may open and reset before this node looks at them: a caller that may have
/// [`MAX_STREAMS`] under way may also give them all up at once, while this node is not scheduled.
const MAX_PENDING_RESETS: usize = MAX_STREAMS as usize;
/// Most frames of one connection for calls that are over: the rest of requests that were refused before they were read.
/// h2 counts them over the connection's life, and by default takes the thousandth for an attack. This bound stays
/// because the server answers each of them.
const MAX_LATE_FRAMES: usize = 64 << 10;

/// How long the server answers a connection without a place before it closes it.
const FAREWELL: Duration = Duration::from_secs(1);

/// HTTP/2 windows: bytes that callers may have under way before the node takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Windows {
    /// On one call.
    call: u32,
    /// On all calls of a connection.
    connection: u32,
    /// Largest HTTP/2 frame.
    frame: u32,
}

impl Windows {
    /// The windows of peers.
    const PEER: Self = Self { call: STREAM_WINDOW, connection: CONNECTION_WINDOW, frame: FRAME_BYTES };

    /// The windows of clients. The connection's window bounds nothing on purpose: h2 judges by it whether small frames
    /// are an attack, and a client that appends many small records is none.
    fn of_clients(call: u32) -> Self {
        Self { call, connection: CONNECTION_WINDOW, frame: CLIENT_FRAME_BYTES as u32 }
    }
}

/// Settings of the serving side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerOptions {
    /// The accept loop.
    pub(crate) acceptor: AcceptorOptions,
    /// Largest message of the peer service taken or sent, bytes.
    pub(crate) max_message_bytes: usize,
    /// Bytes that a client may have under way on one call before the node takes them.
    pub(crate) client_window: u32,
    /// How long a connection may be silent before it is pinged.
    pub(crate) keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection breaks.
    pub(crate) keepalive_timeout: Duration,
    /// How long calls may take to end once the server stops. Then their connections are closed.
    pub(crate) grace: Duration,
}

impl Default for ServerOptions {
    /// 16 MiB; 256 KiB; 2 s; 5 s; 500 ms.
    fn default() -> Self {
        Self {
            acceptor: AcceptorOptions::default(),
            max_message_bytes: 16 << 20,
            client_window: 256 << 10,
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
    limit: Arc<ConnectionLimit>,
    grace: Duration,
    /// `None` once `GrpcServer` has waited for the task.
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
}

impl GrpcServer {
    /// Serves the peer service over `router`, and `extra`, on `listener`. Must be called within a tokio runtime.
    ///
    /// `extra` must not hold the peer service: two routes of one path panic. When the server stops, it waits for the
    /// streams of `extra` no longer than the grace, so their owner should end them before.
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
        let limit = ConnectionLimit::new(options.acceptor.places);
        let peers = RaftServiceServer::new(PeerService::new(router, stopping.clone()))
            .max_decoding_message_size(options.max_message_bytes)
            .max_encoding_message_size(options.max_message_bytes);
        let routes = extra.add_service(peers).prepare();
        let clients = Windows::of_clients(options.client_window);
        let (peers_door, served_peers) = serve(builder(&options, Windows::PEER), routes.clone(), stopping.clone());
        let (clients_door, served_clients) = serve(builder(&options, clients), routes, stopping.clone());
        let farewell = |caller| {
            let builder = builder(&options, clients).max_connection_age(FAREWELL).max_connection_age_grace(FAREWELL);
            serve(builder, TurnedAway { caller, places: limit.places() }, stopping.clone())
        };
        let ((no_peer, told_peers), (no_client, told_clients)) = (farewell(Caller::Peer), farewell(Caller::Client));
        let sinks = ConnectionSinks { peers: peers_door, clients: clients_door, turned_away: [no_peer, no_client] };
        let receiving = acceptor::receive(listener, limit.clone(), options.acceptor.preface_timeout, sinks);
        let serving = tokio::spawn(async move {
            // The listener is closed as soon as the server stops: from then on the system refuses connections.
            let receiving = async move {
                tokio::select! {
                    () = receiving => {}
                    () = stopped(stopping) => {}
                }
                Ok(())
            };
            tokio::try_join!(receiving, served_peers, served_clients, told_peers, told_clients).map(drop)
        });
        let serving = Some(serving);
        Ok(Self {
            #[cfg(test)]
            local_addr,
            stop,
            limit,
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
    #[cfg(feature = "internals")]
    pub(crate) fn connections(&self) -> usize {
        self.limit.open_connections()
    }

    /// Stops: accepts no more, ends the replication streams, gives calls the grace to end, and closes what is left. The
    /// port is free afterwards. Takes twice the grace at most.
    pub(crate) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let Some(mut serving) = self.serving.take() else {
            return;
        };
        let ended = match tokio::time::timeout(self.grace, &mut serving).await {
            Ok(ended) => Some(ended),
            Err(_) => {
                tracing::info!(
                    "closing {} connections that are still open after {}",
                    self.limit.open_connections(),
                    Span(self.grace)
                );
                self.limit.close_all();
                tokio::time::timeout(self.grace, &mut serving).await.ok()
            }
        };
        match ended {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => tracing::warn!("the server ended with an error: {error}"),
            Some(Err(error)) => tracing::error!("the server's task died: {error}"),
            None => {
                tracing::warn!(
                    "aborting the server: connections have not ended {} after they were closed",
                    Span(self.grace)
                );
                serving.abort();
                // Cancelled, or ended just now; either way the listener is gone.
                let _ = serving.await;
            }
        }
    }
}

impl GrpcServer {
    /// Stops as if its process were killed: accepts no more, breaks every call. The port is free afterwards.
    pub(crate) async fn abort(mut self) {
        self.stop.send_replace(true);
        self.limit.close_all();
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Cancelled, or ended just now; either way the listener is gone.
            let _ = serving.await;
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.limit.close_all();
    }
}

/// HTTP/2 as this node speaks it, with these windows.
fn builder(options: &ServerOptions, windows: Windows) -> Server {
    Server::builder()
        .initial_stream_window_size(windows.call)
        .initial_connection_window_size(windows.connection)
        .max_frame_size(windows.frame)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_LATE_FRAMES))
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
}

/// Where to send connections for `service`, and the server: to be polled until it stops and its connections are closed.
fn serve<C, S>(
    builder: Server,
    service: S,
    stopping: Stopping,
) -> (mpsc::UnboundedSender<GuardedConnection<C>>, impl Future<Output = Result<(), tonic::transport::Error>> + Send)
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    let (door, let_in) = mpsc::unbounded_channel();
    let incoming = UnboundedReceiverStream::new(let_in).map(Ok::<_, io::Error>);
    let served = builder.serve_with_incoming_shutdown(service, incoming, stopped(stopping));
    (door, served)
}

async fn stopped(mut stopping: Stopping) {
    // An error means that the server itself is gone.
    let _ = stopping.wait_for(|stop| *stop).await;
}
