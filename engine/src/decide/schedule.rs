//! Which project is in force, which triggers take inputs, which schedules they follow.
//!
//! Invariant: a change of a trigger's schedule is logged in the block of what changed it.

use keyway_storage::{
    error::ReadError,
    event::{
        ClockSet, EventKind, ProjectApplied, SchedulesSet, TickSkipped, TriggerSchedule, TriggerSwitched,
    },
    place::Timestamp,
};

use crate::{
    command::{Answer, Apply, Refusal, Skip, Switch},
    state::State,
};

/// Puts a project file into force.
pub fn apply(state: &State, apply: Apply, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    // The file wins over what was said by hand before it.
    let changed = state.schedules_changed(&apply.project, |trigger| trigger.enabled)?;
    out.push(EventKind::ProjectApplied(ProjectApplied { file: apply.file, made: apply.made }));
    set(changed, out);
    Ok(Answer::Done)
}

/// Enables or disables a trigger by hand.
pub fn switch(state: &State, switch: Switch, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    let Some((_, trigger)) = state.project().trigger(switch.trigger) else {
        return Ok(Answer::Refused(Refusal::NotFound));
    };
    let schedule = trigger.schedule.filter(|_| switch.enabled);
    let changed = state.schedule_changed(switch.trigger, schedule)?;
    out.push(EventKind::TriggerSwitched(TriggerSwitched {
        trigger: switch.trigger,
        enabled: switch.enabled,
    }));
    set(changed.into_iter().collect(), out);
    Ok(Answer::Done)
}

/// Passes over a tick.
pub fn skip(state: &State, skip: Skip, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    if state.project().trigger(skip.trigger).is_none() {
        return Ok(Answer::Refused(Refusal::UnknownTrigger));
    }
    let Skip { trigger, due, reason } = skip;
    out.push(EventKind::TickSkipped(TickSkipped { trigger, due, reason }));
    Ok(Answer::Done)
}

/// Lets triggers follow a clock that was set back.
pub fn set_clock(wall: Timestamp, out: &mut Vec<EventKind>) -> Answer {
    out.push(EventKind::ClockSet(ClockSet { wall }));
    Answer::Done
}

/// What an open log has to learn: a version of keyway that reads schedules in another way begins them anew.
pub fn reconcile(state: &State, out: &mut Vec<EventKind>) -> Result<(), ReadError> {
    // A project that can no longer be read says nothing of its triggers.
    if state.project().workflows.is_empty() {
        return Ok(());
    }
    let enabled = |trigger: &crate::project::Trigger| state.is_enabled(trigger.id, trigger.enabled);
    set(state.schedules_changed(state.project(), enabled)?, out);
    Ok(())
}

fn set(schedules: Vec<TriggerSchedule>, out: &mut Vec<EventKind>) {
    if !schedules.is_empty() {
        out.push(EventKind::SchedulesSet(SchedulesSet { schedules }));
    }
}
