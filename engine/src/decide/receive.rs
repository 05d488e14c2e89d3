//! An input becomes a work order, a dead letter, or is known already.

use keyway_storage::{
    error::ReadError,
    event::{
        Concern, DeadLettered, EventKind, Letter, Position, Received, StreamMoved, TICKS, TickSkipped, Warned,
    },
    place::{Place, Timestamp},
};

use super::warn::warn;
use crate::{
    command::{Answer, Input, Move, Refusal, Unusable},
    project::Ordering,
    state::State,
};

/// Makes an input a work order or a dead letter, or finds that it was here before.
pub fn receive(
    state: &State,
    input: Input,
    now: Timestamp,
    place: Place,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let Some((workflow, trigger)) = state.project().trigger(input.trigger) else {
        return Ok(Answer::Refused(Refusal::UnknownTrigger));
    };
    if !state.is_enabled(trigger.id, trigger.enabled) {
        return Ok(Answer::Refused(Refusal::Disabled));
    }
    if let Some(answer) = known(state, &input, now)? {
        return Ok(answer);
    }
    let body = match input.body {
        Ok(body) => body,
        Err(unusable) => {
            let message =
                format!("An input of trigger `{}` is a dead letter: {}", trigger.key, unusable.detail);
            out.push(dead_letter(trigger.id, input.position, input.request, unusable));
            let (workflow, trigger, message) = (workflow.id, Some(trigger.id), message.into());
            let concern = Concern::DeadLetter;
            warn(state, Warned { workflow, trigger, concern, work_order: None, message }, now, out)?;
            return Ok(Answer::DeadLettered(place));
        }
    };
    let lane = state.queue.lane_for(workflow, trigger, input.key, input.stream);
    if trigger.ordering == Ordering::Alone
        && let Some(due) = tick(&input.position)
        && !state.queue.is_idle(lane)
    {
        let reason = "an earlier one has not ended yet".into();
        out.push(EventKind::TickSkipped(TickSkipped { trigger: trigger.id, due, reason }));
        return Ok(Answer::Done);
    }
    if !state.queue.has_room(lane) {
        return Ok(Answer::Refused(Refusal::Full));
    }
    let project = state.project_at().expect("a trigger is found only in a project");
    out.push(EventKind::Received(Received {
        trigger: trigger.id,
        workflow: workflow.id,
        project,
        position: input.position,
        lane,
        key: input.key,
        request: input.request,
        body,
        replays: input.replays,
    }));
    Ok(Answer::Accepted(place))
}

/// When a tick was due, if the input is one.
fn tick(position: &Position) -> Option<Timestamp> {
    match position {
        Position::Next { stream, number } if **stream == *TICKS => {
            Some(Timestamp(number.saturating_mul(1_000_000)))
        }
        _ => None,
    }
}

/// Lets a stream go on at another number.
pub fn move_stream(state: &State, order: Move, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    if state.project().trigger(order.trigger).is_none() {
        return Ok(Answer::Refused(Refusal::UnknownTrigger));
    }
    let from = state.position(order.trigger, &order.stream)?.map(|last| last.number + 1);
    let Move { trigger, stream, next, reason } = order;
    out.push(EventKind::StreamMoved(StreamMoved { trigger, stream, from, next, reason }));
    Ok(Answer::Done)
}

/// What the input became when it came before.
fn known(state: &State, input: &Input, now: Timestamp) -> Result<Option<Answer>, ReadError> {
    let repeated = |offset, at| Answer::Repeated(Place { shard: state.shard(), offset }, at);
    match &input.position {
        Position::None => Ok(None),
        Position::Next { stream, number } => {
            let last = state.position(input.trigger, stream)?.filter(|last| *number <= last.number);
            Ok(last.map(|last| repeated(last.offset, last.at)))
        }
        Position::Once { key, body, .. } => {
            let first = state.once(input.trigger, *key)?.filter(|first| now < first.until);
            Ok(first.map(|first| match first.body == *body {
                true => repeated(first.offset, first.at),
                false => Answer::Refused(Refusal::KeyReused),
            }))
        }
    }
}

fn dead_letter(
    trigger: keyway_storage::event::TriggerId,
    position: Position,
    request: bytes::Bytes,
    unusable: Unusable,
) -> EventKind {
    let raw = unusable.raw.map(|raw| raw.to_vec().into_boxed_slice());
    let letter = Letter { request, raw, reason: unusable.reason, detail: unusable.detail };
    EventKind::DeadLettered(DeadLettered { trigger, position, letter })
}
