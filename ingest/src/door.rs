//! A door: one thread that accepts connections, serves them, and never blocks.
//!
//! Invariant: whatever may take long (a sync, a read of the store) happens on another thread and comes back as a
//! wake-up of this one.

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue, ORIGIN, VARY},
    server::conn::http1,
    service::service_fn,
};
use keyway_storage::limits::{API_BODY_BYTES_MAX, HEAD_BYTES_MAX};

use crate::{
    count::AnswerCounts,
    http::{self, Answer, ApiRequest},
    parked::Inbox,
    reader::Readers,
    runtime::{Runtime, signal::Signal},
    trigger::webhook::serve::Webhooks,
};

/// What a door serves.
pub struct Door {
    /// Its number.
    pub index: usize,
    /// The public listener.
    pub listen: SocketAddr,
    /// The API's listener, on the first door only; the public one when it is the same.
    pub api_listen: Option<SocketAddr>,
    /// The core to run on.
    pub core: Option<usize>,
    /// Serves `/i/`.
    pub webhooks: Webhooks,
    /// Where receipts come in.
    pub inbox: Arc<Inbox>,
    /// Counts what it answers to webhooks.
    pub answers: Arc<AnswerCounts>,
    /// Answers API requests.
    pub readers: Arc<Readers>,
    /// Set when the door shall end.
    pub drain: Arc<Signal>,
    /// How long it waits for what is in flight.
    pub drain_timeout: Duration,
    /// Origins that browsers may call from; empty allows all.
    pub cors_origins: Arc<[HeaderValue]>,
    /// How long a client may take to send a head.
    pub header_timeout: Duration,
    /// Most connections at once.
    pub connections_max: usize,
    /// Whether `/hello` is served, for measuring against.
    pub hello: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Public,
    Operator,
    Both,
}

impl Door {
    /// Serves until the drain signal, on the calling thread.
    pub fn run<R: Runtime>(self, ready: impl FnOnce(io::Result<()>)) -> io::Result<()> {
        let name = format!("door-{}", self.index);
        let core = self.core;
        R::block_on(&name, core, async move { self.serve::<R>(ready).await })
    }

    async fn serve<R: Runtime>(self, ready: impl FnOnce(io::Result<()>)) {
        let door = Rc::new(self);
        let open = Rc::new(Cell::new(0usize));
        let audience = if door.api_listen == Some(door.listen) { Audience::Both } else { Audience::Public };
        let mut listeners = vec![(door.listen, audience)];
        listeners
            .extend(door.api_listen.filter(|api| *api != door.listen).map(|api| (api, Audience::Operator)));
        for (address, audience) in listeners {
            match R::listen(address) {
                Ok(listener) => R::spawn(accept::<R>(Rc::clone(&door), listener, audience, Rc::clone(&open))),
                Err(error) => return ready(Err(error)),
            }
        }
        R::spawn(door.webhooks.wheel.clone().turn::<R>());
        R::spawn(door.webhooks.parked.clone().settle(Arc::clone(&door.inbox)));
        ready(Ok(()));
        door.drain.wait().await;
        let deadline = Instant::now() + door.drain_timeout;
        while open.get() > 0 && Instant::now() < deadline {
            R::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, audience: Audience) -> Answer {
        let path = request.uri().path();
        let origin = request.headers().get(ORIGIN).cloned();
        if audience != Audience::Operator && (path.starts_with("/i/") || path == "/i") {
            let preflight = request.method() == Method::OPTIONS;
            let mut answer = if preflight {
                http::empty(StatusCode::NO_CONTENT)
            } else {
                self.webhooks.serve(request).await
            };
            self.answers.note(answer.status());
            self.allow_origin(&mut answer, origin, preflight);
            return answer;
        }
        if path == "/health/live" {
            return http::json(StatusCode::OK, &b"{\"status\":\"live\"}"[..]);
        }
        if self.hello && path == "/hello" {
            return self.hello(request).await;
        }
        if audience == Audience::Public {
            return http::refusal(StatusCode::NOT_FOUND, "Not Found");
        }
        self.ask_api(request, peer).await
    }

    /// The same stack without a log: reads the body, if there is one, and answers.
    async fn hello(&self, request: Request<Incoming>) -> Answer {
        match request.into_body().collect().await {
            Ok(_) => http::json(StatusCode::OK, &b"{\"hello\":\"world\"}"[..]),
            Err(_) => http::empty(StatusCode::BAD_REQUEST),
        }
    }

    async fn ask_api(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (parts, body) = request.into_parts();
        let limited = http_body_util::Limited::new(body, API_BODY_BYTES_MAX);
        let Ok(body) = limited.collect().await else {
            let message = "The body is too large or broke off.";
            return http::refusal_with(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        };
        let request = ApiRequest {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: body.to_bytes(),
            peer,
        };
        match self.readers.ask(request) {
            Some(response) => response.await.into(),
            None => http::unavailable("The API has too many requests at the moment.", 1),
        }
    }

    /// Lets a browser read the answer (Fetch standard, CORS protocol).
    fn allow_origin(&self, answer: &mut Answer, origin: Option<HeaderValue>, preflight: bool) {
        let allowed = match (self.cors_origins.is_empty(), origin) {
            (true, _) => HeaderValue::from_static("*"),
            (false, Some(origin)) if self.cors_origins.contains(&origin) => origin,
            (false, _) => return,
        };
        let headers = answer.headers_mut();
        headers.insert(HeaderName::from_static("access-control-allow-origin"), allowed);
        if !self.cors_origins.is_empty() {
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        if preflight {
            let methods = HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,OPTIONS");
            headers.insert(HeaderName::from_static("access-control-allow-methods"), methods);
            headers.insert(
                HeaderName::from_static("access-control-allow-headers"),
                HeaderValue::from_static("*"),
            );
            let age = HeaderValue::from_static("1728000");
            headers.insert(HeaderName::from_static("access-control-max-age"), age);
        }
    }
}

async fn accept<R: Runtime>(
    door: Rc<Door>,
    listener: R::Listener,
    audience: Audience,
    open: Rc<Cell<usize>>,
) {
    let mut drain = pin!(door.drain.wait());
    loop {
        let accepted = {
            let mut next = pin!(R::accept(&listener));
            std::future::poll_fn(|cx| match drain.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => next.as_mut().poll(cx).map(Some),
            })
            .await
        };
        match accepted {
            None => return,
            // Too many open files, or a client that left at once: neither ends the door.
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection was not accepted");
                R::sleep(Duration::from_millis(10)).await;
            }
            Some(Ok(_)) if open.get() >= door.connections_max => {}
            Some(Ok((stream, peer))) => {
                open.set(open.get() + 1);
                let (door, open) = (Rc::clone(&door), Rc::clone(&open));
                R::spawn(async move {
                    serve_connection::<R>(door, stream, peer, audience).await;
                    open.set(open.get() - 1);
                });
            }
        }
    }
}

async fn serve_connection<R: Runtime>(
    door: Rc<Door>,
    stream: R::Stream,
    peer: SocketAddr,
    audience: Audience,
) {
    let service = service_fn(|request| {
        let door = Rc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request, peer, audience).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(door.webhooks.wheel.clone())
        .header_read_timeout(door.header_timeout)
        .max_header_size(HEAD_BYTES_MAX);
    // Without `pipeline_flush`: it would keep the 400 for a request that does not parse from being sent.
    builder.half_close(true);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut drain = pin!(door.drain.wait());
    let mut draining = false;
    let served = std::future::poll_fn(|cx| {
        if !draining && drain.as_mut().poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = served.await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
