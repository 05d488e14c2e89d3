//! The runtime seam: the few things that a door asks of an asynchronous runtime.
//!
//! Invariant: nothing outside `runtime/` names one. Both runtimes run the same doors, one thread each.

mod epoll;
mod io_uring;
mod scratch;
pub mod signal;
mod tls;
pub mod wheel;

use std::{future::Future, io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

pub use epoll::Epoll;
pub use io_uring::IoUring;
pub use tls::Encrypted;

/// A runtime that a door runs on.
pub trait Runtime: 'static {
    /// A connection, as hyper reads and writes it.
    type Stream: hyper::rt::Read + hyper::rt::Write + Unpin + 'static;
    /// Accepts connections.
    type Listener: 'static;

    /// Runs a future on the calling thread until it is done.
    fn block_on(name: &str, core: Option<usize>, future: impl Future<Output = ()>) -> io::Result<()>;

    /// Listens on an address that others listen on too.
    fn listen(address: SocketAddr) -> io::Result<Self::Listener>;

    /// The next connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Runs a future beside the others of this thread.
    fn spawn(future: impl Future<Output = ()> + 'static);

    /// Waits.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;
}

/// Which runtime to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// io_uring where the kernel lets us, epoll otherwise.
    Auto,
    /// io_uring, by glommio.
    IoUring,
    /// epoll, by tokio.
    Epoll,
}

impl Choice {
    /// What `Auto` comes to on this machine.
    pub fn resolve(self) -> Self {
        match self {
            Self::Auto => match io_uring::probe() {
                Ok(()) => Self::IoUring,
                Err(error) => {
                    tracing::info!(%error, "io_uring is not available here: running on epoll");
                    Self::Epoll
                }
            },
            other => other,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Binds an address without listening on it, so that a port chosen by the system is the same for all doors.
pub fn reserve(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = bound(address)?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, address))
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
