//! The intake of a door: bodies as they come in from the wire.
//!
//! Invariant: what is held of bodies is bounded, for each of them and for all of a door. A caller who is refused while it
//! still sends gets its answer: the rest is read and thrown away, up to a bound of bytes and of time. A caller who asked
//! whether it may send is told to go on only when its body is wanted.

use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    StatusCode,
    body::{Body, Incoming},
    header::{CONNECTION, EXPECT},
    http::request::Parts,
};
use keyway_storage::limits::{BODIES_BYTES_MAX, BODY_SKIP_FACTOR};

use super::reply;
use crate::{
    http::{self, Answer},
    runtime::wheel::Wheel,
};

/// Runs a task beside the one that spawns it.
pub type Spawn = fn(Pin<Box<dyn Future<Output = ()>>>);

/// Takes in the bodies of one door.
pub struct Intake {
    bytes_max: usize,
    timeout: Duration,
    wheel: Wheel,
    spawn: Spawn,
    held_bytes: Rc<Cell<usize>>,
}

/// A body on its way in.
pub struct Upload {
    coming: Option<Incoming>,
    asks: bool,
    read: Option<Bytes>,
    held: Held,
}

/// Counts the bytes of one body among those of its door, until it is dropped.
struct Held {
    bytes: usize,
    of_door: Rc<Cell<usize>>,
}

impl Intake {
    /// An intake for bodies of so many bytes that come within this time.
    pub fn new(bytes_max: usize, timeout: Duration, wheel: Wheel, spawn: Spawn) -> Self {
        Self { bytes_max, timeout, wheel, spawn, held_bytes: Rc::default() }
    }

    /// Largest body.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The body of a request, of which nothing is read yet.
    pub fn receive(&self, parts: &Parts, body: Incoming) -> Upload {
        let held = Held { bytes: 0, of_door: Rc::clone(&self.held_bytes) };
        Upload { coming: Some(body), asks: parts.headers.contains_key(EXPECT), read: None, held }
    }

    /// The whole body, read now or before, or why there is none.
    pub async fn read(&self, upload: &mut Upload) -> Result<Bytes, Answer> {
        if let Some(read) = &upload.read {
            return Ok(read.clone());
        }
        match self.wheel.within(self.timeout, upload.collect(self.bytes_max)).await {
            Some(read) => read,
            None => {
                upload.coming = None;
                Err(closing(http::refusal(StatusCode::REQUEST_TIMEOUT, "Request Timeout")))
            }
        }
    }

    /// Hands out a refusal, and sees to what its caller still sends.
    pub fn refuse(&self, upload: Upload, answer: Answer) -> Answer {
        let Some(coming) = upload.coming.filter(|coming| !coming.is_end_stream()) else { return answer };
        // Reading from it would tell the caller to send.
        if upload.asks {
            return closing(answer);
        }
        let bytes_max = self.bytes_max.saturating_mul(BODY_SKIP_FACTOR);
        let is_endless = coming.size_hint().lower() > bytes_max as u64;
        let (wheel, timeout) = (self.wheel.clone(), self.timeout);
        (self.spawn)(Box::pin(async move {
            // What comes after the time is up is cut off together with the connection.
            let _ = wheel.within(timeout, skip(coming, bytes_max)).await;
        }));
        if is_endless { closing(answer) } else { answer }
    }
}

impl Upload {
    /// Whether it is known that there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match (&self.read, &self.coming) {
            (Some(read), _) => read.is_empty(),
            (None, Some(coming)) => coming.is_end_stream(),
            (None, None) => true,
        }
    }

    async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, Answer> {
        let coming = self.coming.as_mut().expect("a body is read once");
        if coming.size_hint().lower() > bytes_max as u64 {
            return Err(reply::too_large());
        }
        let (mut first, mut rest) = (Bytes::new(), Vec::new());
        while let Some(frame) = coming.frame().await {
            let Ok(frame) = frame else {
                self.coming = None;
                let message = "The body broke off.";
                return Err(closing(http::refusal_with(StatusCode::BAD_REQUEST, "invalid_body", message)));
            };
            self.asks = false;
            let Ok(data) = frame.into_data() else { continue };
            if self.held.bytes + data.len() > bytes_max {
                return Err(reply::too_large());
            }
            if !self.held.add(data.len()) {
                return Err(reply::busy());
            }
            // Nearly every body comes in one piece, and is kept as that piece.
            if first.is_empty() && rest.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
        }
        self.coming = None;
        let read = if rest.is_empty() { first } else { Bytes::from(rest) };
        self.read = Some(read.clone());
        Ok(read)
    }
}

impl Held {
    /// Counts more bytes, if the door has room for them.
    fn add(&mut self, bytes: usize) -> bool {
        let held = self.of_door.get() + bytes;
        let fits = held <= BODIES_BYTES_MAX;
        if fits {
            self.of_door.set(held);
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_door.set(self.of_door.get() - self.bytes);
    }
}

/// Reads and forgets so many bytes of a body.
async fn skip(mut body: Incoming, bytes_max: usize) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > bytes_max {
            return;
        }
    }
}

/// The answer, after which the connection is closed.
pub fn closing(mut answer: Answer) -> Answer {
    http::add_header(&mut answer, CONNECTION, "close");
    answer
}
