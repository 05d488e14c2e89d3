//! What a worker says of a run.

use keyway_storage::{
    error::ReadError,
    event::{EventKind, RunState},
    place::{Offset, RunKey, Timestamp},
};

use crate::{
    command::{Answer, RunReport},
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
    let lease = state.lease(run.work_order);
    let Some(lease) =
        lease.filter(|lease| lease.claimed.run == run && lease.claimed.attempt == report.attempt)
    else {
        return Ok(Answer::Stop(run));
    };
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
                let ending =
                    Ending { run, workflow: lease.workflow, lane: lease.claimed.lane, key: lease.key };
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
