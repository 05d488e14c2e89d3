//! What people ask for about what is there: cancel, rerun, release, discard.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{
        CancelRequested, DeadLetterClosed, EventKind, FinalState, LaneId, LetterEnd, Released, RunFinished,
        RunRequested, RunState, WorkflowId,
    },
    limits::RUNS_PER_WORK_ORDER_MAX,
    place::{Offset, RunKey, Timestamp},
    table::WorkOrderRow,
};

use crate::{
    command::{Answer, Discard, Refusal, Release, Rerun},
    queue::lane::{NONE, PRIVATE, REPLAYED, RERUN, key_lane},
    run::is_final,
    state::State,
};

use super::end::{Ending, next_run};

/// Asks that a run end; a waiting one ends at once.
pub fn cancel(
    state: &State,
    run: RunKey,
    now: Timestamp,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    if let Some(lease) = state.lease(run.work_order).filter(|lease| lease.claimed.run == run) {
        if !lease.cancelled {
            out.push(EventKind::CancelRequested(CancelRequested { run }));
        }
        return Ok(Answer::Done);
    }
    let row = state.work_order(run.work_order)?;
    let runs = row.as_ref().map_or(1, |row| row.runs.len());
    if run.n == 0 || usize::from(run.n) > runs {
        return Ok(Answer::Refused(Refusal::NotFound));
    }
    let ended = row.is_some_and(|row| is_final(row.runs[usize::from(run.n) - 1].state));
    if ended {
        return Ok(Answer::Refused(Refusal::Ended));
    }
    out.push(EventKind::RunFinished(RunFinished {
        run,
        attempt: 0,
        state: RunState::Cancelled,
        error: None,
        final_state: FinalState::None,
        response: Bytes::new(),
        finished: now,
    }));
    Ok(Answer::Done)
}

/// Gives a work order another run.
pub fn rerun(state: &State, rerun: Rerun, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    let Some(row) = state.work_order(rerun.work_order)?.filter(|row| is_final(row.state)) else {
        return Ok(Answer::Refused(Refusal::Open));
    };
    if row.runs.len() >= usize::from(RUNS_PER_WORK_ORDER_MAX) {
        return Ok(Answer::Refused(Refusal::TooManyRuns));
    }
    let lane = rerun_lane(state, rerun.lane, rerun.key);
    if !state.queue.has_room_again() || !state.queue.has_room(lane) {
        return Ok(Answer::Refused(Refusal::Full));
    }
    let run = RunKey { work_order: rerun.work_order, n: row.runs.len() as u8 + 1 };
    out.push(EventKind::RunRequested(RunRequested {
        run,
        project: rerun.project.or(state.project_at()).unwrap_or(Offset(0)),
        start: rerun.start,
        input: rerun.input,
        origin: rerun.origin,
        lane,
        key: rerun.key,
    }));
    // A failed work order that blocks its key is tried again in the lane that it blocks.
    if let Some(hold) = state.hold(lane).filter(|hold| !hold.released && hold.work_order == rerun.work_order)
    {
        out.push(EventKind::Released(Released { lane, work_order: hold.work_order, skip: false }));
    }
    Ok(Answer::Run(run))
}

/// Where a rerun waits: at its old place where there is order, ahead of the others where there is none.
fn rerun_lane(state: &State, lane: LaneId, key: Option<u64>) -> LaneId {
    match key_lane(lane, key).filter(|own| state.hold(*own).is_some()) {
        Some(own) => own,
        None if matches!(lane.number, NONE | PRIVATE | REPLAYED) => LaneId { number: RERUN, key: 0, ..lane },
        None => lane,
    }
}

/// Lets a held lane or key go on.
pub fn release(state: &State, release: Release, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    let Some(hold) = state.hold(release.lane).filter(|hold| !hold.released) else {
        return Ok(Answer::Refused(Refusal::NotFound));
    };
    let work_order = hold.work_order;
    let row = state.work_order(work_order)?;
    if let Some(row) = row.filter(|row| !release.skip && can_go_on(row)) {
        let key = (release.lane.key != 0).then_some(release.lane.key);
        let workflow = WorkflowId(release.lane.owner);
        let ending = Ending { run: row.last(work_order), workflow, lane: release.lane, key };
        out.push(next_run(state, &ending, release.lane));
    }
    out.push(EventKind::Released(Released { lane: release.lane, work_order, skip: release.skip }));
    Ok(Answer::Done)
}

fn can_go_on(row: &WorkOrderRow) -> bool {
    is_final(row.state) && row.runs.len() < usize::from(RUNS_PER_WORK_ORDER_MAX)
}

/// Closes a dead letter without replaying it.
pub fn discard(state: &State, discard: Discard, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    if !state.has_letter(discard.letter)? {
        return Ok(Answer::Refused(Refusal::NotFound));
    }
    let end = LetterEnd::Discarded { reason: discard.reason };
    out.push(EventKind::DeadLetterClosed(DeadLetterClosed { letter: discard.letter, end }));
    Ok(Answer::Done)
}
