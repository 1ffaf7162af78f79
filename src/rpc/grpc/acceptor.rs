//! The accept loop, which a full descriptor table does not spin.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

use super::gate::Gate;
use super::guarded::Guarded;

/// First pause after a failed accept; doubled up to [`MAX_PAUSE`] while it goes on failing.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause: a descriptor that becomes free is used within it.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Settings of the accept loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptorOptions {
    /// Most connections open at once.
    pub(crate) max_connections: usize,
    /// A connection that has not begun to speak HTTP/2 after so long is closed.
    pub(crate) preface_timeout: Duration,
}

impl Default for AcceptorOptions {
    /// 1024; 1 s.
    fn default() -> Self {
        Self { max_connections: 1024, preface_timeout: Duration::from_secs(1) }
    }
}

/// Where connections come from: a listener, or what a test puts in its place.
pub(crate) trait Accept: Send + 'static {
    /// What a connection is.
    type Connection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static;

    /// The next connection. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Connection>> + Send;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Accept for TcpListener {
    type Connection = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // An answer must not wait for the next one to fill a packet. It fails on a connection that is gone already.
        stream.set_nodelay(true).map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
        Ok(stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

/// The connections that pass `gate`, guarded. Never ends and never yields an error: what cannot be accepted is logged.
pub(crate) fn connections<L: Accept>(
    listener: L,
    gate: Arc<Gate>,
    preface_timeout: Duration,
) -> impl Stream<Item = io::Result<Guarded<L::Connection>>> + Send {
    stream::unfold((listener, gate), move |(mut listener, gate)| async move {
        loop {
            let stream = accepted(&mut listener).await;
            match gate.admit() {
                Some(ticket) => return Some((Ok(Guarded::new(stream, ticket, preface_timeout)), (listener, gate))),
                None => tracing::debug!("connection turned away: all places are taken"),
            }
        }
    })
}

/// The next connection, however often it takes.
async fn accepted<L: Accept>(listener: &mut L) -> L::Connection {
    let mut pause = MIN_PAUSE;
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            // The other side gave up, which says nothing about the next one.
            Err(error) if is_of_one_connection(&error) => tracing::debug!("accept: {error}"),
            Err(error) => {
                tracing::warn!("cannot accept connections: {error}; next try in {pause:?}");
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

    use futures::StreamExt;

    use super::*;

    /// Has no descriptor left for so many accepts.
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

    #[tokio::test(start_paused = true)]
    async fn a_full_descriptor_table_is_waited_out_without_spinning() {
        let (listener, tried, _client) = full(1_000_000, EMFILE).await;
        let mut all = Box::pin(connections(listener, Gate::new(1), Duration::from_secs(1)));
        assert!(tokio::time::timeout(Duration::from_secs(10), all.next()).await.is_err());
        let tries = tried.load(Ordering::Relaxed);
        assert!((5..=20).contains(&tries), "{tries} tries in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_after_errors() {
        for error in [EMFILE, ECONNABORTED] {
            let (listener, tried, client) = full(7, error).await;
            let mut all = Box::pin(connections(listener, Gate::new(1), Duration::from_secs(1)));
            let guarded = all.next().await.unwrap().unwrap();
            assert_eq!(tried.load(Ordering::Relaxed), 8);
            let info = tonic::transport::server::Connected::connect_info(&guarded);
            assert_eq!(info.remote_addr(), Some(client.local_addr().unwrap()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_connection_costs_the_others_no_time() {
        let (listener, _, _client) = full(1000, ECONNABORTED).await;
        let began = tokio::time::Instant::now();
        let mut all = Box::pin(connections(listener, Gate::new(1), Duration::from_secs(1)));
        all.next().await.unwrap().unwrap();
        assert!(began.elapsed() < MIN_PAUSE, "virtual time passes only in pauses");
    }
}
