//! A request to a webhook, from its head to its answer.
//!
//! The order of the checks is OpenFn's: trigger, credentials, body, type, and only then whether it is enabled.

use std::{cell::RefCell, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Body, Incoming},
    header::CONTENT_TYPE,
    http::request::Parts,
};
use keyway_engine::{
    command::{Answer as Decision, Input},
    mailbox::Mailbox,
    project::Ordering,
    route::Route,
};
use keyway_storage::{
    id::Ids,
    limits::{BODY_SKIP_FACTOR, BODY_TIMEOUT_MS},
    place::ShardId,
};

use super::{
    auth::{self, Verdict},
    body::{BodyError, to_json},
    directory::{Hook, Hooks, Published},
    key, once,
    reply::{self, Accepted},
    request,
    settings::Reply,
    source::Sent,
};
use crate::{
    http::{self, Answer},
    parked::{Parked, Waiting},
    runtime::wheel::Wheel,
    time,
};

const FOUND: &str = "OpenFn webhook trigger found. Make a POST request to execute this workflow.";

/// What a door needs to serve webhooks.
pub struct Webhooks {
    /// The door's own shard.
    pub home: ShardId,
    /// The way to each shard.
    pub shards: Arc<[Arc<Mailbox<Sent>>]>,
    /// Requests that wait.
    pub parked: Parked,
    /// Which URLs there are.
    pub published: Arc<Published>,
    /// The door's copy of it.
    pub hooks: RefCell<(u64, Arc<Hooks>)>,
    /// Makes the ids of answers.
    pub ids: Ids,
    /// The door's timers.
    pub wheel: Wheel,
    /// Largest body.
    pub body_bytes_max: usize,
}

/// A request's body: read already where its signature had to be checked.
enum Content {
    Read(Bytes),
    Unread(Incoming),
}

impl Webhooks {
    /// Serves a request whose path begins with `/i/`.
    pub async fn serve(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let Some(hook) = self.find(parts.uri.path()) else { return reply::not_found() };
        let body = match hook.gate.judge(&parts.headers, time::now()) {
            Verdict::Pass => Content::Unread(body),
            Verdict::Nothing => return http::refusal(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Verdict::Wrong => return reply::not_found(),
            Verdict::Signed(signed) => match self.read(body).await {
                Ok(body) if auth::fits(&signed, &body) => Content::Read(body),
                Ok(_) => return reply::not_found(),
                Err(answer) => return answer,
            },
        };
        match parts.method {
            Method::POST => {}
            Method::GET if hook.settings.allow_get => {}
            Method::GET | Method::HEAD => {
                let body = serde_json::json!({ "message": FOUND }).to_string();
                return http::json(StatusCode::OK, body);
            }
            _ => return reply::not_found(),
        }
        let body = match body {
            Content::Read(body) => body,
            Content::Unread(body) => match self.read(body).await {
                Ok(body) => body,
                Err(answer) => return answer,
            },
        };
        match self.input(&hook, &parts, body) {
            Ok(input) => self.send(&hook, input).await,
            Err(answer) => answer,
        }
    }

    fn find(&self, path: &str) -> Option<Arc<Hook>> {
        let mut hooks = self.hooks.borrow_mut();
        self.published.refresh(&mut hooks);
        let segments = path.split('/').filter(|segment| !segment.is_empty()).skip(1);
        hooks.1.find(segments).cloned()
    }

    /// Reads the body, or says why not. What is over the limit is still read, up to a bound, so that the answer
    /// reaches a client that is still sending.
    async fn read(&self, body: Incoming) -> Result<Bytes, Answer> {
        let mut nap = self.wheel.wait(Duration::from_millis(BODY_TIMEOUT_MS));
        let mut reading = std::pin::pin!(read_bounded(body, self.body_bytes_max));
        let read = std::future::poll_fn(|cx| {
            use std::{future::Future, pin::Pin, task::Poll};
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(Some(read));
            }
            Pin::new(&mut nap).poll(cx).map(|()| None)
        });
        match read.await {
            Some(Ok(body)) => Ok(body),
            Some(Err(answer)) => Err(answer),
            None => {
                let mut answer = http::refusal(StatusCode::REQUEST_TIMEOUT, "Request Timeout");
                http::add_header(&mut answer, hyper::header::CONNECTION, "close");
                Err(answer)
            }
        }
    }

    fn input(&self, hook: &Hook, parts: &Parts, body: Bytes) -> Result<Input, Answer> {
        let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("invalid"));
        let body = to_json(content_type, hook.settings.accept, body).map_err(|error| match error {
            BodyError::Invalid(message) => {
                http::refusal_with(StatusCode::BAD_REQUEST, "invalid_body", &message)
            }
            BodyError::Unsupported => {
                http::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type")
            }
        })?;
        let (uri, secrets) = (&parts.uri, hook.gate.secrets());
        // Whoever starts a run by GET says in the query what is to be done.
        let content =
            if parts.method == Method::GET { uri.query().unwrap_or_default().as_bytes() } else { &body };
        let window_seconds = hook.settings.idempotency_window_seconds;
        let position = once::position(&parts.headers, window_seconds, content).map_err(|message| {
            http::refusal_with(StatusCode::BAD_REQUEST, "invalid_idempotency_key", &message)
        })?;
        let request = request::describe(&parts.method, uri.path(), uri.query(), &parts.headers, secrets);
        Ok(Input {
            trigger: hook.id,
            position,
            key: ordering_key(hook, &parts.headers, &body),
            stream: 0,
            request,
            body: Ok(body),
            follow: matches!(hook.settings.reply, Reply::AfterCompletion { .. }),
            replays: None,
        })
    }

    async fn send(&self, hook: &Hook, input: Input) -> Answer {
        let serial = hook.serial.then_some(hook.workflow);
        let route = Route { trigger: hook.id, serial, key: input.key, position: &input.position };
        let shard = route.owner(self.shards.len() as u16).unwrap_or(self.home);
        let mut waiting = self.parked.park();
        let bytes = input.request.len() + input.body.as_ref().map_or(0, Bytes::len);
        let mailbox = &self.shards[usize::from(shard.0)];
        if mailbox.put((waiting.ticket(), input), bytes).is_err() {
            return reply::busy();
        }
        let receipt = waiting.receipt().await;
        let accepted = match receipt.answer {
            Decision::Accepted(place) => Accepted::new(&self.ids, place, receipt.at),
            Decision::Repeated(place, at) => Accepted::repeated(&self.ids, place, at),
            Decision::Refused(refusal) => return reply::refused(refusal),
            _ => return reply::busy(),
        };
        match hook.settings.reply {
            Reply::BeforeStart => accepted.at_once(),
            reply => self.follow(waiting, accepted, reply).await,
        }
    }

    /// Waits for the end of the run, as long as the trigger says.
    async fn follow(&self, mut waiting: Waiting, accepted: Accepted, reply: Reply) -> Answer {
        let Reply::AfterCompletion { timeout_seconds, .. } = reply else { return accepted.at_once() };
        let mut nap = self.wheel.wait(Duration::from_secs(u64::from(timeout_seconds)));
        let mut receipt = std::pin::pin!(waiting.receipt());
        let ended = std::future::poll_fn(|cx| {
            use std::{future::Future, pin::Pin, task::Poll};
            if let Poll::Ready(receipt) = receipt.as_mut().poll(cx) {
                return Poll::Ready(Some(receipt));
            }
            Pin::new(&mut nap).poll(cx).map(|()| None)
        });
        match ended.await.map(|receipt| receipt.answer) {
            Some(Decision::Ended(end)) => accepted.at_end(reply, &end),
            _ => accepted.timed_out(),
        }
    }
}

async fn read_bounded(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Answer> {
    let announced = body.size_hint().lower() as usize;
    if announced > bytes_max.saturating_mul(BODY_SKIP_FACTOR) {
        return Err(closing(reply::too_large()));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut bytes = 0usize;
    while let Some(frame) = body.frame().await {
        let broken =
            |_| closing(http::refusal_with(StatusCode::BAD_REQUEST, "invalid_body", "The body broke off."));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        bytes += data.len();
        if bytes > bytes_max.saturating_mul(BODY_SKIP_FACTOR) {
            return Err(closing(reply::too_large()));
        }
        if bytes > bytes_max {
            (first, rest) = (None, BytesMut::new());
        } else if first.is_none() && rest.is_empty() {
            // Nearly every body comes in one piece, and is kept as that piece.
            first = Some(data);
        } else {
            if let Some(first) = first.take() {
                rest.reserve(announced.min(bytes_max));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    if bytes > bytes_max {
        return Err(reply::too_large());
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

fn closing(mut answer: Answer) -> Answer {
    http::add_header(&mut answer, hyper::header::CONNECTION, "close");
    answer
}

/// Hash of the ordering key, if the trigger orders by key and the request has one.
fn ordering_key(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Option<u64> {
    let key = hook.settings.ordering_key.as_ref().filter(|_| hook.ordering == Ordering::Key)?;
    key.of_request(headers, body).map(|key| key::hash(&key))
}
