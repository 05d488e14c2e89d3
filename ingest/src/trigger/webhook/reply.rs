//! What the caller of a webhook is told.
//!
//! Source: OpenFn's Triggers page; `openfn-semantics` 1.5, 1.7 and 1.10.

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{ACCEPT_ENCODING, HeaderName, HeaderValue, RETRY_AFTER},
};
use keyway_engine::{
    command::{Refusal, RunEnd},
    run::run_state_name,
};
use keyway_storage::{
    event::RunState,
    limits::RETRY_AFTER_SECONDS,
    place::{Place, RunId, Timestamp},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    body::{BodyError, coding::CODINGS},
    settings::{RateLimit, Reply},
};
use crate::{
    http::{self, Answer},
    time::rfc3339,
};

const WORK_ORDER: HeaderName = HeaderName::from_static("x-meta-work-order-id");
const RUN: HeaderName = HeaderName::from_static("x-meta-run-id");
const REPLAYED: HeaderName = HeaderName::from_static("x-keyway-replayed");
/// Longest part of a malformed value that is shown.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// The ids that an answer carries, and whether it was given before.
#[derive(Clone, Copy)]
pub struct Accepted {
    work_order: Uuid,
    run: Uuid,
    repeats: bool,
}

impl Accepted {
    /// The ids of the work order at `place`, made at `at`, and of its first run.
    pub fn new(ids: &keyway_storage::id::Ids, place: Place, at: Timestamp) -> Self {
        let run = ids.run(RunId { work_order: place, n: 1 }, at);
        Self { work_order: ids.work_order(place, at), run, repeats: false }
    }

    /// The same, for an input that came before.
    pub fn repeated(ids: &keyway_storage::id::Ids, place: Place, at: Timestamp) -> Self {
        Self { repeats: true, ..Self::new(ids, place, at) }
    }

    fn mark(self, mut answer: Answer) -> Answer {
        let mut text = [0; 36];
        http::add_header(&mut answer, WORK_ORDER, self.work_order.hyphenated().encode_lower(&mut text));
        http::add_header(&mut answer, RUN, self.run.hyphenated().encode_lower(&mut text));
        if self.repeats {
            http::add_header(&mut answer, REPLAYED, "true");
        }
        answer
    }

    /// 200: durable, and on its way.
    pub fn at_once(self) -> Answer {
        let mut body = Vec::with_capacity(112);
        let mut text = [0; 36];
        body.extend_from_slice(b"{\"work_order_id\":\"");
        body.extend_from_slice(self.work_order.hyphenated().encode_lower(&mut text).as_bytes());
        body.extend_from_slice(b"\",\"run_id\":\"");
        body.extend_from_slice(self.run.hyphenated().encode_lower(&mut text).as_bytes());
        body.extend_from_slice(b"\"}");
        self.mark(http::json(StatusCode::OK, body))
    }

    /// 504: not finished in time; the run goes on.
    pub fn timed_out(self) -> Answer {
        let body = json!({
            "error": "timeout",
            "message": "Workflow did not complete within timeout period",
            "work_order_id": self.work_order.to_string(),
        });
        self.mark(http::json(StatusCode::GATEWAY_TIMEOUT, body.to_string()))
    }

    /// 504: the run has ended, and its result cannot be held until the caller takes it. It is no 503: what that refuses was
    /// not stored, and whoever sends again, as it says, would have it run twice.
    pub fn without_room(self) -> Answer {
        let body = json!({
            "error": "result_not_held",
            "message": "The run has ended, but too many callers have not taken their results yet. \
                        A repeat with the same idempotency key is answered with the result.",
            "work_order_id": self.work_order.to_string(),
        });
        self.mark(http::json(StatusCode::GATEWAY_TIMEOUT, body.to_string()))
    }

    /// The end of the run.
    pub fn at_end(self, reply: Reply, end: &RunEnd) -> Answer {
        let default = default_status(reply, end.state);
        let (status, data) = match custom(&end.response, default) {
            Ok((status, Some(body))) => (status, body),
            Ok((status, None)) => (status, default_data(end)),
            Err(reason) => {
                let message = format!("Run completed, but webhook_response was malformed: {reason}");
                (default, Bytes::from(json!({ "message": message }).to_string()))
            }
        };
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return self.mark(http::empty(status));
        }
        let meta = json!({
            "work_order_id": self.work_order.to_string(),
            "run_id": self.run.to_string(),
            "state": run_state_name(end.state),
            "error_type": end.error.as_ref().map(|error| &*error.kind),
            "inserted_at": rfc3339(end.inserted),
            "started_at": end.started.map(rfc3339),
            "claimed_at": end.claimed.map(rfc3339),
            "finished_at": rfc3339(end.finished),
        });
        let mut body = Vec::with_capacity(data.len() + 400);
        body.extend_from_slice(b"{\"data\":");
        body.extend_from_slice(&data);
        body.extend_from_slice(b",\"meta\":");
        body.extend_from_slice(meta.to_string().as_bytes());
        body.push(b'}');
        self.mark(http::json(status, body))
    }
}

/// Whether an answer is that of an accepted request, and then whether it was given before.
pub fn accepted(answer: &Answer) -> Option<bool> {
    let headers = answer.headers();
    headers.contains_key(WORK_ORDER).then(|| headers.contains_key(REPLAYED))
}

fn default_status(reply: Reply, state: RunState) -> StatusCode {
    let code = match reply {
        Reply::AfterCompletion { success_code, .. } if state == RunState::Success => success_code,
        Reply::AfterCompletion { error_code, .. } => error_code,
        Reply::BeforeStart => None,
    };
    code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::CREATED)
}

fn default_data(end: &RunEnd) -> Bytes {
    if end.state == RunState::Success {
        return if end.final_state.is_empty() {
            Bytes::from_static(b"null")
        } else {
            end.final_state.clone()
        };
    }
    let message = format!(
        "Run completed with status: {}. As a security policy, OpenFn does not send state data when the run errors \
         out to avoid leaking sensitive information",
        run_state_name(end.state)
    );
    Bytes::from(json!({ "message": message }).to_string())
}

/// Status and body that the job asked for, or why they cannot be used.
fn custom(response: &[u8], default: StatusCode) -> Result<(StatusCode, Option<Bytes>), String> {
    let Ok(response) = serde_json::from_slice::<Map<String, Value>>(response) else {
        return Ok((default, None));
    };
    let status = match response.get("status") {
        None | Some(Value::Null) => default,
        Some(value) => status_of(value)?,
    };
    match response.get("body") {
        None | Some(Value::Null) => Ok((status, None)),
        Some(Value::Object(body)) => {
            let body = serde_json::to_string(body).map_err(|error| error.to_string())?;
            Ok((status, Some(Bytes::from(body))))
        }
        Some(other) => Err(format!("body needs to be a JSON object, got: {}", shown(other))),
    }
}

fn status_of(value: &Value) -> Result<StatusCode, String> {
    // JSON has one number type: 203.0 is 203.
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    let Some(whole) = whole else {
        return Err(format!("status needs to be an integer, got: {}", shown(value)));
    };
    let fits = (200.0..600.0).contains(&whole).then_some(whole as u16);
    let status = fits.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| format!("status needs to be between 200 and 599, got: {}", shown(value)))
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(SHOWN_CHARACTERS_MAX).collect()
}

/// The answer to an input that was refused.
pub fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::UnknownTrigger => not_found(),
        Refusal::Disabled => http::refusal_with(
            StatusCode::FORBIDDEN,
            "trigger_disabled",
            "Unable to process request, trigger is disabled. Enable it on OpenFn to allow requests to this endpoint.",
        ),
        Refusal::KeyReused => http::refusal(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        Refusal::TooLarge => too_large(),
        _ => busy(),
    }
}

/// The answer to a body that cannot be taken.
pub fn unusable(error: BodyError) -> Answer {
    let unsupported = || http::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type");
    match error {
        BodyError::Invalid(message) => http::refusal_with(StatusCode::BAD_REQUEST, "invalid_body", &message),
        BodyError::TooLarge => too_large(),
        BodyError::Unsupported => unsupported(),
        BodyError::UnknownCoding => {
            let mut answer = unsupported();
            http::add_header(&mut answer, ACCEPT_ENCODING, CODINGS);
            answer
        }
    }
}

/// 503: no room at the moment.
pub fn busy() -> Answer {
    let message = "Unable to take the request at the moment. Please try again.";
    http::unavailable(message, RETRY_AFTER_SECONDS)
}

/// 429: faster than the trigger allows.
pub fn too_many(limit: RateLimit, retry_after: u32) -> Answer {
    let message = format!(
        "This webhook takes {} requests per second. Please retry in {retry_after}s.",
        limit.requests_per_second
    );
    let mut answer = http::refusal_with(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", &message);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    answer
}

/// 404.
pub fn not_found() -> Answer {
    http::refusal(StatusCode::NOT_FOUND, "Webhook not found")
}

/// 413.
pub fn too_large() -> Answer {
    http::refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
}
