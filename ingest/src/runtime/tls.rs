//! TLS on a connection of either runtime: rustls, carried by tokio-rustls, which needs tokio's traits and not its runtime.
//!
//! Invariant: what is read here was decrypted and is whole; what is written is encrypted before it leaves.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf as TokioReadBuf};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::scratch;

/// A connection inside of TLS.
pub struct Encrypted<S>(TlsStream<Carrier<S>>);

impl<S: Read + Write + Unpin> Encrypted<S> {
    /// Shakes hands with a client.
    pub async fn accept(config: Arc<ServerConfig>, stream: S) -> io::Result<Self> {
        TlsAcceptor::from(config).accept(Carrier(stream)).await.map(Self)
    }

    /// The protocol that both sides agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }
}

impl<S: Read + Write + Unpin> Read for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::lend(|buffer| {
            let most = buffer.len().min(out.remaining());
            let mut read = TokioReadBuf::new(&mut buffer[..most]);
            ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
            out.put_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: Read + Write + Unpin> Write for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The connection below, as tokio's traits see it.
struct Carrier<S>(S);

impl<S: Read + Unpin> AsyncRead for Carrier<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut TokioReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(out.initialize_unfilled());
        ready!(Pin::new(&mut self.0).poll_read(cx, read.unfilled()))?;
        let bytes = read.filled().len();
        out.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> AsyncWrite for Carrier<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
