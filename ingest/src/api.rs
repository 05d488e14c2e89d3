//! The API: what people and scripts read and ask for. Names and shapes are fixed for its users.
//!
//! Invariant: every route stands in `ROUTES`; what is not there is 404, and every error is
//! `{"error": code, "message": sentence}` with the fitting status.

mod access;
mod event;
mod health;
mod history;
mod page;
mod project;
mod request;
mod shape;

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use hyper::{Method, StatusCode, header::HeaderName};
use keyway_engine::{
    admin::AdminPort,
    catalog::Catalog,
    command::{Answer, Command},
    project::{Mistake, Project, Reading},
    shard::ShardReader,
};
use keyway_storage::{
    event::{EventKind, MadeId, ProjectApplied},
    id::{Ids, What},
    key::{Key, Tag},
    place::{Offset, Place, ShardId},
    table::{ProjectRow, Table},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{ApiHandler, ApiRequest, ApiResponse};

pub use access::Access;

/// Reads a project file that someone sends.
pub trait ProjectReader: Send + Sync {
    /// The project in these bytes, given the ids that were made before.
    fn read(&self, file: &[u8], made: &[MadeId]) -> Result<Reading, Vec<Mistake>>;
}

/// What the API reads and asks.
pub struct Api {
    /// All shards, in order.
    pub readers: Vec<ShardReader>,
    /// The way to each shard.
    pub ports: Vec<AdminPort>,
    /// Makes and reads ids.
    pub ids: Ids,
    /// The projects of all shards.
    pub catalog: Arc<Catalog>,
    /// Reads project files.
    pub project_reader: Box<dyn ProjectReader>,
    /// Who may ask.
    pub access: Access,
    /// Where webhooks are called, once the doors are open.
    pub public_url: OnceLock<String>,
    /// Whether the server was started with a project file, which wins at the next start.
    pub has_project_file: bool,
    /// When the process started.
    pub started: Instant,
    /// Whether Kafka triggers are switched on.
    pub kafka_enabled: bool,
    /// Set while the process ends.
    pub draining: Arc<std::sync::atomic::AtomicBool>,
}

/// An error on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Option<Value>,
}

type Reply = Result<(StatusCode, Value), ApiError>;
type Handler = fn(&Api, &Call) -> Reply;

/// A request that was routed.
pub struct Call {
    request: ApiRequest,
    /// The segments that stand for `{}` in the pattern.
    segments: Vec<String>,
}

/// Every route: method, pattern, handler.
const ROUTES: &[(Method, &str, Handler)] = &[
    (Method::GET, "/api/work_orders", history::list_work_orders),
    (Method::GET, "/api/work_orders/{}", history::show_work_order),
    (Method::POST, "/api/work_orders/{}/reruns", request::rerun),
    (Method::GET, "/api/runs", history::list_runs),
    (Method::GET, "/api/runs/{}", history::show_run),
    (Method::POST, "/api/runs/{}/cancel", request::cancel),
    (Method::GET, "/api/log_lines", history::list_log_lines),
    (Method::GET, "/api/triggers", project::list_triggers),
    (Method::GET, "/api/triggers/{}", project::show_trigger),
    (Method::POST, "/api/triggers/{}/enable", project::enable_trigger),
    (Method::POST, "/api/triggers/{}/disable", project::disable_trigger),
    (Method::GET, "/api/events", event::list_events),
    (Method::GET, "/api/events/{}", event::show_event),
    (Method::GET, "/api/dead_letters", event::list_dead_letters),
    (Method::GET, "/api/dead_letters/{}", event::show_dead_letter),
    (Method::POST, "/api/dead_letters/{}/discard", request::discard),
    (Method::GET, "/api/status", health::status),
    (Method::GET, "/api/project", project::show_project),
    (Method::PUT, "/api/project", project::apply_project),
    (Method::GET, "/api/openapi.json", openapi),
];

/// The routes as method and pattern, for those who check the description against them.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|(method, pattern, _)| (method.as_str(), *pattern))
}

fn openapi(_: &Api, _: &Call) -> Reply {
    let text = include_str!("api/openapi.json");
    let document = serde_json::from_str(text).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok((StatusCode::OK, document))
}

impl ApiHandler for Api {
    fn handle(&self, request: ApiRequest) -> ApiResponse {
        if request.method == Method::GET || request.method == Method::HEAD {
            match request.path.as_str() {
                "/health/ready" => return health::ready(self),
                "/metrics" => return health::metrics(self),
                _ => {}
            }
        }
        match self.answer(request) {
            Ok((status, body)) => respond(status, &body, Vec::new()),
            Err(error) => error.into_response(),
        }
    }
}

impl Api {
    fn answer(&self, request: ApiRequest) -> Reply {
        let path = request.path.trim_end_matches('/').to_owned();
        if path == "/api" || path.starts_with("/api/") {
            self.access.check(&request)?;
        }
        let mut allowed = Vec::new();
        for (method, pattern, handler) in ROUTES {
            let Some(segments) = matches(pattern, &path) else { continue };
            if *method == request.method || *method == Method::GET && request.method == Method::HEAD {
                return handler(self, &Call { request, segments });
            }
            allowed.push(method.as_str());
        }
        if allowed.is_empty() {
            return Err(ApiError::not_found(format!("There is nothing at {path}.")));
        }
        let message = format!("{path} takes {}.", allowed.join(" and "));
        Err(ApiError {
            more: Some(json!(allowed.join(", "))),
            ..ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
    }

    fn reader(&self, shard: ShardId) -> Option<&ShardReader> {
        self.readers.iter().find(|reader| reader.shard == shard)
    }

    fn ask(&self, shard: ShardId, command: Command) -> Result<Answer, ApiError> {
        let port =
            self.ports.get(usize::from(shard.0)).ok_or_else(|| ApiError::not_found("No such shard."))?;
        port.ask(command).map_err(|error| {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", error.to_string())
        })
    }

    /// The place that an id names, if it is one of ours and of this kind, and the event is there and of its time.
    fn locate(&self, id: &str, fits: impl Fn(What) -> bool) -> Result<(What, Place, &ShardReader), ApiError> {
        let missing = || ApiError::not_found(format!("There is nothing with the id {id}."));
        let uuid = Uuid::try_parse(id).map_err(|_| missing())?;
        let decoded = self.ids.decode(uuid).filter(|decoded| fits(decoded.what)).ok_or_else(missing)?;
        let reader = self.reader(decoded.place.shard).ok_or_else(missing)?;
        let block = reader.log.block(decoded.place.offset)?.ok_or_else(missing)?;
        if block.at().millis() != decoded.millis {
            return Err(missing());
        }
        Ok((decoded.what, decoded.place, reader))
    }

    /// The project in force, as the first shard has it, with where it was applied.
    fn current(&self) -> Result<Option<(Arc<Project>, ProjectApplied)>, ApiError> {
        let Some(first) = self.readers.first() else { return Ok(None) };
        let Some(row) = first.state.get(&Key::new(Tag::Project))? else { return Ok(None) };
        let offset = ProjectRow::from_value(&row).map_err(keyway_storage::error::ReadError::from)?.offset;
        let Some(event) = first.log.event(offset)? else { return Ok(None) };
        let EventKind::ProjectApplied(applied) = event.kind else { return Ok(None) };
        Ok(self.catalog.get(first.shard, offset).map(|project| (project, applied)))
    }

    fn project_at(&self, shard: ShardId, offset: Offset) -> Option<Arc<Project>> {
        self.catalog.get(shard, offset)
    }
}

impl Call {
    fn id(&self) -> &str {
        &self.segments[0]
    }

    /// A query parameter.
    fn param(&self, name: &str) -> Option<String> {
        let found = form_urlencoded::parse(self.request.query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
    }

    /// Whether `include=` names this.
    fn includes(&self, what: &str) -> bool {
        self.param("include").is_some_and(|list| list.split(',').any(|item| item.trim() == what))
    }

    /// The body as a JSON object; an empty body is an empty one.
    fn body(&self) -> Result<Value, ApiError> {
        if self.request.body.is_empty() {
            return Ok(json!({}));
        }
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}.")))?;
        if body.is_object() {
            Ok(body)
        } else {
            Err(ApiError::bad_request("The body must be a JSON object."))
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), more: None }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_parameter", message)
    }

    fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    fn into_response(self) -> ApiResponse {
        let mut headers = Vec::new();
        let mut body = json!({ "error": self.code, "message": self.message });
        match self.more {
            Some(Value::String(allow)) => headers.push((HeaderName::from_static("allow"), allow)),
            Some(Value::Array(mistakes)) => body["mistakes"] = Value::Array(mistakes),
            _ => {}
        }
        respond(self.status, &body, headers)
    }
}

impl From<keyway_storage::error::ReadError> for ApiError {
    fn from(error: keyway_storage::error::ReadError) -> Self {
        Self::internal(error.to_string())
    }
}

fn respond(status: StatusCode, body: &Value, headers: Vec<(HeaderName, String)>) -> ApiResponse {
    let body = body.to_string().into_bytes();
    ApiResponse { status, content_type: "application/json; charset=utf-8", headers, body }
}

/// The segments that stand for `{}`, if the path fits the pattern.
fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(segments),
            (Some("{}"), Some(segment)) if !segment.is_empty() => segments.push(segment.to_owned()),
            (Some(one), Some(other)) if one == other => {}
            _ => return None,
        }
    }
}
