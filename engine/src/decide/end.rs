//! What follows the end of a run: a retry, a hold, or nothing.

use keyway_storage::{
    error::ReadError,
    event::{Cause, EventKind, Held, LaneId, RunFinished, RunRequested, StepInput, WorkflowId},
    limits::RUNS_PER_WORK_ORDER_MAX,
    place::{Offset, RunKey, Timestamp},
};

use crate::{
    project::{OnFailure, Retry, Workflow},
    queue::lane::{NONE, PRIVATE, REPLAYED, RERUN, held_lane},
    run::is_failure,
    state::State,
};

/// A run that ends, as the queue knows it.
pub struct Ending {
    /// The run.
    pub run: RunKey,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The lane it was taken from.
    pub lane: LaneId,
    /// Hash of its ordering key.
    pub key: Option<u64>,
}

/// Records the end of a run, and what follows it.
pub fn end(
    state: &State,
    ending: &Ending,
    finished: RunFinished,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<(), ReadError> {
    let failed = is_failure(finished.state);
    out.push(EventKind::RunFinished(finished));
    let Some(workflow) = state.project().workflow(ending.workflow).filter(|_| failed) else { return Ok(()) };
    let on_failure = on_failure_of(state, workflow, ending)?;
    let work_order = ending.run.work_order;
    let held = match on_failure {
        OnFailure::Continue => LaneId { number: PRIVATE, key: work_order.0, ..ending.lane },
        OnFailure::Retry | OnFailure::BlockKey => held_lane(ending.lane, ending.key, work_order),
    };
    // Lost runs are not tried again: what they did before they were lost is not known.
    let lost = matches!(out.last(), Some(EventKind::RunFinished(end)) if end.state == keyway_storage::event::RunState::Lost);
    if !lost && ending.run.n < attempts_max(workflow.retry) && state.queue.has_room_again() {
        let until = now.plus_millis(backoff_ms(workflow.retry, ending.run.n));
        out.push(EventKind::Held(Held { lane: held, work_order, until, cause: Cause::Retry }));
        out.push(next_run(state, ending, held));
    } else if on_failure == OnFailure::BlockKey {
        let until = Timestamp::NEVER;
        out.push(EventKind::Held(Held { lane: held, work_order, until, cause: Cause::Blocked }));
    }
    Ok(())
}

/// The next run of a work order, from the trigger's edges, on the project in force.
pub fn next_run(state: &State, ending: &Ending, lane: LaneId) -> EventKind {
    EventKind::RunRequested(RunRequested {
        run: RunKey { n: ending.run.n + 1, ..ending.run },
        project: state.project_at().unwrap_or(Offset(0)),
        start: None,
        input: StepInput::Run,
        origin: 1,
        lane,
        key: ending.key,
    })
}

/// What the trigger of a run says of failures.
fn on_failure_of(state: &State, workflow: &Workflow, ending: &Ending) -> Result<OnFailure, ReadError> {
    // Without an order there is no one to wait.
    if matches!(ending.lane.number, NONE | RERUN | PRIVATE | REPLAYED) {
        return Ok(OnFailure::Continue);
    }
    let mut said = workflow.triggers.iter().map(|trigger| trigger.on_failure);
    let first = said.next().unwrap_or(OnFailure::Continue);
    if said.all(|other| other == first) {
        return Ok(first);
    }
    // A lane does not say which trigger filled it, and most often need not.
    let Some(id) = state.trigger_of(ending.run.work_order)? else { return Ok(strictest(workflow)) };
    // Nobody could release what a trigger that is gone blocked.
    let own = workflow.triggers.iter().find(|trigger| trigger.id == id);
    Ok(own.map_or(OnFailure::Continue, |trigger| trigger.on_failure))
}

fn strictest(workflow: &Workflow) -> OnFailure {
    let strictness = |on_failure: &OnFailure| match on_failure {
        OnFailure::Continue => 0,
        OnFailure::Retry => 1,
        OnFailure::BlockKey => 2,
    };
    let all = workflow.triggers.iter().map(|trigger| trigger.on_failure);
    all.max_by_key(strictness).unwrap_or(OnFailure::Continue)
}

fn attempts_max(retry: Retry) -> u8 {
    retry.attempts_max.min(RUNS_PER_WORK_ORDER_MAX)
}

/// The pause before the run after run `n`: doubles each time, up to the longest.
fn backoff_ms(retry: Retry, n: u8) -> u64 {
    let doubled = retry.backoff_initial_ms.saturating_mul(1 << u32::from(n - 1).min(40));
    doubled.min(retry.backoff_max_ms)
}
