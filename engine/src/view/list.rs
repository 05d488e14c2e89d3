//! Lists of work orders, runs and dead letters, newest first over all shards, page by page.
//!
//! Invariant: a run is listed where it was made: the first one with its work order, a later one when it was asked for.

use keyway_storage::{
    error::ReadError,
    event::{DeadLettered, Event, EventKind, Received, RunState, TriggerId, WorkflowId},
    key::{Key, Tag},
    place::{Offset, RunKey},
    table::by_trigger_key,
};

use super::{
    order::{WorkOrder, work_order},
    set::{Buckets, Set, Walk},
    walk::{Page, Range, page},
};
use crate::{projection::ALL_TRIGGERS, run::is_final, shard::ShardReader};

/// Which work orders or runs to list.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Only those that came through this trigger.
    pub trigger: Option<TriggerId>,
}

impl Filter {
    fn fits(&self, received: &Received) -> bool {
        self.workflow.is_none_or(|workflow| workflow == received.workflow)
            && self.trigger.is_none_or(|trigger| trigger == received.trigger)
    }

    /// Work orders that may fit. Those of a trigger or a state have rows of their own.
    fn set(&self, reader: &ShardReader, range: Buckets) -> Set {
        let trigger = self.trigger.unwrap_or(ALL_TRIGGERS);
        let of_trigger = || Walk::bitmaps(&reader.views, |bucket| by_trigger_key(trigger, bucket), range);
        let set = match self.state {
            None => return Set::default().any(of_trigger()),
            Some(RunState::Available) => return Set::default().any(of_trigger()).none_ended(reader, range),
            Some(state) if is_final(state) => Set::default().any(Walk::ended(reader, state, range)),
            Some(_) => Set::default().any(Walk::offsets(&reader.state, Tag::Lease, range)),
        };
        if self.trigger.is_some() { set.all(of_trigger()) } else { set }
    }
}

/// Work orders that fit.
pub fn work_orders(
    readers: &[ShardReader],
    filter: &Filter,
    range: &Range,
) -> Result<Page<WorkOrder>, ReadError> {
    let fits = |reader: &ShardReader, event: Event| {
        let EventKind::Received(received) = &event.kind else { return Ok(None) };
        if !filter.fits(received) {
            return Ok(None);
        }
        let order = work_order(reader, event.place.offset)?;
        Ok(order.filter(|order| filter.state.is_none_or(|state| state == order.state)))
    };
    page(readers, range, |reader, range| filter.set(reader, range), fits)
}

/// Runs that fit, each with its work order.
pub fn runs(
    readers: &[ShardReader],
    filter: &Filter,
    range: &Range,
) -> Result<Page<(WorkOrder, RunKey)>, ReadError> {
    let fits = |reader: &ShardReader, event: Event| {
        let Some(run) = made_run(&event) else { return Ok(None) };
        let Some(order) = work_order(reader, run.work_order)? else { return Ok(None) };
        let state = order.run(run.n).map(|run| run.state);
        let fits = filter.fits(&order.received)
            && state.is_some_and(|it| filter.state.is_none_or(|state| it == state));
        Ok(fits.then_some((order, run)))
    };
    // The sets are of work orders; a run that was asked for, or is not the last one, is found among those that were.
    let requested = |reader: &ShardReader, range: Buckets| {
        Walk::bitmaps(&reader.views, |bucket| Key::new(Tag::Requested).u64(bucket), range)
    };
    page(readers, range, |reader, range| filter.set(reader, range).also(requested(reader, range)), fits)
}

/// The run that an event made.
pub fn made_run(event: &Event) -> Option<RunKey> {
    match &event.kind {
        EventKind::Received(_) => Some(RunKey { work_order: event.place.offset, n: 1 }),
        EventKind::RunRequested(requested) => Some(requested.run),
        _ => None,
    }
}

/// Which dead letters to list.
#[derive(Debug, Default, Clone)]
pub struct LetterFilter {
    /// Only those that are open, or only those that are not.
    pub open: Option<bool>,
}

/// Dead letters that fit.
pub fn dead_letters(
    readers: &[ShardReader],
    filter: &LetterFilter,
    range: &Range,
    fits: impl Fn(&DeadLettered) -> bool,
) -> Result<Page<(Event, DeadLettered)>, ReadError> {
    let set = |reader: &ShardReader, range: Buckets| {
        let all = || Walk::bitmaps(&reader.views, |bucket| Key::new(Tag::Letters).u64(bucket), range);
        let open = || Walk::offsets(&reader.state, Tag::DeadLetter, range);
        match filter.open {
            None => Set::default().any(all()),
            Some(true) => Set::default().any(open()),
            Some(false) => Set::default().any(all()).none(open()),
        }
    };
    let fits = |_: &ShardReader, event: Event| {
        let EventKind::DeadLettered(letter) = event.kind.clone() else { return Ok(None) };
        Ok(fits(&letter).then_some((event, letter)))
    };
    page(readers, range, set, fits)
}

/// The event that closed a dead letter.
pub fn letter_end(reader: &ShardReader, letter: Offset) -> Result<Option<Event>, ReadError> {
    let value = reader.views.get(&Key::new(Tag::LetterEnd).u64(letter.0))?;
    let end = value.and_then(|value| value[..].try_into().ok()).map(u64::from_le_bytes);
    end.map_or(Ok(None), |end| reader.log.event(Offset(end)))
}
