//! One connection, from its first byte to its last: TLS or not, HTTP/1.1 or HTTP/2.
//!
//! Invariant: nothing of a connection goes on without a bound in time: the handshake, the head of a request, and the
//! silence between requests each have one; a request that is under way is bounded by what serves it. Over HTTP/2, where
//! many travel at once, all that is no request and no answer is silence: a head that comes slowly, and pings.

use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{
    Request, Response,
    body::Incoming,
    rt::{Executor, Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use keyway_storage::limits::{
    HEAD_BYTES_MAX, HTTP2_RESETS_LOCAL_MAX, HTTP2_RESETS_PENDING_MAX, HTTP2_SEND_BYTES_MAX,
    HTTP2_STREAMS_MAX, HTTP2_WINDOW_BYTES,
};
use rustls::ServerConfig;

use super::{
    Door, Visit,
    outgoing::Outgoing,
    peeked::Peeked,
    watch::{Verdict, Watch, Watched},
};
use crate::runtime::{Encrypted, Runtime};

/// What HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What TLS begins with: a record of its handshake.
const HANDSHAKE: &[u8] = &[0x16];

/// Whatever HTTP is read from, where speed does not need to know what it is.
trait Stream: Read + Write + Unpin {}
impl<S: Read + Write + Unpin> Stream for S {}

/// A connection that is being served.
pub struct Connection {
    door: Rc<Door>,
    peer: SocketAddr,
    visit: Visit,
    watch: Rc<Watch>,
}

impl Connection {
    /// A connection from `peer`.
    pub fn new(door: Rc<Door>, peer: SocketAddr, visit: Visit, watch: Rc<Watch>) -> Self {
        Self { door, peer, visit, watch }
    }

    /// Serves until one side has enough.
    pub async fn serve<R: Runtime>(mut self, stream: R::Stream) {
        let stream = Peeked::new(stream);
        let peer = self.peer;
        let served = match self.door.certificate(self.visit.audience) {
            Some(config) => self.serve_tls::<R>(config, stream).await,
            None if self.door.settings.http2_prior_knowledge => match self.begins(&stream, PREFACE).await {
                Some(true) => self.serve_http2::<R>(Peeked::new(Box::new(stream))).await,
                Some(false) => self.serve_http1(stream).await,
                None => Ok(()),
            },
            None => self.serve_http1(stream).await,
        };
        if let Err(error) = served {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }

    async fn serve_tls<R: Runtime>(
        &mut self,
        config: Arc<ServerConfig>,
        stream: Peeked<R::Stream>,
    ) -> hyper::Result<()> {
        match self.begins(&stream, HANDSHAKE).await {
            Some(true) => {}
            Some(false) => {
                self.visit.is_plain_by_mistake = true;
                return self.serve_http1(stream).await;
            }
            None => return Ok(()),
        }
        let shaken = self.in_time(Encrypted::accept(config, stream)).await;
        let stream = match shaken {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                tracing::debug!(%error, peer = %self.peer, "a TLS handshake failed");
                return Ok(());
            }
            None => return Ok(()),
        };
        let is_http2 = stream.protocol() == Some(b"h2");
        let stream: Peeked<Box<dyn Stream>> = Peeked::new(Box::new(stream));
        if is_http2 { self.serve_http2::<R>(stream).await } else { self.serve_http1(stream).await }
    }

    /// Whether the stream begins with these bytes; `None` when the peer does not say in time.
    async fn begins<S: Read + Write + Unpin>(&self, stream: &Peeked<S>, bytes: &[u8]) -> Option<bool> {
        self.in_time(std::future::poll_fn(|cx| stream.poll_begins(cx, bytes))).await
    }

    /// What comes before the first request, within the time that its head has.
    async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut drain = pin!(self.door.leaves(self.visit.audience).wait());
        std::future::poll_fn(|cx| {
            if self.watch.verdict(cx) != Verdict::Stay || drain.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    async fn serve_http1<S: Read + Write + Unpin>(&self, stream: Peeked<S>) -> hyper::Result<()> {
        let mut builder = http1::Builder::new();
        // The watch bounds the head's time: it tells a slow head from a silent connection, which hyper does not.
        builder.header_read_timeout(None).max_header_size(HEAD_BYTES_MAX);
        // Without `pipeline_flush`: it would keep the 400 for a request that does not parse from being sent.
        builder.half_close(true);
        let watched = Watched::new(stream.clone(), Rc::clone(&self.watch));
        let connection = builder.serve_connection(watched, service_fn(|request| self.answer(request)));
        let hang_up = |cx: &mut Context<'_>| stream.poll_hang_up(cx);
        self.drive(pin!(connection), http1::Connection::graceful_shutdown, hang_up).await
    }

    async fn serve_http2<R: Runtime>(&self, stream: Peeked<Box<dyn Stream>>) -> hyper::Result<()> {
        self.watch.carries_streams();
        let mut builder = http2::Builder::new(Beside::<R>(PhantomData));
        builder.timer(self.door.webhooks.wheel.clone());
        builder
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(HTTP2_RESETS_PENDING_MAX)
            .max_local_error_reset_streams(HTTP2_RESETS_LOCAL_MAX);
        let watched = Watched::new(stream, Rc::clone(&self.watch));
        let one = self.again();
        let service = service_fn(move |request| {
            // A stream outlives neither the door nor its connection's watch: it holds both.
            let one = one.again();
            async move { one.answer(request).await }
        });
        let connection = builder.serve_connection(watched, service);
        // A caller that gives up a stream resets it, and hyper drops what serves it.
        let hang_up = |_: &mut Context<'_>| Poll::Pending;
        self.drive(pin!(connection), http2::Connection::graceful_shutdown, hang_up).await
    }

    fn again(&self) -> Self {
        let (door, watch) = (Rc::clone(&self.door), Rc::clone(&self.watch));
        Self { door, watch, ..*self }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Outgoing>, Infallible> {
        let _under_way = self.watch.begin();
        let answer = self.door.answer(request, self.peer, self.visit, &self.watch).await;
        Ok(answer.map(|whole| Outgoing::new(whole, Rc::clone(&self.watch))))
    }

    /// Drives a connection until it ends by itself, is told to, or has lost its caller.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        leave: fn(Pin<&mut C>),
        hang_up: impl Fn(&mut Context<'_>) -> Poll<()>,
    ) -> hyper::Result<()> {
        let mut drain = pin!(self.door.leaves(self.visit.audience).wait());
        let mut leaving = false;
        std::future::poll_fn(|cx| {
            let verdict = self.watch.verdict(cx);
            if verdict == Verdict::Drop {
                return Poll::Ready(Ok(()));
            }
            if !leaving && (verdict == Verdict::Leave || drain.as_mut().poll(cx).is_ready()) {
                leaving = true;
                leave(connection.as_mut());
            }
            loop {
                if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                    return Poll::Ready(served);
                }
                if !self.watch.is_waiting() {
                    return Poll::Pending;
                }
                ready!(hang_up(cx));
                // What waits for this caller learns it in the next round.
                self.watch.hang_up();
            }
        })
        .await
    }
}

/// Runs the streams of HTTP/2 beside their connection, on the same thread.
struct Beside<R>(PhantomData<R>);

impl<R> Clone for Beside<R> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<R: Runtime, F: Future<Output = ()> + 'static> Executor<F> for Beside<R> {
    fn execute(&self, future: F) {
        R::spawn(future);
    }
}
