//! Export: events on their way out of a data dir, page by page, none left out and none changed.
//!
//! Invariant: a page is bounded in events looked at and in bytes; whoever asks goes on where it ended. An event of one
//! shard may name one of another shard: such places are handed over with the page, so that an export reaches at least
//! as far as anything in it.

mod base;

use keyway_storage::{
    error::ReadError,
    event::{Event, EventKind, Kind, LetterEnd, TriggerId},
    limits::{PAGE_BYTES_MAX, PAGE_LOOKS_MAX},
    line,
    log::LogReader,
    place::{Offset, Place, Span, Timestamp},
};

pub use base::{Base, BasePage};

/// Which events are wanted; by default all of them.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Only those that came through this trigger, and what became of them.
    pub trigger: Option<TriggerId>,
    /// Only those of these kinds; none stands for all.
    pub kinds: Vec<Kind>,
    /// Only those of turns at this time or later.
    pub after: Option<Timestamp>,
    /// Only those of turns before this time.
    pub before: Option<Timestamp>,
}

impl Filter {
    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        let Self { trigger, kinds, after, before } = self;
        trigger.is_none() && kinds.is_empty() && after.is_none() && before.is_none()
    }
}

/// A part of an export.
#[derive(Debug, Default)]
pub struct Page {
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// Where the next page begins.
    pub next: Offset,
    /// Places in other shards that the events name.
    pub reach: Vec<Place>,
}

/// A page of a shard's events within these offsets.
pub fn page(log: &LogReader, filter: &Filter, span: Span) -> Result<Page, ReadError> {
    let mut page = Page { next: span.first, ..Page::default() };
    if let Some(after) = filter.after {
        page.next = log.at_or_after(after, span)?;
    }
    let log = log.remembering();
    let (mut looks, mut bytes) = (0, 0);
    for block in log.blocks(page.next) {
        let block = block?;
        if block.span().first >= span.end {
            break;
        }
        if filter.before.is_some_and(|before| block.at() >= before) {
            page.next = span.end;
            break;
        }
        let end = block.span().end.min(span.end);
        for offset in (page.next.max(block.span().first).0..end.0).map(Offset) {
            if looks >= PAGE_LOOKS_MAX || bytes > PAGE_BYTES_MAX {
                return Ok(page);
            }
            looks += 1;
            page.next = offset.advance(1);
            if !filter.kinds.is_empty() && !filter.kinds.contains(&block.kind(offset)?) {
                continue;
            }
            let event = block.event(offset)?;
            if let EventKind::CutAway(_) = event.kind {
                continue;
            }
            let concerned = filter.trigger.map(|trigger| concerns(&log, &event, trigger)).transpose()?;
            if concerned.unwrap_or(true) {
                page.reach.extend(elsewhere(&event));
                page.lines.push(line::write(&event));
                bytes += page.lines.last().map_or(0, String::len);
            }
        }
    }
    Ok(page)
}

/// The place in another shard that an event names.
fn elsewhere(event: &Event) -> Option<Place> {
    let place = match &event.kind {
        EventKind::Received(received) => received.replays?,
        EventKind::ReplayItemFailed(failed) => failed.item,
        EventKind::DeadLetterClosed(closed) => match closed.end {
            LetterEnd::Replayed { work_order } => work_order,
            LetterEnd::Discarded { .. } => return None,
        },
        _ => return None,
    };
    (place.shard != event.place.shard).then_some(place)
}

/// Whether an event is of a trigger, or of a work order that came through it.
fn concerns(log: &LogReader, event: &Event, trigger: TriggerId) -> Result<bool, ReadError> {
    let work_order = match &event.kind {
        EventKind::Received(it) => return Ok(it.trigger == trigger),
        EventKind::DeadLettered(it) => return Ok(it.trigger == trigger),
        EventKind::TickSkipped(it) => return Ok(it.trigger == trigger),
        EventKind::CursorSet(it) => return Ok(it.trigger == trigger),
        EventKind::TriggerSwitched(it) => return Ok(it.trigger == trigger),
        EventKind::RunsClaimed(it) => {
            for claimed in &it.runs {
                if is_of(log, claimed.run.work_order, trigger)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        EventKind::Warned(it) => return Ok(it.trigger == Some(trigger)),
        EventKind::DeadLetterClosed(it) => it.letter,
        EventKind::LeaseExpired(it) => it.run.work_order,
        EventKind::LeaseReturned(it) => it.run.work_order,
        EventKind::RunRequested(it) => it.run.work_order,
        EventKind::RunStarted(it) => it.run.work_order,
        EventKind::RunFinished(it) => it.run.work_order,
        EventKind::StepStarted(it) => it.run.work_order,
        EventKind::StepFinished(it) => it.run.work_order,
        EventKind::LogWritten(it) => it.run.work_order,
        EventKind::CancelRequested(it) => it.run.work_order,
        EventKind::Held(it) => it.work_order,
        EventKind::Released(it) => it.work_order,
        _ => return Ok(false),
    };
    is_of(log, work_order, trigger)
}

fn is_of(log: &LogReader, made: Offset, trigger: TriggerId) -> Result<bool, ReadError> {
    let event = log.event(made)?;
    Ok(event.is_some_and(|event| match event.kind {
        EventKind::Received(it) => it.trigger == trigger,
        EventKind::DeadLettered(it) => it.trigger == trigger,
        _ => false,
    }))
}
