//! What a worker says of a run.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{EventKind, FinalState, LeaseReturned, RunFinished, RunState},
    place::{Offset, RunKey, Timestamp},
    table::LeaseRow,
};

use crate::{
    command::{Answer, GiveBack, Refusal, RunReport},
    state::State,
};

use super::{
    cursor::{leave, left},
    end::{Ending, end},
};

/// Records what a worker says of a run that it holds.
pub fn report(
    state: &State,
    report: RunReport,
    now: Timestamp,
    next: Offset,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let run = report.run;
    let Some(lease) = lease_of(state, run, report.attempt) else { return Ok(Answer::Stop(run)) };
    assert!(out.is_empty());
    let cursor = left(&report, next);
    for event in report.events {
        assert_eq!(run_of(&event), Some((run, report.attempt)), "a report is of one attempt at one run");
        match event {
            EventKind::RunFinished(mut finished) => {
                // Whoever asked for the end is told that it is the one that he asked for.
                if lease.cancelled && finished.state != RunState::Success {
                    finished.state = RunState::Cancelled;
                }
                let ending = ending_of(lease);
                end(state, &ending, finished, now, out)?;
                leave(state, ending.workflow, cursor, now, out)?;
                return Ok(Answer::Done);
            }
            other => out.push(other),
        }
    }
    leave(state, lease.workflow, cursor, now, out)?;
    Ok(if lease.cancelled { Answer::Stop(run) } else { Answer::Done })
}

/// Offers a run again, at its old place, that its worker never began: the attempt does not count, and a run that may be
/// executed once at most is not lost by it.
pub fn give_back(
    state: &State,
    back: GiveBack,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let GiveBack { run, attempt } = back;
    let lease = lease_of(state, run, attempt).filter(|lease| lease.started.is_none());
    let Some(lease) = lease else { return Ok(Answer::Stop(run)) };
    if lease.cancelled {
        let finished = RunFinished {
            run,
            attempt,
            state: RunState::Cancelled,
            error: None,
            final_state: FinalState::None,
            response: Bytes::new(),
            finished: now,
        };
        end(state, &ending_of(lease), finished, now, out)?;
        return Ok(Answer::Done);
    }
    if !state.queue.has_room_again() {
        return Ok(Answer::Refused(Refusal::Full));
    }
    out.push(EventKind::LeaseReturned(LeaseReturned { run, attempt }));
    Ok(Answer::Done)
}

/// The lease under which a worker has a run.
fn lease_of(state: &State, run: RunKey, attempt: u8) -> Option<&LeaseRow> {
    let lease = state.lease(run.work_order)?;
    (lease.claimed.run == run && lease.claimed.attempt == attempt).then_some(lease)
}

fn ending_of(lease: &LeaseRow) -> Ending {
    Ending { run: lease.claimed.run, workflow: lease.workflow, lane: lease.claimed.lane, key: lease.key }
}

fn run_of(event: &EventKind) -> Option<(RunKey, u8)> {
    match event {
        EventKind::RunStarted(event) => Some((event.run, event.attempt)),
        EventKind::StepStarted(event) => Some((event.run, event.attempt)),
        EventKind::StepFinished(event) => Some((event.run, event.attempt)),
        EventKind::LogWritten(event) => Some((event.run, event.attempt)),
        EventKind::RunFinished(event) => Some((event.run, event.attempt)),
        _ => None,
    }
}
