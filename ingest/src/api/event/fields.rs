//! The own fields of each kind of event. Bodies are shown as the JSON that they are, else as base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyway_engine::{project::Workflow, retention::Bound, run::run_state_name, state::Part};
use keyway_storage::{
    event::{
        Cause, CursorFate, CursorSet, CursorState, DeadLettered, Event, EventKind, FinalState, LaneId,
        LetterEnd, MoveReason, Position, Received, RunError, RunFinished, RunRequested, RunsClaimed,
        StepFinished, StepInput, TriggerSchedule, Wiped,
    },
    id::What,
    place::{Offset, Place, RunKey, Timestamp},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::{
        ApiError,
        call::Call,
        document::Document,
        run::run_id_at,
        shape::{exit_reason_name, level_name, reason_name, source_name, trigger_uuid},
    },
    notice::concern_name,
    time::rfc3339,
};

/// Adds the own fields of an event.
pub fn add(document: Document, call: &Call, event: &Event) -> Result<Document, ApiError> {
    let ids = Ids { call, place: event.place };
    Ok(match &event.kind {
        EventKind::Received(it) => received(document, &ids, event.at, it),
        EventKind::DeadLettered(it) => dead_lettered(document, &ids, event.at, it),
        EventKind::DeadLetterClosed(it) => document
            .with("dead_letter_id", ids.at(What::DeadLetter, it.letter)?)
            .with("end", letter_end(&ids, &it.end)?),
        EventKind::BulkStarted(it) => {
            document.with("id", uuid(it.id)).with("deed", json!(it.deed)).with("count", it.of.len())
        }
        EventKind::BulkEnded(it) => document.with("id", uuid(it.id)),
        EventKind::RunsClaimed(it) => runs_claimed(document, &ids, it)?,
        EventKind::LeaseExpired(it) => document.with("run_id", ids.run(it.run)?).with("attempt", it.attempt),
        EventKind::LeaseReturned(it) => document.with("run_id", ids.run(it.run)?).with("attempt", it.attempt),
        EventKind::RunRequested(it) => run_requested(document, &ids, it)?,
        EventKind::RunStarted(it) => document
            .with("run_id", ids.run(it.run)?)
            .with("attempt", it.attempt)
            .with("started", rfc3339(it.started))
            .with("cursor", it.cursor.map(|offset| offset.0)),
        EventKind::RunFinished(it) => run_finished(document, &ids, it)?,
        EventKind::StepStarted(it) => document
            .with("run_id", ids.run(it.run)?)
            .with("attempt", it.attempt)
            .with("step", it.step)
            .with("job", it.job.0)
            .with("input", input(it.input))
            .with("started", rfc3339(it.started)),
        EventKind::StepFinished(it) => step_finished(document, &ids, it)?,
        EventKind::LogWritten(it) => {
            let line = |line: &keyway_storage::event::LogLine| {
                json!({
                    "step": line.step,
                    "level": level_name(line.level),
                    "source": source_name(line.source),
                    "timestamp": rfc3339(line.at),
                    "message": &*line.message,
                })
            };
            document
                .with("run_id", ids.run(it.run)?)
                .with("attempt", it.attempt)
                .with("lines", it.lines.iter().map(line).collect::<Vec<_>>())
        }
        EventKind::CancelRequested(it) => document.with("run_id", ids.run(it.run)?),
        EventKind::Held(it) => document
            .with("lane", lane(it.lane))
            .with("work_order_id", ids.at(What::WorkOrder, it.work_order)?)
            .with("until", (it.until != Timestamp::NEVER).then(|| rfc3339(it.until)))
            .with("cause", cause(&it.cause)),
        EventKind::Released(it) => document
            .with("lane", lane(it.lane))
            .with("work_order_id", ids.at(What::WorkOrder, it.work_order)?)
            .with("skip", it.skip),
        EventKind::Warned(it) => document
            .with("trigger_id", it.trigger.map(trigger_uuid))
            .with("concern", concern_name(it.concern))
            .with("work_order_id", it.work_order.map(|at| ids.at(What::WorkOrder, at)).transpose()?.flatten())
            .with("message", &*it.message),
        EventKind::CursorSet(it) => cursor_set(document, &ids, it)?,
        EventKind::Wiped(it) => wiped(document, call, it)?,
        _ => system(document, &event.kind),
    })
}

/// What concerns the log as a whole.
fn system(document: Document, kind: &EventKind) -> Document {
    match kind {
        EventKind::Opened(it) => document.with("boot", it.boot),
        EventKind::ProjectApplied(it) => {
            let made = it.made.iter().map(|made| json!({ "name": &*made.name, "id": uuid(made.id) }));
            document.with("file", String::from_utf8_lossy(&it.file)).with("made", made.collect::<Vec<_>>())
        }
        EventKind::TriggerSwitched(it) => {
            document.with("trigger_id", trigger_uuid(it.trigger)).with("enabled", it.enabled)
        }
        EventKind::StreamMoved(it) => document
            .with("trigger_id", trigger_uuid(it.trigger))
            .with("stream", &*it.stream)
            .with("from", it.from)
            .with("next", it.next)
            .with("reason", move_reason(it.reason)),
        EventKind::TickSkipped(it) => document
            .with("trigger_id", trigger_uuid(it.trigger))
            .with("due", rfc3339(it.due))
            .with("reason", &*it.reason),
        EventKind::ReplayStarted(it) => {
            document.with("replay_id", uuid(it.id)).with_text("filter", &it.filter)
        }
        EventKind::ReplaySwitched(it) => document.with("replay_id", uuid(it.id)).with("paused", it.paused),
        EventKind::ReplayItemFailed(it) => document
            .with("replay_id", uuid(it.id))
            .with("item", format!("{}-{}", it.item.shard.0, it.item.offset.0))
            .with("reason", &*it.reason),
        EventKind::ReplayFailed(it) => document.with("replay_id", uuid(it.id)).with("reason", &*it.reason),
        EventKind::ReplayEnded(it) => document.with("replay_id", uuid(it.id)).with("cancelled", it.cancelled),
        EventKind::Noticed(it) => {
            document.with("of", it.of.0).with("delivered", it.delivered).with("sent", rfc3339(it.sent))
        }
        EventKind::SchedulesSet(it) => {
            let schedule = |it: &TriggerSchedule| {
                let schedule = it.schedule.map(|schedule| format!("{schedule:016x}"));
                json!({ "trigger_id": trigger_uuid(it.trigger), "schedule": schedule })
            };
            document.with("schedules", it.schedules.iter().map(schedule).collect::<Vec<_>>())
        }
        EventKind::HistoryCut(it) => document
            .with("work_orders", it.orders().map(|offset| offset.0).collect::<Vec<_>>())
            .with("dead_letters", it.letters.iter().map(|offset| offset.0).collect::<Vec<_>>()),
        EventKind::HistoryTrimmed(it) => {
            document.with("before", it.before.0).with("cut_events", it.events).with("cut_bytes", it.bytes)
        }
        EventKind::ClockSet(it) => document.with("wall", rfc3339(it.wall)),
        EventKind::Carried(it) => document
            .with("key_base64", STANDARD.encode(&it.key))
            .with("value_base64", STANDARD.encode(&it.value)),
        _ => document,
    }
}

/// Makes the ids of what an event names.
struct Ids<'a> {
    call: &'a Call<'a>,
    place: Place,
}

impl Ids<'_> {
    /// The id of something that the event at this offset of the same shard made.
    fn at(&self, what: What, offset: Offset) -> Result<Option<String>, ApiError> {
        let place = Place { offset, ..self.place };
        let block = self.call.reader(place.shard)?.log.block(offset)?;
        Ok(block.map(|block| self.call.api.ids.encode(what, place, block.at()).to_string()))
    }

    fn run(&self, run: RunKey) -> Result<Option<String>, ApiError> {
        self.at(What::Run(run.n), run.work_order)
    }
}

fn received(document: Document, ids: &Ids, at: Timestamp, it: &Received) -> Document {
    let project = ids.call.project_at(ids.place.shard, it.project);
    let workflow = project.as_ref().and_then(|project| project.workflow(it.workflow));
    let document = document
        .with("work_order_id", ids.call.api.ids.work_order(ids.place, at).to_string())
        .with("run_id", run_id_at(ids.call, ids.place, at, 1))
        .with("trigger_id", trigger_uuid(it.trigger))
        .with("workflow", workflow.map(|workflow| workflow.key.as_str()))
        .with("project", it.project.0)
        .with("lane", lane(it.lane))
        .with("key", it.key.map(|key| format!("{key:016x}")));
    position(document, &it.position, &it.request)
        .with("replays", it.replays.map(|place| format!("{}-{}", place.shard.0, place.offset.0)))
        .with_text("request", &it.request)
        .with_text("body", &it.body)
}

fn dead_lettered(document: Document, ids: &Ids, at: Timestamp, it: &DeadLettered) -> Document {
    let document = document
        .with("dead_letter_id", ids.call.api.ids.encode(What::DeadLetter, ids.place, at).to_string())
        .with("trigger_id", trigger_uuid(it.trigger))
        .with("reason", reason_name(it.letter.reason))
        .with("detail", &*it.letter.detail);
    position(document, &it.position, &it.letter.request)
        .with_text("request", &it.letter.request)
        .with("body_base64", it.letter.raw.as_ref().map(|raw| STANDARD.encode(raw)))
}

fn letter_end(ids: &Ids, end: &LetterEnd) -> Result<Value, ApiError> {
    Ok(match end {
        LetterEnd::Discarded { reason } => json!({ "how": "discarded", "reason": &**reason }),
        LetterEnd::Replayed { work_order } => {
            let ids = Ids { place: *work_order, ..*ids };
            json!({ "how": "replayed", "work_order_id": ids.at(What::WorkOrder, work_order.offset)? })
        }
    })
}

fn runs_claimed(document: Document, ids: &Ids, it: &RunsClaimed) -> Result<Document, ApiError> {
    let mut runs = Vec::new();
    for claimed in &it.runs {
        let run_id = ids.run(claimed.run)?;
        runs.push(json!({ "run_id": run_id, "attempt": claimed.attempt, "lane": lane(claimed.lane) }));
    }
    Ok(document.with("worker", it.worker).with("until", rfc3339(it.until)).with("runs", runs))
}

fn run_requested(document: Document, ids: &Ids, it: &RunRequested) -> Result<Document, ApiError> {
    Ok(document
        .with("work_order_id", ids.at(What::WorkOrder, it.run.work_order)?)
        .with("run_id", ids.run(it.run)?)
        .with("project", it.project.0)
        .with("start", it.start.map(|job| job.0))
        .with("input", input(it.input))
        .with("origin", it.origin)
        .with("lane", lane(it.lane))
        .with("key", it.key.map(|key| format!("{key:016x}"))))
}

fn run_finished(document: Document, ids: &Ids, it: &RunFinished) -> Result<Document, ApiError> {
    let document = document
        .with("run_id", ids.run(it.run)?)
        .with("attempt", it.attempt)
        .with("state", run_state_name(it.state))
        .with("error", error(&it.error));
    let document = match &it.final_state {
        FinalState::None => document.with("final_state", Value::Null),
        FinalState::Step(step) => document.with("final_state", json!({ "step": step })),
        FinalState::Own(state) => document.with_text("final_state", state),
    };
    Ok(document.with_text("webhook_response", &it.response).with("finished", rfc3339(it.finished)))
}

fn step_finished(document: Document, ids: &Ids, it: &StepFinished) -> Result<Document, ApiError> {
    Ok(document
        .with("run_id", ids.run(it.run)?)
        .with("attempt", it.attempt)
        .with("step", it.step)
        .with("job", it.job.0)
        .with("exit_reason", exit_reason_name(it.exit))
        .with("error", error(&it.error))
        .with_text("output", &it.output)
        .with("finished", rfc3339(it.finished)))
}

fn cursor_set(document: Document, ids: &Ids, it: &CursorSet) -> Result<Document, ApiError> {
    let fate = match it.fate {
        CursorFate::Kept => "kept",
        CursorFate::Warned => "warned",
        CursorFate::TooLarge => "too_large",
    };
    let document = document
        .with("trigger_id", trigger_uuid(it.trigger))
        .with("run_id", it.run.map(|run| ids.run(run)).transpose()?.flatten())
        .with("bytes", it.bytes)
        .with("cursor", fate)
        .with("limit_bytes", (it.limit_bytes > 0).then_some(it.limit_bytes));
    Ok(match &it.state {
        CursorState::None => document.with("state", Value::Null),
        CursorState::At(offset) => {
            document.with("state", json!({ "event": format!("{}-{}", ids.place.shard.0, offset.0) }))
        }
        CursorState::Own(state) => document.with_text("state", state),
    })
}

/// What makes the input the same when it comes again; Kafka's messages carry theirs as their metadata.
fn position(document: Document, position: &Position, request: &[u8]) -> Document {
    match position {
        Position::None => document,
        Position::Once { key, window_seconds, .. } => document
            .with("idempotency_key_hash", format!("{key:032x}"))
            .with("idempotency_window_seconds", window_seconds),
        Position::Next { stream, number } => {
            let document = document.with("stream", &**stream).with("number", number);
            if Part::of(position).is_some() {
                return replayed(document, request);
            }
            // Topic, topic's id and partition: a message of Kafka.
            let partition = |text: &str| text.parse::<i32>().ok();
            match stream.split('/').collect::<Vec<_>>()[..] {
                [topic, _, number_of] if partition(number_of).is_some() => document
                    .with("topic", topic)
                    .with("partition", partition(number_of))
                    .with("kafka_offset", number),
                _ => document,
            }
        }
    }
}

/// Where a message of Kafka stood that went through again: its position is that of the replay, its metadata is its own.
fn replayed(document: Document, request: &[u8]) -> Document {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    if !request["topic"].is_string() {
        return document;
    }
    document
        .with("topic", &request["topic"])
        .with("partition", &request["partition"])
        .with("kafka_offset", &request["offset"])
}

/// What was wiped, and what bounded it.
fn wiped(document: Document, call: &Call, it: &Wiped) -> Result<Document, ApiError> {
    let document =
        document.with("content", it.content.name()).with("kept_seconds", Bound::seconds(it.seconds));
    let document = match Bound::is_of_workflow(it.seconds) {
        true => {
            let project = call.current()?;
            let of = |workflow: &&Workflow| Bound::Workflow(workflow.id).number() == it.seconds;
            let workflow = project.iter().flat_map(|project| &project.workflows).find(of);
            document.with("bounded_by", "workflow_bytes").with("workflow", workflow.map(|it| it.key.as_str()))
        }
        false if Bound::seconds(it.seconds).is_some() => document.with("bounded_by", "seconds"),
        false => document.with("bounded_by", "project_bytes"),
    };
    let document = document.with("before", it.before.0);
    Ok(document.with("wiped_events", it.events).with("wiped_bytes", it.bytes))
}

fn lane(lane: LaneId) -> Value {
    let (owner, key) = (format!("{:016x}", lane.owner), format!("{:016x}", lane.key));
    json!({ "owner": owner, "number": lane.number, "key": key })
}

fn input(input: StepInput) -> Value {
    match input {
        StepInput::Run => json!("run"),
        StepInput::Step(step) => json!({ "output_of": step }),
        StepInput::InputOf(step) => json!({ "input_of": step }),
    }
}

fn move_reason(reason: MoveReason) -> &'static str {
    match reason {
        MoveReason::Started => "started",
        MoveReason::Gap => "gap",
        MoveReason::Truncated => "truncated",
        MoveReason::Recreated => "recreated",
        MoveReason::Owned => "owned",
    }
}

fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::Retry => "retry",
        Cause::Blocked => "blocked",
    }
}

fn error(error: &Option<RunError>) -> Value {
    error.as_ref().map_or(Value::Null, |error| json!({ "type": &*error.kind, "message": &*error.message }))
}

fn uuid(id: [u8; 16]) -> String {
    Uuid::from_bytes(id).to_string()
}
