//! A connection of the load generator: one request at a time, on a socket that never blocks.
//!
//! Invariant: `request` holds the last request whole until the next one is written, so that it can be repeated.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::answer::{Answer, parse};

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    Down,
    /// The peer has not taken it yet.
    Connecting,
    /// It can take a request.
    Idle,
    /// A request is under way.
    Busy,
}

/// What came of looking at a connection.
#[derive(Debug)]
pub enum Seen {
    /// Nothing yet.
    Nothing,
    /// The answer is whole.
    Answered(Answer),
    /// The peer closed or reset it.
    Closed,
    /// What came is not HTTP.
    Nonsense,
}

/// One connection.
pub struct Connection {
    /// How far it is.
    pub stage: Stage,
    /// The last request, whole.
    pub request: Vec<u8>,
    /// From when its latency counts, since the beginning of the load.
    pub arrived: Duration,
    /// When it was written, since the beginning of the load.
    pub sent: Duration,
    /// Whether the request under way is the one before it again.
    pub is_repeat: bool,
    /// The work order that the last request made.
    pub work_order: Option<u128>,
    /// Whether it is waited for until it can be written to.
    pub waits_for_room: bool,
    stream: Option<TcpStream>,
    written: usize,
    read: Vec<u8>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            stage: Stage::Down,
            request: Vec::new(),
            arrived: Duration::ZERO,
            sent: Duration::ZERO,
            is_repeat: false,
            work_order: None,
            waits_for_room: false,
            stream: None,
            written: 0,
            read: Vec::new(),
        }
    }
}

impl Connection {
    /// Begins to connect.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<()> {
        self.close();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        self.stream = Some(socket.into());
        self.stage = Stage::Connecting;
        Ok(())
    }

    /// Whether the peer has taken it, now that it can be written to.
    pub fn finish_connect(&mut self) -> bool {
        let error = self.stream.as_ref().map(TcpStream::take_error);
        let is_up = matches!(error, Some(Ok(None)));
        self.stage = if is_up { Stage::Idle } else { Stage::Down };
        is_up
    }

    /// Closes it, whatever is under way.
    pub fn close(&mut self) {
        self.stream = None;
        self.stage = Stage::Down;
        self.read.clear();
        self.written = 0;
    }

    /// What to wait on.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Begins to send `request`.
    pub fn start(&mut self, arrived: Duration, sent: Duration) -> io::Result<()> {
        self.stage = Stage::Busy;
        (self.arrived, self.sent, self.written) = (arrived, sent, 0);
        self.read.clear();
        self.write()
    }

    /// Whether a part of the request waits for room in the socket.
    pub fn is_writing(&self) -> bool {
        self.stage == Stage::Busy && self.written < self.request.len()
    }

    /// Writes as much as the socket takes.
    pub fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        while self.written < self.request.len() {
            match stream.write(&self.request[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what came.
    pub fn read(&mut self, buffer: &mut [u8]) -> Seen {
        let Some(stream) = &mut self.stream else { return Seen::Closed };
        loop {
            let count = match stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Seen::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Seen::Closed,
            };
            // Most answers come whole and are never copied.
            let ended = count == 0;
            let came = match self.read.is_empty() {
                true => parse(&buffer[..count], ended),
                false => {
                    self.read.extend_from_slice(&buffer[..count]);
                    parse(&self.read, ended)
                }
            };
            match came {
                Ok(Some(answer)) => return Seen::Answered(answer),
                Ok(None) if ended => return Seen::Closed,
                Ok(None) if self.read.is_empty() => self.read.extend_from_slice(&buffer[..count]),
                Ok(None) => {}
                Err(_) => return Seen::Nonsense,
            }
            if count < buffer.len() {
                return Seen::Nothing;
            }
        }
    }
}
