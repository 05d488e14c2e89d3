//! The own fields of each kind of event, as JSON. Bodies are shown as JSON when they are, else as base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyway_engine::run::run_state_name;
use keyway_storage::event::{Cause, EventKind, FinalState, LaneId, LetterEnd, Position, RunError, StepInput};
use keyway_storage::place::{RunKey, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::shape::{exit_reason_name, is_json, level_name, source_name, trigger_uuid},
    time::rfc3339,
};

/// The fields of an event.
pub fn of(kind: &EventKind) -> Value {
    match kind {
        EventKind::Opened(it) => json!({ "boot": it.boot }),
        EventKind::ProjectApplied(it) => json!({
            "file": String::from_utf8_lossy(&it.file),
            "made": it.made.iter().map(|made| json!({ "name": &*made.name, "id": uuid(made.id) })).collect::<Vec<_>>(),
        }),
        EventKind::Received(_) | EventKind::DeadLettered(_) | EventKind::DeadLetterClosed(_) => {
            of_input(kind)
        }
        EventKind::TickSkipped(it) => json!({
            "trigger_id": trigger_uuid(it.trigger), "due": rfc3339(it.due), "reason": &*it.reason,
        }),
        EventKind::TriggerSwitched(it) => {
            json!({ "trigger_id": trigger_uuid(it.trigger), "enabled": it.enabled })
        }
        EventKind::ReplayStarted(it) => json!({ "id": uuid(it.id), "filter": body(&it.filter) }),
        EventKind::ReplayEnded(it) => json!({ "id": uuid(it.id), "cancelled": it.cancelled }),
        EventKind::Noticed(it) => {
            json!({ "of": it.of.0, "delivered": it.delivered, "sent": rfc3339(it.sent) })
        }
        EventKind::Carried(it) => json!({
            "key_base64": STANDARD.encode(&it.key), "value_base64": STANDARD.encode(&it.value),
        }),
        EventKind::StepStarted(_) | EventKind::StepFinished(_) | EventKind::LogWritten(_) => of_step(kind),
        _ => of_run(kind),
    }
}

fn of_input(kind: &EventKind) -> Value {
    match kind {
        EventKind::Received(it) => {
            let mut fields = json!({
                "trigger_id": trigger_uuid(it.trigger),
                "project": it.project.0,
                "lane": lane(it.lane),
                "key": it.key.map(|key| format!("{key:016x}")),
                "request": body(&it.request),
                "body": body(&it.body),
                "replays": it.replays.map(|place| format!("{}-{}", place.shard.0, place.offset.0)),
            });
            add_position(&mut fields, &it.position);
            fields
        }
        EventKind::DeadLettered(it) => {
            let mut fields = json!({
                "trigger_id": trigger_uuid(it.trigger),
                "detail": &*it.letter.detail,
                "request": body(&it.letter.request),
                "body_base64": it.letter.raw.as_ref().map(|raw| STANDARD.encode(raw)),
            });
            add_position(&mut fields, &it.position);
            fields
        }
        EventKind::DeadLetterClosed(it) => match &it.end {
            LetterEnd::Replayed { work_order } => json!({
                "letter": it.letter.0, "how": "replayed",
                "work_order": format!("{}-{}", work_order.shard.0, work_order.offset.0),
            }),
            LetterEnd::Discarded { reason } => {
                json!({ "letter": it.letter.0, "how": "discarded", "reason": &**reason })
            }
        },
        _ => json!({}),
    }
}

fn of_run(kind: &EventKind) -> Value {
    match kind {
        EventKind::RunsClaimed(it) => json!({
            "worker": it.worker,
            "until": rfc3339(it.until),
            "runs": it.runs.iter().map(|claimed| {
                json!({ "run": run(claimed.run), "attempt": claimed.attempt, "lane": lane(claimed.lane) })
            }).collect::<Vec<_>>(),
        }),
        EventKind::LeaseExpired(it) => json!({ "run": run(it.run), "attempt": it.attempt }),
        EventKind::RunRequested(it) => json!({
            "run": run(it.run), "project": it.project.0, "start": it.start.map(|job| job.0),
            "input": input(it.input), "origin": it.origin, "lane": lane(it.lane),
        }),
        EventKind::RunStarted(it) => {
            json!({ "run": run(it.run), "attempt": it.attempt, "started": rfc3339(it.started) })
        }
        EventKind::RunFinished(it) => json!({
            "run": run(it.run), "attempt": it.attempt, "state": run_state_name(it.state), "error": error(&it.error),
            "final_state": match &it.final_state {
                FinalState::None => Value::Null,
                FinalState::Step(step) => json!({ "step": step }),
                FinalState::Own(state) => body(state),
            },
            "webhook_response": body(&it.response), "finished": rfc3339(it.finished),
        }),
        EventKind::CancelRequested(it) => json!({ "run": run(it.run) }),
        EventKind::Held(it) => json!({
            "lane": lane(it.lane), "work_order": it.work_order.0,
            "until": (it.until != Timestamp::NEVER).then(|| rfc3339(it.until)),
            "cause": match it.cause { Cause::Retry => "retry", Cause::Blocked => "blocked" },
        }),
        EventKind::Released(it) => {
            json!({ "lane": lane(it.lane), "work_order": it.work_order.0, "skip": it.skip })
        }
        _ => json!({}),
    }
}

fn of_step(kind: &EventKind) -> Value {
    match kind {
        EventKind::StepStarted(it) => json!({
            "run": run(it.run), "attempt": it.attempt, "step": it.step, "job": it.job.0, "input": input(it.input),
            "started": rfc3339(it.started),
        }),
        EventKind::StepFinished(it) => json!({
            "run": run(it.run), "attempt": it.attempt, "step": it.step, "job": it.job.0,
            "exit_reason": exit_reason_name(it.exit), "error": error(&it.error), "output": body(&it.output),
            "finished": rfc3339(it.finished),
        }),
        EventKind::LogWritten(it) => json!({
            "run": run(it.run), "attempt": it.attempt,
            "lines": it.lines.iter().map(|line| json!({
                "step": line.step, "level": level_name(line.level), "source": source_name(line.source),
                "message": &*line.message, "timestamp": rfc3339(line.at),
            })).collect::<Vec<_>>(),
        }),
        _ => json!({}),
    }
}

fn add_position(fields: &mut Value, position: &Position) {
    match position {
        Position::None => {}
        Position::Once { key, window_seconds, .. } => {
            fields["idempotency_key_hash"] = json!(format!("{key:032x}"));
            fields["idempotency_window_seconds"] = json!(window_seconds);
        }
        Position::Next { stream, number } => {
            fields["stream"] = json!(&**stream);
            fields["number"] = json!(number);
        }
    }
}

fn body(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if is_json(bytes) {
        return serde_json::from_slice(bytes).unwrap_or(Value::Null);
    }
    json!({ "base64": STANDARD.encode(bytes) })
}

fn run(run: RunKey) -> Value {
    json!({ "work_order": run.work_order.0, "n": run.n })
}

fn lane(lane: LaneId) -> Value {
    json!({ "owner": format!("{:016x}", lane.owner), "number": lane.number, "key": format!("{:016x}", lane.key) })
}

fn input(input: StepInput) -> Value {
    match input {
        StepInput::Run => json!("run"),
        StepInput::Step(step) => json!({ "output_of": step }),
        StepInput::InputOf(step) => json!({ "input_of": step }),
    }
}

fn error(error: &Option<RunError>) -> Value {
    error.as_ref().map_or(Value::Null, |error| json!({ "type": &*error.kind, "message": &*error.message }))
}

fn uuid(id: [u8; 16]) -> String {
    Uuid::from_bytes(id).to_string()
}
