//! A connection that must speak HTTP/2 soon and can be closed from outside.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use super::gate::Ticket;

/// Bytes by which a connection has begun to speak HTTP/2: the preface (24) and the header of a first frame (9). What
/// comes after is watched by HTTP/2's own keepalive, which does not see a connection before.
const OPENING: usize = 24 + 9;

/// An accepted connection.
pub(crate) struct Guarded<S> {
    stream: S,
    ticket: Ticket,
    /// `None` once the opening has arrived.
    opening: Option<Opening>,
}

struct Opening {
    deadline: Pin<Box<Sleep>>,
    missing: usize,
}

impl<S> Guarded<S> {
    /// Guards `stream`, which has until `deadline` from now to speak.
    pub(crate) fn new(stream: S, ticket: Ticket, deadline: Duration) -> Self {
        let opening = Opening { deadline: Box::pin(tokio::time::sleep(deadline)), missing: OPENING };
        Self { stream, ticket, opening: Some(opening) }
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.ticket.is_closed(cx) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        let Some(opening) = &mut this.opening else {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        };
        // Before the read: bytes that trickle in do not buy time.
        if opening.deadline.as_mut().poll(cx).is_ready() {
            let why = format!("no HTTP/2 in time: {} of {OPENING} bytes", OPENING - opening.missing);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        opening.missing = opening.missing.saturating_sub(buf.filled().len() - before);
        if opening.missing == 0 {
            this.opening = None;
            this.ticket.spoken();
        }
        read
    }
}

/// Checked before writing too: a connection whose peer does not read is not read from either.
impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Guarded<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
