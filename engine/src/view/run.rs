//! A run as the log tells it: its report events, its steps, its initial state.

use bytes::{Bytes, BytesMut};
use keyway_storage::{
    error::ReadError,
    event::{
        Event, EventKind, Received, RunRequested, StepFinished, StepInput, StepStarted, wiped_at, wiped_mark,
    },
    place::{Offset, RunKey},
    table::{Bitmap, report_key},
};

use super::begin::{began_with, state_at};
use crate::shard::ShardReader;

/// The events that report on a run, in order. The views may lag behind the newest by a turn.
pub fn report(reader: &ShardReader, run: RunKey) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for row in reader.views.scan(report_key(run, 0), report_key(run, u64::MAX)) {
        let (key, value) = row?;
        let bucket = key.last_u64();
        for offset in Bitmap::from_value(&value)?.offsets(bucket) {
            events.extend(reader.log.event(offset)?);
        }
    }
    Ok(events)
}

/// The `Received` of a work order.
pub fn received(reader: &ShardReader, work_order: Offset) -> Result<Option<(Event, Received)>, ReadError> {
    Ok(match reader.log.event(work_order)? {
        Some(event) => match event.kind.clone() {
            EventKind::Received(received) => Some((event, received)),
            _ => None,
        },
        None => None,
    })
}

/// The `RunRequested` at an offset.
pub fn requested(reader: &ShardReader, offset: Offset) -> Result<Option<RunRequested>, ReadError> {
    Ok(reader.log.event(offset)?.and_then(|event| match event.kind {
        EventKind::RunRequested(requested) => Some(requested),
        _ => None,
    }))
}

/// A run's initial state: `{"data": body, "request": request}`, put together as text; what stands for it when it was
/// wiped.
pub fn initial_state(received: &Received) -> Bytes {
    if let Some(at) = wiped_at(&received.body).or_else(|| wiped_at(&received.request)) {
        return wiped_mark(at);
    }
    if received.request.is_empty() {
        return if received.body.is_empty() { Bytes::from_static(b"{}") } else { received.body.clone() };
    }
    let mut state = BytesMut::with_capacity(received.body.len() + received.request.len() + 24);
    state.extend_from_slice(b"{\"data\":");
    state.extend_from_slice(if received.body.is_empty() { b"{}" } else { &received.body });
    state.extend_from_slice(b",\"request\":");
    state.extend_from_slice(&received.request);
    state.extend_from_slice(b"}");
    state.freeze()
}

/// A step as its report tells it.
#[derive(Debug)]
pub struct Step {
    /// The `StepStarted`, with its offset.
    pub started: StepStarted,
    /// Offset of the `StepStarted`.
    pub offset: Offset,
    /// The `StepFinished`, once it has ended.
    pub finished: Option<StepFinished>,
}

/// The steps in a report, of the last attempt.
pub fn steps(report: &[Event]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for event in report {
        match &event.kind {
            // An attempt that expired leaves its steps behind; the next one begins anew.
            EventKind::RunStarted(_) => steps.clear(),
            EventKind::StepStarted(started) => {
                let offset = event.place.offset;
                steps.push(Step { started: started.clone(), offset, finished: None });
            }
            EventKind::StepFinished(finished) => {
                if let Some(step) = steps.iter_mut().find(|step| step.started.step == finished.step) {
                    step.finished = Some(finished.clone());
                }
            }
            _ => {}
        }
    }
    steps
}

/// The state that a step of a run was given.
pub fn input_of(reader: &ShardReader, run: RunKey, step: u16) -> Result<Option<Bytes>, ReadError> {
    let steps = steps(&report(reader, run)?);
    let input = steps.iter().find(|it| it.started.step == step).map(|it| it.started.input);
    match input {
        Some(input) => state_of(reader, run, input),
        None => Ok(None),
    }
}

/// The state that an input of a run stands for.
pub fn state_of(reader: &ShardReader, run: RunKey, input: StepInput) -> Result<Option<Bytes>, ReadError> {
    match input {
        StepInput::Run => initial_state_of(reader, run),
        StepInput::Step(step) => {
            let steps = steps(&report(reader, run)?);
            let step = steps.into_iter().find(|it| it.started.step == step);
            Ok(step.and_then(|step| step.finished).map(|finished| finished.output))
        }
        StepInput::InputOf(step) => input_of(reader, run, step),
    }
}

/// The state that a run began with: its work order's, or that of the step of an earlier run that it repeats.
pub fn initial_state_of(reader: &ShardReader, run: RunKey) -> Result<Option<Bytes>, ReadError> {
    if run.n > 1
        && let Some(requested) = requested_of(reader, run)?
        && requested.input != StepInput::Run
    {
        let origin = RunKey { n: requested.origin, ..run };
        return state_of(reader, origin, requested.input);
    }
    if let Some(Some(cursor)) = began_with(&report(reader, run)?) {
        return state_at(reader, cursor);
    }
    Ok(received(reader, run.work_order)?.map(|(_, received)| initial_state(&received)))
}

fn requested_of(reader: &ShardReader, run: RunKey) -> Result<Option<RunRequested>, ReadError> {
    use keyway_storage::table::{Table, WorkOrderRow};
    let Some(value) = reader.state.get(&WorkOrderRow::key(run.work_order))? else { return Ok(None) };
    let row = WorkOrderRow::from_value(&value)?;
    match row.runs.get(usize::from(run.n) - 1).and_then(|run| run.requested) {
        Some(offset) => requested(reader, offset),
        None => Ok(None),
    }
}
