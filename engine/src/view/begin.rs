//! What a run begins with: its input, the state that earlier runs of its trigger left, or what another run had.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{
        CursorState, Event, EventKind, FinalState, Received, RunRequested, StepInput, TriggerId, wiped_at,
    },
    place::{Offset, RunKey},
    table::{CursorRow, Table},
};

use super::run::{initial_state, report, state_of};
use crate::shard::ShardReader;

/// What a run begins with.
pub struct Began {
    /// JSON of its initial state.
    pub state: Bytes,
    /// The `CursorSet` that it comes from.
    pub cursor: Option<Offset>,
}

/// What a run that is about to start begins with. `None` when what it needs is no longer there.
pub fn begin(
    reader: &ShardReader,
    run: RunKey,
    received: &Received,
    again: Option<&RunRequested>,
    has_cursor: bool,
) -> Result<Option<Began>, ReadError> {
    let began = began(reader, run, received, again, has_cursor)?;
    Ok(began.filter(|began| wiped_at(&began.state).is_none()))
}

fn began(
    reader: &ShardReader,
    run: RunKey,
    received: &Received,
    again: Option<&RunRequested>,
    has_cursor: bool,
) -> Result<Option<Began>, ReadError> {
    let origin = again.map(|again| (RunKey { n: again.origin, ..run }, again.input));
    match origin {
        Some((origin, input)) if input != StepInput::Run => {
            let state = state_of(reader, origin, input)?;
            Ok(state.map(|state| Began { state, cursor: None }))
        }
        _ if !has_cursor => Ok(Some(Began { state: initial_state(received), cursor: None })),
        origin => {
            // Who was told of an end starts with what it left.
            let reader = reader.settled();
            // A run that is asked for begins like the one that it repeats, if that one ever began.
            let before = match origin {
                Some((origin, _)) => began_with(&report(&reader, origin)?),
                None => None,
            };
            let cursor = match before {
                Some(cursor) => cursor,
                None => current(&reader, received.trigger)?,
            };
            let state = match cursor {
                Some(set) => state_at(&reader, set)?,
                None => Some(initial_state(received)),
            };
            Ok(state.map(|state| Began { state, cursor }))
        }
    }
}

/// The `CursorSet` that the next run of a trigger starts with; `None` stands for `{}`.
pub fn current(reader: &ShardReader, trigger: TriggerId) -> Result<Option<Offset>, ReadError> {
    let value = reader.state.get(&CursorRow::key(trigger))?;
    Ok(value.map(|value| CursorRow::from_value(&value)).transpose()?.map(|row| row.set))
}

/// The state that a `CursorSet` stands for, if it is still there.
pub fn state_at(reader: &ShardReader, set: Offset) -> Result<Option<Bytes>, ReadError> {
    let Some(event) = reader.log.event(set)? else { return Ok(None) };
    let EventKind::CursorSet(set) = event.kind else { return Ok(None) };
    let at = match set.state {
        CursorState::None => return Ok(Some(Bytes::from_static(b"{}"))),
        CursorState::Own(state) => return Ok(Some(state)),
        CursorState::At(offset) => offset,
    };
    Ok(reader.log.event(at)?.and_then(|event| match event.kind {
        EventKind::StepFinished(step) => Some(step.output),
        EventKind::RunFinished(end) => match end.final_state {
            FinalState::Own(state) => Some(state),
            FinalState::None | FinalState::Step(_) => None,
        },
        _ => None,
    }))
}

/// The `CursorSet` that a run began with, by its report; `None` when it never began.
pub fn began_with(report: &[Event]) -> Option<Option<Offset>> {
    report.iter().rev().find_map(|event| match &event.kind {
        EventKind::RunStarted(started) => Some(started.cursor),
        _ => None,
    })
}
