//! An answer on its way out, handed over piece by piece as its client takes it.
//!
//! Invariant: a connection holds no more of an answer beside the answer itself than it may hold of what is to be written.
//! Over HTTP/2 a piece is gone when all of it is written, which only a client that takes it can bring about.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use keyway_storage::limits::ANSWER_PIECE_BYTES;

use super::{room::Held, watch::Watch};
use crate::http::Whole;

/// What is left of an answer.
pub struct Outgoing {
    left: Bytes,
    held: Option<Rc<Held>>,
    watch: Rc<Watch>,
}

impl Outgoing {
    /// An answer of which nothing was sent, on the watched connection.
    pub fn new(whole: Whole, watch: Rc<Watch>) -> Self {
        Self { left: whole.bytes, held: whole.held, watch }
    }
}

impl Body for Outgoing {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.left.len().min(ANSWER_PIECE_BYTES);
        let bytes = self.left.split_to(most);
        let piece = Piece { bytes, _held: self.held.clone(), watch: Rc::clone(&self.watch) };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // HTTP/1.1 copies what is to be written.
        if let Some(held) = self.held.take() {
            self.watch.keep(held);
        }
    }
}

/// A piece of an answer.
pub struct Piece {
    bytes: Bytes,
    _held: Option<Rc<Held>>,
    watch: Rc<Watch>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.watch.note_taken();
    }
}
