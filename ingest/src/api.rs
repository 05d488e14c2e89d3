//! The API: what people and scripts read and ask for. Names and shapes are fixed for its users.
//!
//! Invariant: every route stands in `ROUTES`; what is not there is 404, and every error is
//! `{"error": code, "message": sentence}` with the fitting status.

mod access;
mod blocked;
mod bulk;
mod call;
mod cursor;
mod document;
mod error;
mod event;
mod export;
mod health;
mod history;
mod letter;
mod lobby;
mod metrics;
mod page;
mod project;
mod rebuild;
mod replay;
mod request;
mod run;
mod shape;
mod trigger;
mod whole;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Instant,
};

use hyper::{Method, StatusCode};
use keyway_engine::{
    admin::AdminPort,
    catalog::Catalog,
    mailbox::Mailbox,
    project::{Mistake, Reading},
    shard::ShardReader,
};
use keyway_storage::{directory::Manifest, event::MadeId, id::Ids, routes::Routes};
use serde_json::{json, value::RawValue};

use crate::{
    count::AnswerCounts,
    http::{ApiHandler, ApiRequest, ApiResponse},
    notice::NoticeCounts,
    trigger::{
        Sources,
        webhook::{directory::Published, source::Sent},
    },
};

pub use access::Access;
pub use error::ApiError;
pub use export::filter as export_filter;
pub use lobby::Lobby;
pub use page::Values;
pub use replay::{Replays, Site as ReplaySite};

use call::Call;
use document::Document;

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
    /// What the data dir is.
    pub manifest: Manifest,
    /// Which shard owns what.
    pub routes: Routes,
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
    /// What runs each trigger type, in the order of the types.
    pub sources: Vec<Arc<dyn Sources>>,
    /// Dead letters and past events that go through again.
    pub replays: Replays,
    /// Set while the process ends.
    pub draining: Arc<AtomicBool>,
    /// What else is measured.
    pub gauges: Gauges,
    /// What became of warnings.
    pub notices: Arc<NoticeCounts>,
    /// What goes on for longer than one call.
    pub under_way: UnderWay,
}

/// What goes on for longer than one call.
#[derive(Default)]
pub struct UnderWay {
    /// Held while a project file is put into force on one shard after the other.
    applying: Mutex<()>,
    /// What is asked of many at once.
    bulk: Arc<AtomicUsize>,
}

/// Where the metrics read what the API itself does not know.
#[derive(Default, Clone)]
pub struct Gauges {
    /// The mailbox of each shard.
    pub mailboxes: Vec<Arc<Mailbox<Sent>>>,
    /// Answers to webhooks, by door.
    pub answers: Vec<Arc<AnswerCounts>>,
    /// What became of requests to webhooks, by trigger.
    pub webhooks: Arc<Published>,
}

type Reply = Result<(StatusCode, Document), ApiError>;
type Handler = fn(&Call) -> Reply;

/// Every route: method, pattern, handler.
const ROUTES: &[(Method, &str, Handler)] = &[
    (Method::GET, "/api/work_orders", history::list_work_orders),
    (Method::GET, "/api/work_orders/{id}", history::show_work_order),
    (Method::POST, "/api/work_orders/{id}/reruns", request::rerun),
    (Method::GET, "/api/runs", history::list_runs),
    (Method::GET, "/api/runs/{id}", history::show_run),
    (Method::POST, "/api/runs/{id}/cancel", request::cancel),
    (Method::POST, "/api/reruns", bulk::rerun_all),
    (Method::POST, "/api/cancels", bulk::cancel_all),
    (Method::POST, "/api/discards", bulk::discard_all),
    (Method::GET, "/api/log_lines", history::list_log_lines),
    (Method::GET, "/api/triggers", trigger::list_triggers),
    (Method::GET, "/api/triggers/{id}", trigger::show_trigger),
    (Method::POST, "/api/triggers/{id}/enable", trigger::enable_trigger),
    (Method::POST, "/api/triggers/{id}/disable", trigger::disable_trigger),
    (Method::GET, "/api/triggers/{id}/cursor", cursor::show_cursor),
    (Method::PUT, "/api/triggers/{id}/cursor", cursor::set_cursor),
    (Method::DELETE, "/api/triggers/{id}/cursor", cursor::clear_cursor),
    (Method::POST, "/api/triggers/{id}/blocked_keys/{key}/retry", blocked::retry),
    (Method::POST, "/api/triggers/{id}/blocked_keys/{key}/skip", blocked::skip),
    (Method::GET, "/api/events", event::list_events),
    (Method::GET, "/api/events/{id}", event::show_event),
    (Method::GET, "/api/export", export::export),
    (Method::POST, "/api/rebuild", rebuild::rebuild),
    (Method::GET, "/api/dead_letters", letter::list_dead_letters),
    (Method::GET, "/api/dead_letters/{id}", letter::show_dead_letter),
    (Method::POST, "/api/dead_letters/{id}/discard", letter::discard),
    (Method::POST, "/api/dead_letters/{id}/replay", letter::resend),
    (Method::GET, "/api/replays", replay::list_replays),
    (Method::POST, "/api/replays", replay::begin_replay),
    (Method::GET, "/api/replays/{id}", replay::show_replay),
    (Method::POST, "/api/replays/{id}/pause", replay::pause_replay),
    (Method::POST, "/api/replays/{id}/resume", replay::resume_replay),
    (Method::POST, "/api/replays/{id}/cancel", replay::cancel_replay),
    (Method::GET, "/api/status", health::status),
    (Method::GET, "/api/project", project::show_project),
    (Method::PUT, "/api/project", project::apply_project),
    (Method::GET, "/api/openapi.json", openapi),
];

/// The routes as method and pattern, for those who check the description against them.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|(method, pattern, _)| (method.as_str(), *pattern))
}

/// Whether a request brings a project file, which may be larger than what others bring.
pub fn is_project(method: &Method, path: &str) -> bool {
    *method == Method::PUT && path.strip_suffix('/').unwrap_or(path) == "/api/project"
}

fn openapi(_: &Call) -> Reply {
    const TEXT: &str = include_str!("api/openapi.json");
    let document: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(TEXT).map_err(|error| ApiError::internal(error.to_string()))?;
    let add = |all: Document, (name, value): (String, &RawValue)| all.with(&name, value);
    Ok((StatusCode::OK, document.into_iter().fold(Document::default(), add)))
}

impl ApiHandler for Api {
    fn handle(&self, request: ApiRequest) -> ApiResponse {
        // A reader thread answers the next request whatever became of this one.
        let answered = catch_unwind(AssertUnwindSafe(|| self.respond(&request)));
        answered.unwrap_or_else(|_| ApiError::internal("The request could not be answered.").into_response())
    }
}

impl Api {
    fn respond(&self, request: &ApiRequest) -> ApiResponse {
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        match request.path.as_str() {
            "/health/live" if reads => respond(StatusCode::OK, &json!({ "status": "live" })),
            "/health/ready" if reads => health::ready(self),
            "/metrics" if reads => metrics::metrics(self),
            _ => match self.answer(request) {
                Ok((status, body)) => respond(status, &body),
                Err(error) => error.into_response(),
            },
        }
    }

    fn answer(&self, request: &ApiRequest) -> Reply {
        let path = match request.path.as_str() {
            "/" => "/",
            path => path.strip_suffix('/').unwrap_or(path),
        };
        if path == "/api" || path.starts_with("/api/") {
            self.access.check(request)?;
        }
        let mut allowed = Vec::new();
        for (method, pattern, handler) in ROUTES {
            let Some((id, key)) = matches(pattern, path) else { continue };
            if *method == request.method || *method == Method::GET && request.method == Method::HEAD {
                return handler(&Call::new(self, request, id, key));
            }
            allowed.push(method.as_str());
        }
        match path {
            "/health/live" | "/health/ready" | "/metrics" => Err(ApiError::method_not_allowed(path, "GET")),
            _ if allowed.is_empty() => Err(ApiError::not_found(format!("There is nothing at {path}."))),
            _ => Err(ApiError::method_not_allowed(path, &allowed.join(", "))),
        }
    }
}

fn respond(status: StatusCode, body: &impl serde::Serialize) -> ApiResponse {
    let body = serde_json::to_vec(body).expect("what we write has text keys and finite numbers");
    ApiResponse { status, content_type: "application/json; charset=utf-8", headers: Vec::new(), body }
}

/// The segments that stand for `{id}` and `{key}`, if the path fits the pattern; empty when the pattern has none.
fn matches<'p>(pattern: &str, path: &'p str) -> Option<(&'p str, &'p str)> {
    let (mut id, mut key) = ("", "");
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some((id, key)),
            (Some("{id}"), Some(segment)) if !segment.is_empty() => id = segment,
            (Some("{key}"), Some(segment)) if !segment.is_empty() => key = segment,
            (Some(one), Some(other)) if one == other => {}
            _ => return None,
        }
    }
}
