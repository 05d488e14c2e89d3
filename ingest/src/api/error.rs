//! An error on its way to the caller: its status, its code, its sentence.

use super::{Document, respond};
use crate::{http::ApiResponse, time::rfc3339};
use hyper::{
    StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use keyway_engine::{
    admin::AskError,
    command::{Answer, Refusal},
    project::Mistake,
};
use keyway_storage::{
    error::{Damage, ReadError},
    limits::RETRY_AFTER_SECONDS,
    place::Timestamp,
};

/// Why a request was refused.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    allow: Option<String>,
    mistakes: Option<Vec<Mistake>>,
}

impl ApiError {
    /// An error with this status and code.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None, mistakes: None }
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 400: the body is not what it must be.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 422: a parameter is not what it must be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_parameter", message)
    }

    /// 409.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 409: what a rerun needs was wiped.
    pub(super) fn wiped(at: Timestamp) -> Self {
        let at = rfc3339(at);
        let message = format!("The input was wiped at {at}: what is gone from the disk cannot be run again.");
        Self::new(StatusCode::CONFLICT, "wiped", message)
    }

    /// 500.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message)
    }

    /// 405, with the methods that there are.
    pub(super) fn method_not_allowed(path: &str, allow: &str) -> Self {
        let message = format!("{path} takes {allow}.");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Self { allow: Some(allow.to_owned()), ..error }
    }

    /// 422, with every mistake in a project file.
    pub(super) fn invalid_project(mistakes: &[Mistake]) -> Self {
        let message = match mistakes {
            [one] => format!("The project file is not valid: {}.", one.message),
            many => format!("The project file has {} mistakes.", many.len()),
        };
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_project", message);
        Self { mistakes: Some(mistakes.to_vec()), ..error }
    }

    /// What a refused command means to whoever asked.
    pub(super) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownTrigger | Refusal::NotFound => Self::not_found("It is not there."),
            Refusal::Ended => Self::conflict("The run has ended already."),
            Refusal::Open => Self::conflict("The work order has a run that has not ended."),
            Refusal::TooManyRuns => Self::conflict("The work order has as many runs as it may have."),
            Refusal::Disabled => Self::conflict("The trigger is disabled."),
            Refusal::KeyReused => Self::conflict("The idempotency key came before with another body."),
            Refusal::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "It is too large for one turn.")
            }
            Refusal::Full => Self::unavailable("A bound is reached or the disk is full. Try again later."),
        }
    }

    /// What an answer means that is not the one that was hoped for.
    pub(super) fn unexpected(answer: Answer) -> Self {
        match answer {
            Answer::Refused(refusal) => Self::refused(refusal),
            other => Self::internal(format!("The shard gave an answer to something else: {other:?}.")),
        }
    }

    pub(super) fn into_response(self) -> ApiResponse {
        let mut body = Document::default().with("error", self.code).with("message", &self.message);
        if let Some(mistakes) = &self.mistakes {
            body = body.with("mistakes", mistakes);
        }
        let mut response = respond(self.status, &body);
        response.headers.extend(self.allow.map(|allow| (ALLOW, allow)));
        match self.status {
            StatusCode::UNAUTHORIZED => response.headers.push((WWW_AUTHENTICATE, "Bearer".to_owned())),
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers.push((RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
            }
            _ => {}
        }
        response
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        // As `keyway validate` prints them.
        self.mistakes.iter().flatten().try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl std::error::Error for ApiError {}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "the API met something that it could not read");
        Self::internal(format!("Something could not be read: {error}."))
    }
}

impl From<Damage> for ApiError {
    fn from(damage: Damage) -> Self {
        ReadError::from(damage).into()
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        Self::unavailable(error.to_string())
    }
}
