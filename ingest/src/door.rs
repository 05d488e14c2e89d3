//! A door: one thread that accepts connections, serves them, and never blocks.
//!
//! Invariant: whatever may take long (a sync, a read of the store) happens on another thread and comes back as a
//! wake-up of this one.

mod connection;
mod cors;
mod outgoing;
mod peeked;
pub mod room;
pub mod watch;

use std::{
    cell::Cell,
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
    header::{CONNECTION, HOST, HeaderValue},
};
use keyway_storage::limits::{
    API_BODY_BYTES_MAX, API_CONNECTIONS_MAX, API_PROJECTS_MAX, CONNECTIONS_TURNED_AWAY_MAX,
    PROJECT_BYTES_MAX, RETRY_AFTER_SECONDS, TURN_AWAY_TIMEOUT_MS,
};
use rustls::ServerConfig;

use crate::{
    api,
    count::AnswerCounts,
    edge::EdgeSettings,
    http::{self, Answer, ApiRequest},
    parked::Inbox,
    reader::Readers,
    runtime::{Runtime, signal::Signal},
    trigger::webhook::serve::Webhooks,
};
use connection::Connection;
use cors::Page;
use watch::{Patience, Watch, Watches};

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
    /// What holds for all doors.
    pub settings: Arc<EdgeSettings>,
    /// Serves `/i/`.
    pub webhooks: Webhooks,
    /// Where receipts come in.
    pub inbox: Arc<Inbox>,
    /// Counts what it answers to webhooks.
    pub answers: Arc<AnswerCounts>,
    /// Answers API requests.
    pub readers: Arc<Readers>,
    /// Project files that are on their way to the API.
    pub api_projects: Cell<usize>,
    /// Set when nothing more shall come in, but through a listener that is the API's alone.
    pub drain: Arc<Signal>,
    /// Set when the door shall end.
    pub end: Arc<Signal>,
}

/// Whom a door tells how far it is.
pub struct Tell {
    /// It listens, or cannot.
    pub ready: Box<dyn FnOnce(io::Result<()>) + Send>,
    /// What was in flight at the public address is finished, or has taken as long as it may.
    pub drained: Box<dyn FnOnce() + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Public,
    Operator,
    Both,
}

/// How a connection is received.
#[derive(Clone, Copy)]
struct Visit {
    audience: Audience,
    /// One more than there is room for: it is told so.
    is_turned_away: bool,
    /// It speaks plain HTTP where TLS is spoken: it is told so.
    is_plain_by_mistake: bool,
}

impl Door {
    /// Serves until the end signal, on the calling thread.
    pub fn run<R: Runtime>(self, tell: Tell) -> io::Result<()> {
        let name = format!("door-{}", self.index);
        let core = self.core;
        R::block_on(&name, core, async move { self.serve::<R>(tell).await })
    }

    async fn serve<R: Runtime>(self, tell: Tell) {
        let (door, watches) = (Rc::new(self), Rc::new(Watches::default()));
        let audience = if door.api_listen == Some(door.listen) { Audience::Both } else { Audience::Public };
        let mut listeners = vec![(door.listen, audience, door.settings.connections_max)];
        let api_listen = door.api_listen.filter(|api| *api != door.listen);
        // With a count of its own: callers of webhooks never keep people out.
        listeners.extend(api_listen.map(|api| (api, Audience::Operator, API_CONNECTIONS_MAX)));
        let mut opens = Vec::new();
        for (address, audience, connections_max) in listeners {
            let open = Rc::<Open>::default();
            opens.push((audience, Rc::clone(&open)));
            let porch = Porch {
                door: Rc::clone(&door),
                watches: Rc::clone(&watches),
                audience,
                connections_max,
                open,
            };
            match R::listen(address) {
                Ok(listener) => R::spawn(porch.accept::<R>(listener)),
                Err(error) => return (tell.ready)(Err(error)),
            }
        }
        R::spawn(watches.look::<R>());
        R::spawn(door.webhooks.wheel.clone().turn::<R>());
        R::spawn(door.webhooks.parked.clone().settle(Arc::clone(&door.inbox)));
        (tell.ready)(Ok(()));
        door.drain.wait().await;
        let deadline = Instant::now() + door.settings.drain_timeout;
        let is_served = |(audience, open): &(Audience, Rc<Open>)| {
            open.served.get() > 0 && (*audience != Audience::Operator || door.end.is_set())
        };
        while opens.iter().any(is_served) && Instant::now() < deadline {
            R::sleep(Duration::from_millis(10)).await;
        }
        (tell.drained)();
        door.end.wait().await;
        while opens.iter().any(is_served) && Instant::now() < deadline {
            R::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What ends connections of this audience: people go on being told how far it is while the process ends.
    fn leaves(&self, audience: Audience) -> &Arc<Signal> {
        if audience == Audience::Operator { &self.end } else { &self.drain }
    }

    /// What TLS is spoken with; the API has its listener to itself, without TLS.
    fn certificate(&self, audience: Audience) -> Option<Arc<ServerConfig>> {
        let certificate = self.settings.certificate.as_ref();
        certificate.filter(|_| audience != Audience::Operator).map(|certificate| certificate.shown())
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        visit: Visit,
        watch: &Rc<Watch>,
    ) -> Answer {
        if visit.is_plain_by_mistake {
            let message = "Only HTTPS is spoken at this address.";
            return closing(http::refusal_with(StatusCode::BAD_REQUEST, "https_required", message));
        }
        if visit.is_turned_away {
            let answer =
                http::unavailable("There are too many connections at the moment.", RETRY_AFTER_SECONDS);
            self.answers.note(answer.status());
            return closing(answer);
        }
        name_host(&mut request);
        let path = request.uri().path();
        if visit.audience != Audience::Operator && (path.starts_with("/i/") || path == "/i") {
            let (page, preflight) = (Page::of(request.headers()), request.method() == Method::OPTIONS);
            let mut answer = if preflight {
                http::empty(StatusCode::NO_CONTENT)
            } else {
                self.webhooks.serve(request, watch).await
            };
            self.answers.note(answer.status());
            page.allow(&mut answer, &self.settings.cors_origins, preflight);
            return answer;
        }
        if path == "/health/live" {
            return http::json(StatusCode::OK, &b"{\"status\":\"live\"}"[..]);
        }
        if self.settings.hello && path == "/hello" {
            return self.hello(request).await;
        }
        if visit.audience == Audience::Public {
            return http::refusal(StatusCode::NOT_FOUND, "Not Found");
        }
        if !api::is_project(request.method(), path) {
            return self.ask_api(request, peer, API_BODY_BYTES_MAX).await;
        }
        if self.api_projects.get() >= API_PROJECTS_MAX {
            return http::unavailable("Other project files are on their way.", RETRY_AFTER_SECONDS);
        }
        let _leaves = Leaves::enter(&self.api_projects);
        self.ask_api(request, peer, PROJECT_BYTES_MAX).await
    }

    /// The same stack without a log: reads the body, if there is one, and answers.
    async fn hello(&self, request: Request<Incoming>) -> Answer {
        match request.into_body().collect().await {
            Ok(_) => http::json(StatusCode::OK, &b"{\"hello\":\"world\"}"[..]),
            Err(_) => http::empty(StatusCode::BAD_REQUEST),
        }
    }

    async fn ask_api(&self, request: Request<Incoming>, peer: SocketAddr, bytes_max: usize) -> Answer {
        let (parts, body) = request.into_parts();
        let limited = http_body_util::Limited::new(body, bytes_max);
        let Ok(body) = limited.collect().await else {
            let message = format!("The body has more than {bytes_max} bytes or broke off.");
            return http::refusal_with(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message);
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
}

/// Something that is counted until it is dropped.
struct Leaves<'a>(&'a Cell<usize>);

impl<'a> Leaves<'a> {
    fn enter(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// HTTP/2 names the host beside the headers: jobs find it where HTTP/1.1 has it.
fn name_host(request: &mut Request<Incoming>) {
    if let Some(authority) = request.uri().authority()
        && !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// The open connections of one listener.
#[derive(Default)]
struct Open {
    served: Cell<usize>,
    turned_away: Cell<usize>,
}

/// Where the connections of one listener come in.
struct Porch {
    door: Rc<Door>,
    watches: Rc<Watches>,
    audience: Audience,
    connections_max: usize,
    open: Rc<Open>,
}

impl Porch {
    async fn accept<R: Runtime>(self, listener: R::Listener) {
        let mut drain = pin!(self.door.leaves(self.audience).wait());
        let mut is_known = false;
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
                    if !is_known {
                        tracing::warn!(%error, "a connection was not accepted; trying on");
                    }
                    is_known = true;
                    R::sleep(Duration::from_millis(10)).await;
                }
                Some(Ok((stream, peer))) => {
                    is_known = false;
                    self.receive::<R>(stream, peer);
                }
            }
        }
    }

    /// Serves a connection, or tells it that there is no room; when too many are being told, it is closed at once.
    fn receive<R: Runtime>(&self, stream: R::Stream, peer: SocketAddr) {
        let is_turned_away = self.open.served.get() >= self.connections_max;
        if is_turned_away && self.open.turned_away.get() >= CONNECTIONS_TURNED_AWAY_MAX {
            return;
        }
        let mut patience = self.door.settings.patience;
        if is_turned_away {
            let short = Duration::from_millis(TURN_AWAY_TIMEOUT_MS);
            patience = Patience { head: patience.head.min(short), idle: patience.idle.min(short) };
        }
        let visit = Visit { audience: self.audience, is_turned_away, is_plain_by_mistake: false };
        let connection = Connection::new(Rc::clone(&self.door), peer, visit, self.watches.add(patience));
        let open = Rc::clone(&self.open);
        let count = move |more: bool| {
            let count = if is_turned_away { &open.turned_away } else { &open.served };
            count.set(if more { count.get() + 1 } else { count.get() - 1 });
        };
        count(true);
        R::spawn(async move {
            connection.serve::<R>(stream).await;
            count(false);
        });
    }
}
