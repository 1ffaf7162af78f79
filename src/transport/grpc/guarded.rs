//! A connection that must speak HTTP/2 soon and can be closed from outside.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::connection_limit::ConnectionPermit;
use super::greeting::{self, Caller};

/// Bytes read at a time until a connection has greeted.
const CHUNK: usize = 512;

/// An accepted connection.
pub(crate) struct GuardedConnection<S> {
    stream: S,
    permit: ConnectionPermit,
    /// Bytes that were read to learn what the caller is, and that HTTP/2 has to read again.
    said: Bytes,
}

impl<S: AsyncRead + Unpin> GuardedConnection<S> {
    pub(crate) fn new(stream: S, permit: ConnectionPermit) -> Self {
        Self { stream, permit, said: Bytes::new() }
    }

    /// Waits until the connection has greeted, but no longer than `limit`: bytes that trickle in buy no time.
    /// Afterwards HTTP/2's own keepalive watches the connection.
    ///
    /// # Errors
    /// The connection does not speak HTTP/2, did not greet in time, or was closed.
    pub(crate) async fn greeted(mut self, limit: Duration) -> io::Result<(Self, Caller)> {
        let mut said = BytesMut::new();
        let heard = tokio::time::timeout(limit, async {
            loop {
                if let Some(caller) = greeting::caller(&said).map_err(io::Error::other)? {
                    return Ok::<_, io::Error>(caller);
                }
                let mut chunk = [0; CHUNK];
                let mut chunk = ReadBuf::new(&mut chunk);
                poll_fn(|cx| Pin::new(&mut self).poll_read(cx, &mut chunk)).await?;
                if chunk.filled().is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                said.extend_from_slice(chunk.filled());
            }
        });
        let caller = match heard.await {
            Ok(caller) => caller?,
            Err(_) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} bytes in {limit:?}", said.len())));
            }
        };
        self.said = said.freeze();
        Ok((self, caller))
    }

    /// Takes a place among connections of its kind. `false`: there is none.
    pub(crate) fn take_place(&self, caller: Caller) -> bool {
        self.permit.take_place(caller)
    }
}

impl<S> GuardedConnection<S> {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.permit.is_closed(cx) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedConnection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        if this.said.has_remaining() {
            let again = this.said.split_to(this.said.len().min(buf.remaining()));
            buf.put_slice(&again);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

/// Writing checks too whether the connection was closed: with a caller that does not read, HTTP/2 may only write.
impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedConnection<S> {
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

impl<S: Connected> Connected for GuardedConnection<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
