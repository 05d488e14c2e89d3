//! A connection that its door may look into before, and while, HTTP is read from it.
//!
//! Invariant: what was looked at is read again by whoever reads next, and no byte is lost or doubled.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// Most bytes that are looked at ahead.
const AHEAD_BYTES_MAX: usize = 64;

/// A connection; its clones are the same connection.
pub struct Peeked<S>(Rc<RefCell<Line<S>>>);

struct Line<S> {
    stream: S,
    ahead: Vec<u8>,
    ended: bool,
}

impl<S> Clone for Peeked<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Read + Write + Unpin> Peeked<S> {
    /// A connection of which nothing was read.
    pub fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Line { stream, ahead: Vec::new(), ended: false })))
    }

    /// Whether it begins with these bytes; known as soon as a byte differs, all are there, or it ends.
    pub fn poll_begins(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<bool> {
        assert!(bytes.len() <= AHEAD_BYTES_MAX);
        let mut line = self.0.borrow_mut();
        loop {
            let common = line.ahead.len().min(bytes.len());
            if line.ahead[..common] != bytes[..common] {
                return Poll::Ready(false);
            }
            if common == bytes.len() || line.ended {
                return Poll::Ready(common == bytes.len());
            }
            ready!(line.poll_ahead(cx));
        }
    }

    /// Ready when the peer has said that it sends nothing more, or is gone. Whoever sends on is there.
    pub fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut line = self.0.borrow_mut();
        while !line.ended {
            if !line.ahead.is_empty() {
                return Poll::Pending;
            }
            ready!(line.poll_ahead(cx));
        }
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Line<S> {
    /// Ready when there is more ahead, or the end is reached.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; AHEAD_BYTES_MAX];
        let most = AHEAD_BYTES_MAX - self.ahead.len();
        let mut read = ReadBuf::new(&mut bytes[..most]);
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, read.unfilled()));
        self.ended = result.is_err() || read.filled().is_empty();
        self.ahead.extend_from_slice(read.filled());
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Read for Peeked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut line = self.0.borrow_mut();
        if !line.ahead.is_empty() {
            let most = line.ahead.len().min(out.remaining());
            out.put_slice(&line.ahead[..most]);
            line.ahead.drain(..most);
            return Poll::Ready(Ok(()));
        }
        if line.ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut line.stream).poll_read(cx, out)
    }
}

impl<S: Write + Unpin> Write for Peeked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(cx)
    }
}
