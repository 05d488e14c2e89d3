//! Replays: dead letters and past events that go through again, as new work orders.

mod filter;
pub mod item;
mod plan;
pub mod range;
pub mod replays;
mod runner;

use hyper::StatusCode;
use keyway_engine::{
    command::{Refusal, ReplayId},
    view::replay::{ReplayRows, replay, replays},
};
use keyway_storage::{
    event::{Event, EventKind},
    id::What,
    table::ReplayState,
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    ApiError, Reply,
    call::{Call, current, uuid_of},
    document::Document,
    page::Asked,
    shape::{moment, reason_name, trigger_uuid},
};
use crate::time::rfc3339;

use filter::KEYS;
use plan::Plan;
use replays::{ReplayError, state_of};
pub use replays::{Replays, Site};

/// `POST /api/replays`.
pub fn begin_replay(call: &Call) -> Reply {
    let mut asked = call.body(&[KEYS, &["dry_run"]].concat())?;
    let dry_run = match asked.remove("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(ApiError::invalid("`dry_run` must be true or false.")),
    };
    let project = current(&call.readers, &call.api.catalog)?.unwrap_or_default();
    let (plan, sample) = Plan::new(asked, &call.readers, &project)?;
    if dry_run {
        let sample: Vec<_> = sample.iter().map(|event| call.sample_item(event)).collect();
        let attributes = Document::default()
            .with("state", "done")
            .with("matched", plan.matched)
            .with("replayed", 0)
            .with("failed", 0)
            .with("dry_run", true)
            .with("sample", sample);
        let item = Document::default().with("type", "replays").with("id", Value::Null);
        return Ok((StatusCode::ACCEPTED, Document::data(item.with("attributes", attributes))));
    }
    let id = Uuid::new_v4().into_bytes();
    call.api.replays.begin(id, &plan.to_log())?;
    let call = call.again();
    Ok((StatusCode::ACCEPTED, Document::data(replay_item(id, &replay(&call.readers, id)?)?)))
}

/// `GET /api/replays`.
pub fn list_replays(call: &Call) -> Reply {
    let asked = Asked::read(call)?;
    let mut all: Vec<_> = replays(&call.readers)?.into_iter().collect();
    all.retain(|(_, rows)| state_of(rows).is_some());
    all.sort_by_key(|(id, rows)| std::cmp::Reverse((rows[0].as_ref().map(|row| row.begun), *id)));
    let begin = match call.param("after") {
        None => 0,
        Some(after) => {
            let id = replay_named(&after)?;
            all.iter().position(|(known, _)| *known == id).ok_or_else(|| no_replay(&after))? + 1
        }
    };
    let (page, is_last) = asked.cut(&all, begin);
    let data = page.iter().map(|(id, rows)| replay_item(*id, rows)).collect::<Result<Vec<_>, _>>()?;
    let next = page.last().filter(|_| !is_last).map(|(id, _)| Uuid::from_bytes(*id).to_string());
    Ok((StatusCode::OK, asked.list(call, &data, next)))
}

/// `GET /api/replays/ID`.
pub fn show_replay(call: &Call) -> Reply {
    let id = replay_named(call.id)?;
    let rows = replay(&call.readers, id)?;
    state_of(&rows).ok_or_else(|| no_replay(call.id))?;
    Ok((StatusCode::OK, Document::data(replay_item(id, &rows)?)))
}

/// `POST /api/replays/ID/pause`.
pub fn pause_replay(call: &Call) -> Reply {
    moved(call, Replays::pause)
}

/// `POST /api/replays/ID/resume`.
pub fn resume_replay(call: &Call) -> Reply {
    moved(call, Replays::resume)
}

/// `POST /api/replays/ID/cancel`.
pub fn cancel_replay(call: &Call) -> Reply {
    moved(call, Replays::cancel)
}

fn moved(call: &Call, to: fn(&Replays, ReplayId) -> Result<(), ReplayError>) -> Reply {
    call.body(&[])?;
    let id = replay_named(call.id)?;
    match to(&call.api.replays, id) {
        Ok(()) => show_replay(&call.again()),
        Err(ReplayError::Refused(Refusal::NotFound)) => Err(no_replay(call.id)),
        Err(ReplayError::Refused(Refusal::Ended)) => Err(ApiError::conflict("The replay has ended already.")),
        Err(error) => Err(error.into()),
    }
}

fn replay_named(id: &str) -> Result<ReplayId, ApiError> {
    uuid_of(id).map(Uuid::into_bytes).ok_or_else(|| no_replay(id))
}

fn no_replay(id: &str) -> ApiError {
    ApiError::not_found(format!("There is no replay with the id {id}."))
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Refused(refusal) => Self::refused(refusal),
            ReplayError::Read(error) => error.into(),
            other => Self::unavailable(other.to_string()),
        }
    }
}

fn replay_item(id: ReplayId, rows: &ReplayRows) -> Result<Document, ApiError> {
    let gone = || ApiError::internal("The replay is not there.");
    let (state, head) = (state_of(rows).ok_or_else(gone)?, rows[0].as_ref().ok_or_else(gone)?);
    let plan = Plan::of_log(&head.filter)?;
    let sum =
        |count: fn(&keyway_storage::table::ReplayRow) -> u64| rows.iter().flatten().map(count).sum::<u64>();
    let is_open = matches!(state, ReplayState::Running | ReplayState::Paused);
    let ended = rows.iter().flatten().filter_map(|row| row.ended).max().filter(|_| !is_open);
    let mut filters = plan.asked;
    let from = filters.remove("from");
    let rate = filters.remove("rate_per_second");
    let attributes = Document::default()
        .with("state", state_name(state))
        .with("from", from)
        .with("matched", plan.matched)
        .with("replayed", sum(|row| row.replayed))
        .with("failed", sum(|row| row.failed))
        .with("rate_per_second", rate)
        .with("inserted_at", rfc3339(head.begun))
        .with("finished_at", moment(ended))
        .with("error_message", rows.iter().flatten().find_map(|row| row.reason.as_deref()))
        .with("filters", filters);
    Ok(Document::item("replays", Uuid::from_bytes(id), &attributes))
}

fn state_name(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Paused => "paused",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
        ReplayState::Failed => "failed",
    }
}

impl Call<'_> {
    /// One of the items that a dry run shows.
    fn sample_item(&self, event: &Event) -> Document {
        let ids = &self.api.ids;
        let document = Document::default().with("inserted_at", rfc3339(event.at));
        match &event.kind {
            EventKind::DeadLettered(it) => document
                .with("dead_letter_id", ids.encode(What::DeadLetter, event.place, event.at).to_string())
                .with("trigger_id", trigger_uuid(it.trigger))
                .with("reason", reason_name(it.letter.reason)),
            EventKind::Received(it) => document
                .with("work_order_id", ids.work_order(event.place, event.at).to_string())
                .with("trigger_id", trigger_uuid(it.trigger)),
            _ => document,
        }
    }
}
