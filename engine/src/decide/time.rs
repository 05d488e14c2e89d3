//! What time does: leases run out, holds end.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{Cause, EventKind, FinalState, LeaseExpired, Released, RunError, RunFinished, RunState},
    limits::{ADVANCE_EVENTS_MAX, RUN_ATTEMPTS_MAX},
    place::Timestamp,
    table::LeaseRow,
};

use crate::{command::Answer, state::State};

use super::{
    end::{Ending, end},
    warn::warn_of_loss,
};

/// Ends the leases and holds whose time is up.
pub fn advance(state: &State, now: Timestamp, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    let overdue = state.expired(now).filter(|lease| !is_orphan(state, lease));
    for lease in state.orphans().chain(overdue) {
        if out.len() >= ADVANCE_EVENTS_MAX {
            return Ok(Answer::Done);
        }
        expire(state, lease, now, out)?;
    }
    for (lane, hold) in state.queue.timed_out(now) {
        if out.len() >= ADVANCE_EVENTS_MAX {
            break;
        }
        assert_eq!(hold.cause, Cause::Retry, "only a retry ends by itself");
        out.push(EventKind::Released(Released { lane, work_order: hold.work_order, skip: false }));
    }
    Ok(Answer::Done)
}

fn is_orphan(state: &State, lease: &LeaseRow) -> bool {
    lease.worker == 0 && lease.boot < state.boots()
}

/// Offers a run again, or gives it up.
fn expire(
    state: &State,
    lease: &LeaseRow,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<(), ReadError> {
    let (run, attempt) = (lease.claimed.run, lease.claimed.attempt);
    // Of the version that it was made for: what the project in force says is for runs to come. What nobody knows of any
    // more cannot be run again either.
    let version = state.project_of(lease.requested.unwrap_or(run.work_order));
    let workflow = version.as_ref().and_then(|project| project.workflow(lease.workflow));
    let at_most_once = workflow.is_none_or(|workflow| workflow.at_most_once);
    let give_up = at_most_once || attempt >= RUN_ATTEMPTS_MAX || !state.queue.has_room_again();
    if !lease.cancelled && !give_up {
        out.push(EventKind::LeaseExpired(LeaseExpired { run, attempt }));
        return Ok(());
    }
    let kind = if lease.started.is_some() { "LostAfterStart" } else { "LostAfterClaim" };
    let message = format!("The executor of this run was not heard of again (attempt {attempt}).");
    let finished = RunFinished {
        run,
        attempt,
        state: if lease.cancelled { RunState::Cancelled } else { RunState::Lost },
        error: (!lease.cancelled).then(|| RunError { kind: kind.into(), message: message.into() }),
        final_state: FinalState::None,
        response: Bytes::new(),
        finished: now,
    };
    let ending = Ending { run, workflow: lease.workflow, lane: lease.claimed.lane, key: lease.key };
    let lost = finished.state == RunState::Lost;
    end(state, &ending, finished, now, out)?;
    if lost { warn_of_loss(state, lease.workflow, run.work_order, now, out) } else { Ok(()) }
}
