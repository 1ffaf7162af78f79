//! Nodes and clients with their real gRPC, in tokio's time, over connections and on a disk that a test provides.
//!
//! The rest of this crate puts the code above the wire on a simulated one. Here the wire itself is the real one,
//! down to the bytes: what is simulated begins where the operating system would.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Error};

use super::scheduler::InlineBackground;
use dledger::seams::{self, Accept, Dialer, FlushScheduler, Flusher, Rng, SimDisk};
use dledger::{Client, ClientBuilder, Config, Node, StartError};

/// No sync takes longer.
const SLOWEST_SYNC: Duration = Duration::from_millis(4);

/// Makes connections for a node or a client.
pub trait Connect: Send + Sync + 'static {
    /// A connection to `host:port`.
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Connection>>;
}

/// Where the connections to a node come from.
pub trait Listen: Send + 'static {
    /// The next one. Dropping the future loses none.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;

    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;
}

/// Both directions of a connection.
pub trait Bytes: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// A connection.
pub struct Connection(Pin<Box<dyn Bytes>>);

impl Connection {
    /// Over `bytes`.
    pub fn new(bytes: impl Bytes + 'static) -> Self {
        Self(Box::pin(bytes))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// The disk of a node, as one life of it sees it.
#[derive(Clone)]
pub struct Disk(SimDisk);

impl Default for Disk {
    fn default() -> Self {
        Self(SimDisk::new())
    }
}

impl Disk {
    /// What the next life finds after the power has failed: what was not synced is lost, or not, as `seed` says. This
    /// life's calls fail from now on.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn crash(&self, seed: u64) -> io::Result<Self> {
        self.0.crash(&mut Rng::new(seed)).map(Self)
    }

    /// What the next life finds after the process has died: all that was written. This life's calls fail from now on.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn kill(&self) -> io::Result<Self> {
        self.0.kill().map(Self)
    }
}

/// What a node lives in.
pub struct World {
    /// Its disk.
    pub disk: Disk,
    /// Connections to others.
    pub connect: Arc<dyn Connect>,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Determines how long syncs take, and the incarnation of a new disk.
    pub seed: u64,
}

/// Starts a node that serves peers and clients, as [`dledger::server::serve`] does. Nothing of it runs on
/// a thread of its own.
///
/// # Errors
/// As there.
pub async fn serve(config: Config, listener: impl Listen, world: World) -> Result<Node, StartError> {
    seams::inline_on_this_thread();
    let mut rng = Rng::new(world.seed);
    let incarnation = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
    let env = seams::World {
        disk: Arc::new(world.disk.0),
        scheduler: Arc::new(TokioScheduler(Mutex::new(rng))),
        background: Arc::new(InlineBackground),
        clock: world.clock,
        transport: seams::grpc_transport(&config, Arc::new(Given(world.connect))),
        incarnation,
    }
    .environment(&config);
    seams::serve(config, Incoming(listener), env).await
}

/// Lets tokio's time pass, which is virtual where this is used.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// How many connections to `node` are open.
pub fn connections(node: &Node) -> usize {
    seams::connections(node)
}

/// A client whose connections are made by `connect`.
pub fn client(builder: ClientBuilder, connect: Arc<dyn Connect>) -> Client {
    seams::client(builder, Arc::new(Given(connect)))
}

/// A listener as the acceptor takes it.
struct Incoming<L>(L);

impl<L: Listen> Accept for Incoming<L> {
    type Connection = Connection;

    async fn accept(&mut self) -> io::Result<Connection> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }
}

/// Connections as tonic takes them.
struct Given(Arc<dyn Connect>);

impl Dialer for Given {
    fn lazy(&self, endpoint: &Endpoint, limit: Duration) -> Channel {
        endpoint.connect_with_connector_lazy(Connector { connect: self.0.clone(), limit })
    }

    fn connected<'a>(&self, endpoint: &'a Endpoint, limit: Duration) -> BoxFuture<'a, Result<Channel, Error>> {
        endpoint.connect_with_connector(Connector { connect: self.0.clone(), limit }).boxed()
    }

    fn refuses(&self, address: String) -> BoxFuture<'static, bool> {
        let connect = self.0.clone();
        async move {
            let Some((host, port)) = host_and_port(&address) else { return false };
            let refused = connect.connect(host, port).await.err();
            refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        }
        .boxed()
    }
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

struct Connector {
    connect: Arc<dyn Connect>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connect, limit) = (self.connect.clone(), self.limit);
        async move {
            let found = uri.authority().and_then(|authority| host_and_port(authority.as_str()));
            let (host, port) = found.ok_or(io::ErrorKind::InvalidInput)?;
            let connected = tokio::time::timeout(limit, connect.connect(host, port)).await;
            Ok(TokioIo::new(connected.map_err(|_| io::ErrorKind::TimedOut)??))
        }
        .boxed()
    }
}

/// Runs flush passes as tasks. Each takes its time, during which a power loss loses what it is for.
struct TokioScheduler(Mutex<Rng>);

impl FlushScheduler for TokioScheduler {
    fn schedule(&self, flusher: Arc<Flusher>, delay: Duration) {
        let takes = Duration::from_micros(self.0.lock().below(SLOWEST_SYNC.as_micros() as u64 + 1));
        // Detached: the end of the pass is told through the log.
        drop(tokio::spawn(async move {
            tokio::time::sleep(delay + takes).await;
            flusher.flush();
        }));
    }
}
