//! What the next runs of a trigger start with: a state that a run left, or that someone set.

use keyway_storage::{
    error::ReadError,
    event::{
        Concern, CursorFate, CursorSet, CursorState, EventKind, ExitReason, FinalState, RunFinished,
        RunState, StepFinished, Warned, WorkflowId,
    },
    place::{Offset, Timestamp},
};

use crate::{
    command::{Answer, Refusal, RunCursor, RunReport, SetCursor},
    project::Cursor,
    state::State,
};

use super::warn::warn;

/// Sets it by hand.
pub fn set(state: &State, set: SetCursor, out: &mut Vec<EventKind>) -> Answer {
    let Some((_, trigger)) = state.project().trigger(set.trigger) else {
        return Answer::Refused(Refusal::NotFound);
    };
    let Some(rules) = trigger.cursor else { return Answer::Refused(Refusal::NotFound) };
    let bytes = set.state.as_ref().map_or(0, |state| state.len() as u64);
    let (fate, limit_bytes) = fate(&rules, bytes);
    if fate == CursorFate::TooLarge {
        return Answer::Refused(Refusal::TooLarge);
    }
    let state = set.state.map_or(CursorState::None, CursorState::Own);
    out.push(CursorSet { trigger: trigger.id, run: None, state, bytes, fate, limit_bytes }.into());
    Answer::Done
}

/// What a report says of it: the last state in it that counts, with the offset of its event. `next` is the offset that
/// the report's first event gets.
pub fn left(report: &RunReport, next: Offset) -> Option<CursorSet> {
    let RunCursor { trigger, rules } = report.cursor?;
    let (index, bytes) = match rules.job {
        None => final_state(report)?,
        Some(job) => last_step(report, |step| step.job == job && step.exit == ExitReason::Success)?,
    };
    let bytes = bytes as u64;
    let (fate, limit_bytes) = fate(&rules, bytes);
    let state = CursorState::At(next.advance(index));
    Some(CursorSet { trigger, run: Some(report.run), state, bytes, fate, limit_bytes })
}

/// Records what a run left, and warns of what is large.
pub fn leave(
    state: &State,
    workflow: WorkflowId,
    set: Option<CursorSet>,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<(), ReadError> {
    let Some(set) = set else { return Ok(()) };
    let warned = warning(state, workflow, &set);
    out.push(set.into());
    warned.map_or(Ok(()), |warned| warn(state, warned, now, out))
}

fn warning(state: &State, workflow: WorkflowId, set: &CursorSet) -> Option<Warned> {
    let (concern, rule) = match set.fate {
        CursorFate::Kept => return None,
        CursorFate::Warned => (Concern::CursorLarge, "that is large (cursor_warn_bytes)"),
        CursorFate::TooLarge => (
            Concern::CursorTooLarge,
            "so it is not kept: the next run starts with the last state that fitted (cursor_bytes_max)",
        ),
    };
    let (of, trigger) = state.project().trigger(set.trigger)?;
    let (of, trigger, bytes, limit) = (&of.key, &trigger.key, set.bytes, set.limit_bytes);
    let message = format!(
        "A run of workflow `{of}`, trigger `{trigger}`, left a state of {bytes} bytes for the next one; more than \
         {limit} bytes, {rule}."
    );
    let work_order = set.run.map(|run| run.work_order);
    Some(Warned { workflow, trigger: Some(set.trigger), concern, work_order, message: message.into() })
}

/// The final state of a run that ended well, by the place of its event in the report, and its bytes.
fn final_state(report: &RunReport) -> Option<(usize, usize)> {
    let last = report.events.len().checked_sub(1)?;
    match &report.events[last] {
        EventKind::RunFinished(RunFinished { state: RunState::Success, final_state, .. }) => {
            match final_state {
                FinalState::None => None,
                FinalState::Step(wanted) => last_step(report, |step| step.step == *wanted),
                FinalState::Own(state) => Some((last, state.len())),
            }
        }
        _ => None,
    }
}

fn last_step(report: &RunReport, fits: impl Fn(&StepFinished) -> bool) -> Option<(usize, usize)> {
    let steps = report.events.iter().enumerate().filter_map(|(index, event)| match event {
        EventKind::StepFinished(step) if !step.output.is_empty() => Some((index, step)),
        _ => None,
    });
    steps.filter(|(_, step)| fits(step)).map(|(index, step)| (index, step.output.len())).last()
}

fn fate(rules: &Cursor, bytes: u64) -> (CursorFate, u64) {
    match bytes {
        _ if bytes > rules.bytes_max => (CursorFate::TooLarge, rules.bytes_max),
        _ if bytes > rules.warn_bytes => (CursorFate::Warned, rules.warn_bytes),
        _ => (CursorFate::Kept, 0),
    }
}
