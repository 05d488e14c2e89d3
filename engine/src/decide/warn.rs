//! Warnings: people are told of something once in an embargo, however often it happens.

use keyway_storage::{
    error::ReadError,
    event::{Concern, EventKind, Noticed, Warned, WorkflowId},
    place::{Offset, Timestamp},
    table::Subject,
};

use crate::{
    command::{Answer, Refusal, Warn},
    state::State,
};

/// Records that people should be told, if they were not warned of the same lately.
pub fn warn(
    state: &State,
    warned: Warned,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<(), ReadError> {
    let subject = Subject::of(&warned);
    let embargo_ms = u64::from(state.project().notifications.embargo_seconds) * 1_000;
    let is_fresh = |last: Timestamp| now < last.plus_millis(embargo_ms);
    let here = |event: &EventKind| matches!(event, EventKind::Warned(it) if Subject::of(it) == subject);
    if state.warned_at(&subject)?.is_some_and(is_fresh) || out.iter().any(here) {
        return Ok(());
    }
    out.push(EventKind::Warned(warned));
    Ok(())
}

/// Warns that a run is lost.
pub fn warn_of_loss(
    state: &State,
    workflow: WorkflowId,
    work_order: Offset,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<(), ReadError> {
    let key = state.project().workflow(workflow).map_or("(gone)", |workflow| &workflow.key);
    let trigger = state.trigger_of(work_order)?;
    let by = trigger.and_then(|id| state.project().trigger(id));
    let by = by.map_or(String::new(), |(_, trigger)| format!(", trigger `{}`,", trigger.key));
    let message =
        format!("A run of workflow `{key}`{by} is lost: its executor was not heard of again.").into();
    let work_order = Some(work_order);
    warn(state, Warned { workflow, trigger, concern: Concern::RunLost, work_order, message }, now, out)
}

/// Takes in a warning from outside.
pub fn take_warning(
    state: &State,
    asked: Warn,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let Some((workflow, _)) = state.project().trigger(asked.trigger) else {
        return Ok(Answer::Refused(Refusal::UnknownTrigger));
    };
    let Warn { trigger, concern, message } = asked;
    let (workflow, trigger) = (workflow.id, Some(trigger));
    warn(state, Warned { workflow, trigger, concern, work_order: None, message }, now, out)?;
    Ok(Answer::Done)
}

/// Records that a warning was delivered, or given up.
pub fn notice(state: &State, noticed: Noticed, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    if state.open_notice(noticed.of)?.is_none() {
        return Ok(Answer::Refused(Refusal::NotFound));
    }
    out.push(EventKind::Noticed(noticed));
    Ok(Answer::Done)
}
