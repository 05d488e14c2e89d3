//! Inputs that go through again: dead letters and past events.
//!
//! Invariant: an item becomes a work order at most once in a replay. The work order, the closing of its dead letter and
//! how far the replay has come are in one block.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{
        DeadLetterClosed, EventKind, LetterEnd, Position, Received, ReplayEnded, ReplayFailed,
        ReplayItemFailed, ReplayStarted, ReplaySwitched,
    },
    limits::REPLAYS_OPEN_MAX,
    place::{Offset, Place},
    table::ReplayState,
};

use crate::{
    command::{Answer, Refusal, ReplayEnd, ReplayId, ReplayItem, ReplayWish},
    queue::lane::{NONE, REPLAYED},
    state::{Part, State},
};

/// Begins, moves or ends a replay.
pub fn replay(
    state: &State,
    wish: ReplayWish,
    place: Place,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let (id, round) = match &wish {
        ReplayWish::Begin { id, filter } => return begin(state, *id, filter, out),
        ReplayWish::Items { id, round, .. } => (*id, Some(*round)),
        ReplayWish::Pause { id, .. } => (*id, None),
        ReplayWish::End { id, round, .. } => (*id, *round),
    };
    let Some(row) = state.replay(id) else {
        let known = state.ended_replay(id)?.is_some();
        return Ok(Answer::Refused(if known { Refusal::Ended } else { Refusal::NotFound }));
    };
    // What was read before a pause, or meets one, is read again when the replay goes on.
    if round.is_some_and(|round| round != row.round || row.state != ReplayState::Running) {
        return Ok(Answer::Refused(Refusal::Ended));
    }
    match wish {
        ReplayWish::Begin { .. } => unreachable!("it was answered above"),
        ReplayWish::Items { items, .. } => return all(state, id, items, place, out),
        ReplayWish::Pause { paused, .. } if paused == (row.state == ReplayState::Paused) => {}
        ReplayWish::Pause { paused, .. } => out.push(ReplaySwitched { id, paused }.into()),
        ReplayWish::End { end: ReplayEnd::Failed(reason), .. } => {
            out.push(ReplayFailed { id, reason }.into());
        }
        ReplayWish::End { end, .. } => {
            out.push(ReplayEnded { id, cancelled: matches!(end, ReplayEnd::Cancelled) }.into());
        }
    }
    Ok(Answer::Done)
}

fn begin(state: &State, id: ReplayId, filter: &Bytes, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    if state.replay(id).is_some() {
        return Ok(Answer::Done);
    }
    if state.ended_replay(id)?.is_some() {
        return Ok(Answer::Refused(Refusal::Ended));
    }
    if state.open_replays() >= REPLAYS_OPEN_MAX {
        return Ok(Answer::Refused(Refusal::Full));
    }
    out.push(ReplayStarted { id, filter: filter.clone() }.into());
    Ok(Answer::Done)
}

/// Decides items in their order, as long as there is room.
fn all(
    state: &State,
    id: ReplayId,
    items: Vec<ReplayItem>,
    place: Place,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let row = state.replay(id).expect("the caller has looked");
    // One that walks anew offers what is still on its way a second time: both may be among these.
    let mut decided = BTreeMap::new();
    for (done, item) in items.into_iter().enumerate() {
        let of = item.of;
        let seen = decided.get(&of.shard).copied().or_else(|| row.seen(of.shard));
        if seen.is_some_and(|seen| seen >= of.offset) {
            continue;
        }
        let next = Place { offset: place.offset.advance(out.len()), ..place };
        let position = Part { id, log: of.shard }.position(of.offset);
        match decide_item(state, item, position, next, out)? {
            // Someone else may have resolved the letter meanwhile.
            Ok(()) | Err(Hindrance::Resolved) => {}
            Err(Hindrance::NoRoom) => return Ok(Answer::Replayed(done)),
            Err(Hindrance::Unusable(reason)) => out.push(ReplayItemFailed { id, item: of, reason }.into()),
        }
        decided.insert(of.shard, of.offset);
    }
    Ok(Answer::Replayed(usize::MAX))
}

/// Lets one dead letter go through again.
pub fn resend(
    state: &State,
    item: ReplayItem,
    place: Place,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    Ok(match decide_item(state, item, Position::None, place, out)? {
        Ok(()) => Answer::Accepted(place),
        Err(Hindrance::Resolved) => Answer::Refused(Refusal::NotFound),
        Err(Hindrance::NoRoom) => Answer::Refused(Refusal::Full),
        Err(Hindrance::Unusable(_)) => Answer::Refused(Refusal::UnknownTrigger),
    })
}

/// Why an item did not become a work order.
enum Hindrance {
    /// The dead letter is not open any more.
    Resolved,
    /// There is no room in the queue now.
    NoRoom,
    /// It cannot become one, and why.
    Unusable(Box<str>),
}

fn decide_item(
    state: &State,
    item: ReplayItem,
    position: Position,
    place: Place,
    out: &mut Vec<EventKind>,
) -> Result<Result<(), Hindrance>, ReadError> {
    if item.is_letter {
        assert_eq!(item.of.shard, state.shard(), "a dead letter goes through again where it is");
        if !state.has_letter(item.of.offset)? {
            return Ok(Err(Hindrance::Resolved));
        }
    }
    // A trigger that is disabled takes no inputs from outside; what someone lets go through again is none of them.
    let Some((workflow, trigger)) = state.project().trigger(item.trigger) else {
        return Ok(Err(Hindrance::Unusable(
            "The project no longer has the trigger that it came through.".into(),
        )));
    };
    let body = match item.body {
        Ok(body) => body,
        Err(reason) => return Ok(Err(Hindrance::Unusable(reason))),
    };
    let mut lane = state.queue.lane_for(workflow, trigger, item.key, item.stream);
    if lane.number == NONE && position != Position::None {
        // Many at once, and nobody waits for them: live inputs go first.
        lane.number = REPLAYED;
    }
    if !state.queue.has_room(lane) {
        return Ok(Err(Hindrance::NoRoom));
    }
    out.push(EventKind::Received(Received {
        trigger: trigger.id,
        workflow: workflow.id,
        project: state.project_at().unwrap_or(Offset(0)),
        position,
        lane,
        key: item.key,
        request: item.request,
        body,
        replays: Some(item.of),
    }));
    if item.is_letter {
        let end = LetterEnd::Replayed { work_order: place };
        out.push(EventKind::DeadLetterClosed(DeadLetterClosed { letter: item.of.offset, end }));
    }
    Ok(Ok(()))
}
