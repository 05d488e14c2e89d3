//! Rebuild on a running server: the views are dropped and derived anew, a slice in each turn.
//!
//! Invariant: nothing that is decided depends on views, so inputs are taken and runs go on meanwhile; lists say how many
//! events they lack.

use hyper::StatusCode;
use keyway_engine::command::{Answer, Command};
use serde_json::json;

use super::{ApiError, Reply, call::Call, document::Document};

/// `POST /api/rebuild`: begins; `GET /api/status` says how far each shard is.
pub fn rebuild(call: &Call) -> Reply {
    let body = call.body(&["what"])?;
    match body.get("what").and_then(|what| what.as_str()) {
        Some("views") => {}
        Some("state" | "all") => {
            let message =
                "Deciding reads the state in every turn: stop the server and rebuild it with --data-dir.";
            return Err(ApiError::conflict(message));
        }
        _ => return Err(ApiError::invalid("`what` must be `views`.")),
    }
    for reader in &call.readers {
        match call.ask(reader.shard, Command::Rebuild)? {
            Answer::Done => {}
            other => return Err(ApiError::unexpected(other)),
        }
    }
    Ok((StatusCode::ACCEPTED, Document::data(json!({ "what": "views", "state": "running" }))))
}
