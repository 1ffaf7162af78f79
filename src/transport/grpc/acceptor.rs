//! The accept loop, which does not spin when descriptors run out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;

use super::connection_limit::{ConnectionLimit, Places, UNPLACED};
use super::greeting::Caller;
use super::guarded::GuardedConnection;
use crate::types::Span;

/// First pause after a failed accept; doubled up to [`MAX_PAUSE`] while accepting fails.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause: a descriptor that becomes free is used within it.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Time between two checks whether a shortage of places is over.
const LOOK: Duration = Duration::from_secs(1);

/// Settings of the accept loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptorOptions {
    /// Most connections open at once.
    pub(crate) places: Places,
    /// How long a connection may take to begin with HTTP/2 before it is closed.
    pub(crate) preface_timeout: Duration,
}

impl Default for AcceptorOptions {
    /// 1024 clients, 64 peers, 64 that have no place yet; 1 s.
    fn default() -> Self {
        let places = Places { clients: 1024, own_machine: 0, peers: 64, unplaced: UNPLACED };
        Self { places, preface_timeout: Duration::from_secs(1) }
    }
}

/// Where connections come from: a TCP listener, or a test's replacement.
pub trait Accept: Send + 'static {
    /// What a connection is.
    type Connection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static;

    /// The next connection. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Connection>> + Send;

    /// The address that the listener is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Whether the other end is on this machine.
    fn is_local(_connection: &Self::Connection) -> bool {
        false
    }
}

impl Accept for TcpListener {
    type Connection = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // An answer must not wait for the next one to fill a packet. Fails on a connection that is gone already.
        stream.set_nodelay(true).map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
        Ok(stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn is_local(connection: &TcpStream) -> bool {
        match (connection.peer_addr(), connection.local_addr()) {
            // A caller that connects to one of its own machine's addresses also calls from that address.
            (Ok(peer), Ok(own)) => peer.ip().to_canonical().is_loopback() || peer.ip() == own.ip(),
            _ => false,
        }
    }
}

/// Where accepted connections go. The servers hold the receiving ends.
pub(crate) struct ConnectionSinks<S> {
    pub(crate) peers: mpsc::UnboundedSender<GuardedConnection<S>>,
    pub(crate) clients: mpsc::UnboundedSender<GuardedConnection<S>>,
    /// Peers and clients without a place, which a server of their own tells so.
    pub(crate) turned_away: [mpsc::UnboundedSender<GuardedConnection<S>>; 2],
}

impl<S> ConnectionSinks<S> {
    /// Hands a connection to the server for its kind. If that server has stopped, the connection is closed.
    fn send(&self, connection: GuardedConnection<S>, caller: Caller, has_place: bool) {
        let [no_peer, no_client] = &self.turned_away;
        let door = match (caller, has_place) {
            (Caller::Peer, true) => &self.peers,
            (Caller::Client, true) => &self.clients,
            (Caller::Peer, false) => no_peer,
            (Caller::Client, false) => no_client,
        };
        drop(door.send(connection));
    }
}

/// Accepts connections, learns what each of them is, and hands it to its server. Never ends: a failed accept is logged.
pub(crate) async fn receive<L: Accept>(
    listener: L,
    limit: Arc<ConnectionLimit>,
    preface_timeout: Duration,
    sinks: ConnectionSinks<L::Connection>,
) {
    let mut accepted = pin!(stream::unfold(listener, |mut listener| async move {
        let stream = accepted(&mut listener).await;
        Some((stream, listener))
    }));
    let mut greetings = FuturesUnordered::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(stream) = accepted.next() => match limit.admit(L::is_local(&stream)) {
                Some(permit) => greetings.push(GuardedConnection::new(stream, permit).greeted(preface_timeout)),
                None => tracing::debug!("connection turned away: the server stops"),
            },
            Some(greeted) = greetings.next() => match greeted {
                Ok((connection, caller)) => {
                    let has_place = connection.take_place(caller);
                    sinks.send(connection, caller, has_place);
                }
                Err(error) => tracing::debug!("closing a connection that does not greet as HTTP/2 does: {error}"),
            },
            _ = look.tick() => limit.check_shortages(),
        }
    }
}

/// The next connection, however many accepts fail before it.
async fn accepted<L: Accept>(listener: &mut L) -> L::Connection {
    let mut pause = MIN_PAUSE;
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            // The caller gave up, which says nothing about the next connection.
            Err(error) if is_of_one_connection(&error) => tracing::debug!("accept: {error}"),
            Err(error) => {
                tracing::warn!("cannot accept connections: {error}; next try in {}", Span(pause));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A listener whose first `fails` accepts end with the system's `error`.
    struct Full {
        fails: usize,
        tried: Arc<AtomicUsize>,
        error: i32,
        listener: TcpListener,
    }

    impl Accept for Full {
        type Connection = TcpStream;

        async fn accept(&mut self) -> io::Result<TcpStream> {
            if self.tried.fetch_add(1, Ordering::Relaxed) < self.fails {
                return Err(io::Error::from_raw_os_error(self.error));
            }
            Accept::accept(&mut self.listener).await
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.listener.local_addr()
        }
    }

    const EMFILE: i32 = 24;
    const ECONNABORTED: i32 = 103;

    async fn full(fails: usize, error: i32) -> (Full, Arc<AtomicUsize>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let tried = Arc::new(AtomicUsize::new(0));
        (Full { fails, tried: tried.clone(), error, listener }, tried, client)
    }

    /// What a client says.
    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

    /// The clients that `listener` has.
    fn clients<L: Accept>(listener: L) -> mpsc::UnboundedReceiver<GuardedConnection<L::Connection>> {
        let (clients, let_in) = mpsc::unbounded_channel();
        let nobody = || mpsc::unbounded_channel().0;
        let sinks = ConnectionSinks { peers: nobody(), clients, turned_away: [nobody(), nobody()] };
        let limit = ConnectionLimit::new(Places { clients: 1, own_machine: 0, peers: 1, unplaced: 1 });
        tokio::spawn(receive(listener, limit, Duration::from_secs(1), sinks));
        let_in
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_descriptor_table_is_waited_out_without_spinning() {
        let (listener, tried, _client) = full(1_000_000, EMFILE).await;
        let mut all = clients(listener);
        assert!(tokio::time::timeout(Duration::from_secs(10), all.recv()).await.is_err());
        let tries = tried.load(Ordering::Relaxed);
        assert!((5..=20).contains(&tries), "{tries} tries in 10 s");
    }

    #[tokio::test]
    async fn accepting_goes_on_after_errors() {
        for error in [EMFILE, ECONNABORTED] {
            let (listener, tried, mut client) = full(3, error).await;
            client.write_all(GREETING).await.unwrap();
            let guarded = clients(listener).recv().await.unwrap();
            assert!(tried.load(Ordering::Relaxed) >= 4);
            let info = tonic::transport::server::Connected::connect_info(&guarded);
            assert_eq!(info.remote_addr(), Some(client.local_addr().unwrap()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_connection_costs_the_others_no_time() {
        let (mut listener, _, _client) = full(1000, ECONNABORTED).await;
        let began = tokio::time::Instant::now();
        accepted(&mut listener).await;
        assert!(began.elapsed() < MIN_PAUSE, "virtual time passes only in pauses");
    }
}
