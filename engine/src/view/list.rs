//! Lists of work orders, newest first over all shards, page by page.
//!
//! Invariant: work orders are listed by (time, shard, offset), descending; a page ends where the next one begins,
//! and looks at a bounded number of them however few fit the filter.

use keyway_storage::{
    error::ReadError,
    event::{RunState, TriggerId, WorkflowId},
    key::Key,
    limits::PAGE_LOOKS_MAX,
    place::{Offset, Place, Span, Timestamp},
    table::{BUCKET_OFFSETS, Bitmap, by_state_key, by_trigger_key},
};

use super::order::{WorkOrder, work_order};
use crate::{projection::ALL_TRIGGERS, run::is_final, shard::ShardReader};

/// Which work orders to list.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Only those that came through this trigger.
    pub trigger: Option<TriggerId>,
    /// Only those that came at this time or later.
    pub after: Option<Timestamp>,
    /// Only those that came before this time.
    pub before: Option<Timestamp>,
}

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// The work orders.
    pub orders: Vec<WorkOrder>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Place>,
}

/// Up to `most` work orders that fit, older than the one at `cursor`.
pub fn work_orders(
    readers: &[ShardReader],
    filter: &Filter,
    cursor: Option<Place>,
    most: usize,
) -> Result<Page, ReadError> {
    let cursor = cursor.map(|place| at_of(readers, place).map(|at| (at, place))).transpose()?;
    let mut walks = Vec::new();
    for reader in readers {
        walks.push(Walk::new(reader, filter, cursor)?);
    }
    let mut page = Page::default();
    let mut last = None;
    for _ in 0..PAGE_LOOKS_MAX {
        let newest = walks.iter_mut().max_by_key(|walk| walk.head_key());
        let Some(order) = newest.map(Walk::take).transpose()?.flatten() else {
            return Ok(page);
        };
        if page.orders.len() == most {
            page.next = last;
            return Ok(page);
        }
        last = Some(order.event.place);
        if filter.fits(&order) {
            page.orders.push(order);
        }
    }
    page.next = last;
    Ok(page)
}

fn at_of(readers: &[ShardReader], place: Place) -> Result<Timestamp, ReadError> {
    let reader = readers.iter().find(|reader| reader.shard == place.shard);
    let event = reader.map(|reader| reader.log.event(place.offset)).transpose()?.flatten();
    Ok(event.map_or(Timestamp(0), |event| event.at))
}

impl Filter {
    fn fits(&self, order: &WorkOrder) -> bool {
        let same = |state: RunState| {
            state == order.state || !is_final(state) && pending(state) && pending(order.state)
        };
        self.state.is_none_or(same)
            && self.workflow.is_none_or(|workflow| workflow == order.received.workflow)
            && self.trigger.is_none_or(|trigger| trigger == order.received.trigger)
            && self.after.is_none_or(|after| order.event.at >= after)
            && self.before.is_none_or(|before| order.event.at < before)
    }
}

fn pending(state: RunState) -> bool {
    matches!(state, RunState::Available | RunState::Claimed)
}

/// One shard's work orders, newest first.
struct Walk<'a> {
    reader: &'a ShardReader,
    rows: Box<dyn Iterator<Item = keyway_storage::rows::Row>>,
    bucket: Vec<Offset>,
    end: Offset,
    head: Option<WorkOrder>,
}

impl<'a> Walk<'a> {
    fn new(
        reader: &'a ShardReader,
        filter: &Filter,
        cursor: Option<(Timestamp, Place)>,
    ) -> Result<Self, ReadError> {
        let live = Span { first: Offset(0), end: reader.stats.tail() };
        let mut end = live.end;
        if let Some((at, place)) = cursor {
            end = match place.shard.cmp(&reader.shard) {
                std::cmp::Ordering::Equal => place.offset,
                // Shards with a smaller number come after those with a larger one within the same microsecond.
                std::cmp::Ordering::Greater => reader.log.at_or_after(Timestamp(at.0 + 1), live)?,
                std::cmp::Ordering::Less => reader.log.at_or_after(at, live)?,
            };
        }
        if let Some(before) = filter.before {
            end = end.min(reader.log.at_or_after(before, live)?);
        }
        let first = filter.after.map_or(Ok(Offset(0)), |after| reader.log.at_or_after(after, live))?;
        let rows = reader
            .views
            .scan_back(set(filter, first.0 / BUCKET_OFFSETS), set(filter, end.0 / BUCKET_OFFSETS + 1));
        let mut walk = Self { reader, rows, bucket: Vec::new(), end, head: None };
        walk.head = walk.step()?;
        Ok(walk)
    }

    fn head_key(&self) -> Option<(Timestamp, Place)> {
        self.head.as_ref().map(|order| (order.event.at, order.event.place))
    }

    fn take(&mut self) -> Result<Option<WorkOrder>, ReadError> {
        let next = if self.head.is_some() { self.step()? } else { None };
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn step(&mut self) -> Result<Option<WorkOrder>, ReadError> {
        loop {
            while let Some(offset) = self.bucket.pop() {
                if offset < self.end
                    && let Some(order) = work_order(self.reader, offset)?
                {
                    return Ok(Some(order));
                }
            }
            let Some(row) = self.rows.next() else { return Ok(None) };
            let (key, value) = row?;
            let bucket =
                u64::from_be_bytes(key[key.len() - 8..].try_into().expect("a bucket has eight bytes"));
            self.bucket = Bitmap::from_value(&value)?.offsets(bucket).collect();
        }
    }
}

/// The smallest set of work orders that holds all that fit.
fn set(filter: &Filter, bucket: u64) -> Key {
    match (filter.trigger, filter.state) {
        (Some(trigger), _) => by_trigger_key(trigger, bucket),
        (None, Some(state)) if is_final(state) => by_state_key(state, bucket),
        _ => by_trigger_key(ALL_TRIGGERS, bucket),
    }
}
