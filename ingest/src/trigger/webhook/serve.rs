//! A request to a webhook, from its head to its answer.
//!
//! The order of the checks is OpenFn's: trigger, credentials, body, type, and only then whether it is enabled.

use std::{cell::RefCell, rc::Rc, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming, http::request::Parts};
use keyway_engine::{
    command::{Answer as Decision, Input, Presence},
    mailbox::Mailbox,
    project::Ordering,
    route::Route,
};
use keyway_storage::{event::Position, id::Ids, place::ShardId, routes::Routes};

use super::{
    auth::{self, Verdict},
    body::Format,
    directory::{Hook, Hooks, Published},
    intake::{self, Intake, Upload},
    key, once,
    reply::{self, Accepted},
    request,
    settings::Reply,
    source::Sent,
};
use crate::{
    door::{room::Room, watch::Watch},
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
    /// Which of them owns what.
    pub routes: Routes,
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
    /// Takes in bodies.
    pub intake: Intake,
    /// Holds the results that callers have yet to take.
    pub room: Room,
}

impl Webhooks {
    /// Serves a request whose path begins with `/i/`.
    pub async fn serve(&self, request: Request<Incoming>, watch: &Rc<Watch>) -> Answer {
        let hook = self.find(request.uri().path());
        let answer = self.call(hook.as_deref(), request, watch).await;
        let tally = hook.as_ref().map_or(&self.published.nobody, |hook| &hook.tally);
        tally.note(usize::from(self.home.0), &answer, time::now());
        answer
    }

    async fn call(&self, hook: Option<&Hook>, request: Request<Incoming>, watch: &Rc<Watch>) -> Answer {
        let (parts, body) = request.into_parts();
        if request::is_ambiguous(&parts) {
            return intake::closing(http::refusal(StatusCode::BAD_REQUEST, "Bad Request"));
        }
        let mut upload = self.intake.receive(&parts, body);
        match self.examine(hook, &parts, &mut upload).await {
            Ok((hook, input)) => self.send(hook, input, upload, watch).await,
            Err(answer) => self.intake.refuse(upload, answer),
        }
    }

    /// Who is called and with what, or the refusal. The body is read as late as can be.
    async fn examine<'h>(
        &self,
        hook: Option<&'h Hook>,
        parts: &Parts,
        upload: &mut Upload,
    ) -> Result<(&'h Hook, Input), Answer> {
        let hook = hook.ok_or_else(|| self.missing())?;
        match hook.gate.judge(&parts.headers, time::now()) {
            Verdict::Pass => {}
            Verdict::Nothing => return Err(http::refusal(StatusCode::UNAUTHORIZED, "Unauthorized")),
            Verdict::Wrong => return Err(reply::not_found()),
            Verdict::Signed(signed) => {
                let body = self.intake.read(upload).await?;
                auth::fits(&signed, &body).then_some(()).ok_or_else(reply::not_found)?;
            }
        }
        match parts.method {
            Method::POST => {}
            Method::GET if hook.settings.allow_get => {}
            Method::GET | Method::HEAD => {
                let body = serde_json::json!({ "message": FOUND }).to_string();
                return Err(http::json(StatusCode::OK, body));
            }
            _ => return Err(reply::not_found()),
        }
        let format = match upload.is_empty() {
            true => Format::EMPTY,
            false => Format::of(&parts.headers, hook.settings.accept).map_err(reply::unusable)?,
        };
        let body = self.intake.read(upload).await?;
        let input = self.input(hook, parts, &format, body)?;
        Ok((hook, input))
    }

    fn find(&self, path: &str) -> Option<Arc<Hook>> {
        let mut hooks = self.hooks.borrow_mut();
        self.published.refresh(&mut hooks);
        let segments = path.split('/').filter(|segment| !segment.is_empty()).skip(1);
        hooks.1.find(segments).cloned()
    }

    /// The answer where no trigger is. Until the first project is published nobody knows where one is.
    fn missing(&self) -> Answer {
        let is_recovering = self.hooks.borrow().0 == 0;
        if is_recovering { reply::busy() } else { reply::not_found() }
    }

    fn input(&self, hook: &Hook, parts: &Parts, format: &Format, body: Bytes) -> Result<Input, Answer> {
        let body = format.to_json(body, self.intake.bytes_max()).map_err(reply::unusable)?;
        let bad = |code| move |message: String| http::refusal_with(StatusCode::BAD_REQUEST, code, &message);
        // Whoever starts a run by GET says in the query what is to be done.
        let query = parts.uri.query().unwrap_or_default();
        let content = if parts.method == Method::GET { query.as_bytes() } else { &body };
        let window_seconds = hook.settings.idempotency_window_seconds;
        let position = once::position(&parts.headers, window_seconds, content)
            .map_err(bad("invalid_idempotency_key"))?;
        let request = request::describe(parts, hook.gate.secrets()).map_err(bad("invalid_query"))?;
        hook.admit(time::now())?;
        Ok(Input {
            trigger: hook.id,
            position,
            key: ordering_key(hook, &parts.headers, &body),
            stream: 0,
            request,
            body: Ok(body),
            follow: None,
            replays: None,
        })
    }

    async fn send(&self, hook: &Hook, mut input: Input, upload: Upload, watch: &Rc<Watch>) -> Answer {
        // Gone with this future, and so as soon as nobody needs the answer any more.
        let presence = match hook.settings.reply {
            Reply::BeforeStart => None,
            Reply::AfterCompletion { .. } => Some(Presence::new()),
        };
        input.follow = presence.as_ref().map(Presence::follow);
        let serial = hook.serial.then_some(hook.workflow);
        let route = Route { trigger: hook.id, serial, key: input.key, position: &input.position };
        let shard = route.owner(&self.routes).unwrap_or(self.home);
        // Whoever waits for a run that another shard has waits there.
        let may_be_elsewhere = input.position != Position::None;
        let again = (input.follow.is_some() && may_be_elsewhere).then(|| input.clone());
        let Some(mut waiting) = self.put(shard, input) else { return reply::busy() };
        // From here on the mailbox counts the body.
        drop(upload);
        let mut receipt = waiting.receipt().await;
        if let (Decision::Repeated(place, _), Some(again)) = (&receipt.answer, again)
            && place.shard != shard
        {
            let Some(moved) = self.put(place.shard, again) else { return reply::busy() };
            waiting = moved;
            receipt = waiting.receipt().await;
        }
        let accepted = match receipt.answer {
            Decision::Accepted(place) => Accepted::new(&self.ids, place, receipt.at),
            Decision::Repeated(place, at) => Accepted::repeated(&self.ids, place, at),
            Decision::Refused(refusal) => return reply::refused(refusal),
            _ => return reply::busy(),
        };
        match hook.settings.reply {
            Reply::BeforeStart => accepted.at_once(),
            reply => self.follow(waiting, accepted, reply, watch).await,
        }
    }

    /// Sends an input to a shard; `None` if there is no room.
    fn put(&self, shard: ShardId, input: Input) -> Option<Waiting> {
        let waiting = self.parked.park();
        let bytes = input.request.len() + input.body.as_ref().map_or(0, Bytes::len);
        let sent = self.shards[usize::from(shard.0)].put((waiting.ticket(), input), bytes);
        sent.is_ok().then_some(waiting)
    }

    /// Waits for the end of the run, as long as the trigger says and the caller is there.
    async fn follow(
        &self,
        mut waiting: Waiting,
        accepted: Accepted,
        reply: Reply,
        watch: &Rc<Watch>,
    ) -> Answer {
        let Reply::AfterCompletion { timeout_seconds, .. } = reply else { return accepted.at_once() };
        let timeout = Duration::from_secs(u64::from(timeout_seconds));
        let _waits = watch.wait();
        let mut receipt = std::pin::pin!(waiting.receipt());
        let ended = std::future::poll_fn(|cx| match receipt.as_mut().poll(cx) {
            Poll::Ready(receipt) => Poll::Ready(Some(receipt)),
            Poll::Pending if watch.is_hung_up() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let ended = self.wheel.within(timeout, ended).await.flatten();
        match ended.map(|receipt| receipt.answer) {
            Some(Decision::Ended(end)) => {
                self.room.hold(accepted.at_end(reply, &end)).unwrap_or_else(|| accepted.without_room())
            }
            _ => accepted.timed_out(),
        }
    }
}

/// Hash of the ordering key, if the trigger orders by key and the request has one.
fn ordering_key(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Option<u64> {
    let key = hook.settings.ordering_key.as_ref().filter(|_| hook.ordering == Ordering::Key)?;
    key.of_request(headers, body).map(|key| key::hash(&key))
}
