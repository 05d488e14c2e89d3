//! The runtime on epoll: tokio, one current-thread runtime per door.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use keyway_storage::limits::ACCEPT_BACKLOG;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::{LocalSet, spawn_local},
};

use super::{Runtime, bound, scratch};

/// tokio on epoll.
pub struct Epoll;

/// A connection.
pub struct EpollStream {
    stream: TcpStream,
}

impl Runtime for Epoll {
    type Stream = EpollStream;
    type Listener = TcpListener;

    fn block_on(_: &str, core: Option<usize>, future: impl Future<Output = ()>) -> io::Result<()> {
        if let Some(core) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, future);
        Ok(())
    }

    fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = bound(address)?;
        socket.listen(ACCEPT_BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    }

    async fn accept(listener: &TcpListener) -> io::Result<(EpollStream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((EpollStream { stream }, peer))
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        spawn_local(future);
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

impl Read for EpollStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::lend(|buffer| {
            let most = buffer.len().min(out.remaining());
            let mut read = ReadBuf::new(&mut buffer[..most]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            out.put_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for EpollStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
