//! The end of a run, made again from the log and the committed rows.
//!
//! Invariant: whoever waited for the run was told the same, but for what was wiped since.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{EventKind, FinalState, RunFinished, wiped_at},
    place::RunKey,
};

use super::{
    order::work_order,
    run::{report, steps},
};
use crate::{command::RunEnd, shard::ShardReader};

/// How a run ended; `None` if it has not, or if its events are gone.
pub fn run_end(reader: &ShardReader, key: RunKey) -> Result<Option<RunEnd>, ReadError> {
    let Some(order) = work_order(reader, key.work_order)? else { return Ok(None) };
    let Some((run, place)) = order.run(key.n).and_then(|run| Some((run, run.end?))) else { return Ok(None) };
    let Some(EventKind::RunFinished(end)) = reader.log.event(place)?.map(|event| event.kind) else {
        return Ok(None);
    };
    Ok(Some(RunEnd {
        run: key,
        state: end.state,
        error: end.error.clone(),
        final_state: unless_wiped(final_state(reader, &end)?),
        response: unless_wiped(end.response),
        inserted: run.inserted,
        claimed: run.claimed,
        started: run.started,
        finished: end.finished,
    }))
}

/// Nothing in the place of what was wiped.
fn unless_wiped(content: Bytes) -> Bytes {
    if wiped_at(&content).is_some() { Bytes::new() } else { content }
}

fn final_state(reader: &ShardReader, end: &RunFinished) -> Result<Bytes, ReadError> {
    match &end.final_state {
        FinalState::None => Ok(Bytes::new()),
        FinalState::Own(state) => Ok(state.clone()),
        FinalState::Step(wanted) => {
            let steps = steps(&report(reader, end.run)?);
            let step = steps.into_iter().find(|step| step.started.step == *wanted);
            Ok(step.and_then(|step| step.finished).map(|finished| finished.output).unwrap_or_default())
        }
    }
}
