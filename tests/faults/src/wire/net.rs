//! Connections over turmoil's network, counted, and cut at any byte.

use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use dledger_sim::Rng;
use dledger_sim::wire::{Connect, Connection, Listen};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Where every node listens.
pub const PORT: u16 = 4000;
/// Most bytes that a read gives where reads are short.
const SHORT_READ: usize = 512;

/// The connections of one host, those it made and those it took.
#[derive(Default)]
pub struct Meter {
    open: AtomicUsize,
    made: AtomicU64,
    cuts: AtomicU64,
    plan: Mutex<Option<Plan>>,
    short_reads: Mutex<Option<Rng>>,
}

/// The connections break while they write.
struct Plan {
    rng: Rng,
    /// After how many more bytes the next one comes.
    left: u64,
    /// Distance from one cut to the next: below this many bytes.
    distance: u64,
}

impl Meter {
    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many connections this host has made so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How many connections were cut so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// From now on a connection breaks, in the middle of what it writes, each time after up to `distance` bytes that
    /// this host has written; `None`: no more.
    pub fn cut(&self, plan: Option<(Rng, u64)>) {
        let plan = plan.map(|(mut rng, distance)| Plan { left: rng.below(distance), rng, distance });
        *self.plan.lock() = plan;
    }

    /// From now on a read gives a few bytes only, as many as `rng` says.
    pub fn read_shortly(&self, rng: Rng) {
        *self.short_reads.lock() = Some(rng);
    }

    /// How many of `bytes` may be written before the cut; `None` if there is none among them.
    fn cut_within(&self, bytes: usize) -> Option<usize> {
        let mut plan = self.plan.lock();
        let plan = plan.as_mut()?;
        if plan.left > bytes as u64 {
            plan.left -= bytes as u64;
            return None;
        }
        let before = plan.left as usize;
        plan.left = plan.rng.below(plan.distance);
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Some(before)
    }

    fn short_read(&self) -> Option<usize> {
        let mut rng = self.short_reads.lock();
        Some(1 + rng.as_mut()?.below(SHORT_READ as u64) as usize)
    }
}

/// A counted connection.
struct Metered {
    stream: TcpStream,
    meter: Arc<Meter>,
    cut: bool,
}

impl Metered {
    fn over(stream: TcpStream, meter: &Arc<Meter>) -> Connection {
        meter.open.fetch_add(1, Ordering::Relaxed);
        Connection::new(Self { stream, meter: meter.clone(), cut: false })
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(most) = self.meter.short_read() else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        let mut some = [0; SHORT_READ];
        let most = most.min(buf.remaining());
        let mut short = ReadBuf::new(&mut some[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut short))?;
        buf.put_slice(short.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(before) = self.meter.cut_within(bytes.len()) else {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        self.cut = true;
        if before == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // What does not fit now is lost as well: the connection is over.
        let _ = Pin::new(&mut self.stream).poll_write(cx, &bytes[..before])?;
        Poll::Ready(Ok(before))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Links that lose packets, for connects. Cheap to clone.
///
/// In turmoil a connect ends at once, refused, when its first packet is lost; and no packet carries the answer to it.
/// With TCP it takes packets both ways, and hangs while they are lost.
#[derive(Clone, Default)]
pub struct Silent(Arc<Mutex<HashSet<(String, String)>>>);

impl Silent {
    /// From now on the link between two hosts loses packets, in one direction at least; or none any more.
    pub fn set(&self, one: &str, other: &str, silent: bool) {
        let mut links = self.0.lock();
        for link in [(one, other), (other, one)] {
            let link = (link.0.to_owned(), link.1.to_owned());
            // Whether it was set before makes no difference.
            let _ = if silent { links.insert(link) } else { links.remove(&link) };
        }
    }

    fn is_set(&self, one: &str, other: &str) -> bool {
        let links = self.0.lock();
        links.contains(&(one.to_owned(), other.to_owned()))
    }
}

/// Connects from a host.
pub struct Wire {
    /// Its name.
    pub host: String,
    /// Its connections.
    pub meter: Arc<Meter>,
    /// Where its packets are lost.
    pub silent: Silent,
}

impl Connect for Wire {
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Connection>> {
        let (own, meter, silent) = (self.host.clone(), self.meter.clone(), self.silent.clone());
        async move {
            let connected = TcpStream::connect((host.as_str(), port)).await;
            if silent.is_set(&own, &host) {
                drop(connected);
                return pending().await;
            }
            meter.made.fetch_add(1, Ordering::Relaxed);
            Ok(Metered::over(connected?, &meter))
        }
        .boxed()
    }
}

/// Listens at a host.
pub struct Listener {
    listener: TcpListener,
    meter: Arc<Meter>,
}

impl Listener {
    /// Begins to listen at [`PORT`] of the host that runs.
    ///
    /// # Errors
    /// If somebody does already.
    pub async fn bind(meter: Arc<Meter>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        Ok(Self { listener, meter })
    }
}

impl Listen for Listener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        async move {
            let (stream, _) = self.listener.accept().await?;
            Ok(Metered::over(stream, &self.meter))
        }
        .boxed()
    }

    fn local_addr(&self) -> SocketAddr {
        (Ipv4Addr::UNSPECIFIED, PORT).into()
    }
}
