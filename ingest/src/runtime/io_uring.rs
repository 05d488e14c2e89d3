//! The runtime on io_uring: glommio, one executor per door.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::{
    LocalExecutorBuilder, Placement,
    net::{TcpListener, TcpStream},
    timer::sleep,
};
use hyper::rt::{Read, ReadBufCursor, Write};
use keyway_storage::limits::RING_MEMORY_BYTES;

use super::{Runtime, scratch};

/// glommio on io_uring.
pub struct IoUring;

/// A connection.
pub struct IoUringStream {
    stream: TcpStream,
}

/// Whether this kernel lets us make a ring.
pub fn probe() -> io::Result<()> {
    let thread = std::thread::spawn(|| IoUring::block_on("probe", None, async {}));
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
}

impl Runtime for IoUring {
    type Stream = IoUringStream;
    type Listener = TcpListener;

    fn block_on(name: &str, core: Option<usize>, future: impl Future<Output = ()>) -> io::Result<()> {
        let placement = core.map_or(Placement::Unbound, Placement::Fixed);
        let builder = LocalExecutorBuilder::new(placement).name(name).io_memory(RING_MEMORY_BYTES);
        let executor = builder.make().map_err(|error| io::Error::other(error.to_string()))?;
        executor.run(future);
        Ok(())
    }

    fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        // Binds with SO_REUSEPORT.
        TcpListener::bind(address).map_err(|error| io::Error::other(error.to_string()))
    }

    async fn accept(listener: &TcpListener) -> io::Result<(IoUringStream, SocketAddr)> {
        let broken = |error: glommio::GlommioError<()>| io::Error::other(error.to_string());
        let stream = listener.accept().await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let peer = stream.peer_addr().map_err(broken)?;
        Ok((IoUringStream { stream }, peer))
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(future).detach();
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        sleep(duration)
    }
}

impl Read for IoUringStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::lend(|buffer| {
            let most = buffer.len().min(out.remaining());
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer[..most]))?;
            out.put_slice(&buffer[..read]);
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for IoUringStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
