//! A walk over the work orders or open dead letters of all shards, oldest first.
//!
//! Invariant: events come by (time, shard, offset), ascending. Between two steps the walk holds nothing of the store but
//! one event of each log, so that it may take as long as it likes.

use std::collections::VecDeque;

use keyway_storage::{
    error::ReadError,
    event::{Event, RunState, TriggerId},
    key::{Key, Tag},
    limits::WALK_ROWS,
    place::{Offset, Span, Timestamp},
    table::{BUCKET_OFFSETS, Bitmap, by_state_key, by_trigger_key},
};

use super::set::Buckets;
use crate::{projection::ALL_TRIGGERS, run::is_final, shard::ShardReader};

/// Which events a walk comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Dead letters that are open.
    Letters,
    /// Work orders of this trigger, or of all; of those that ended in a state, only these.
    WorkOrders {
        /// The trigger.
        trigger: Option<TriggerId>,
        /// The state.
        state: Option<RunState>,
    },
}

/// A walk over all logs.
pub struct Forward<'a> {
    logs: Vec<LogWalk<'a>>,
}

impl<'a> Forward<'a> {
    /// A walk over these parts of the logs, one for each reader.
    pub fn new(readers: &'a [ShardReader], along: Along, spans: &[Span]) -> Self {
        assert_eq!(readers.len(), spans.len());
        let log = |(reader, span): (&'a ShardReader, &Span)| LogWalk::new(reader, along, *span);
        Self { logs: readers.iter().zip(spans).map(log).collect() }
    }

    /// The next event.
    pub fn step(&mut self) -> Result<Option<Event>, ReadError> {
        for log in &mut self.logs {
            log.load()?;
        }
        let heads = self.logs.iter_mut().filter(|log| log.head.is_some());
        let oldest = heads.min_by_key(|log| log.head.as_ref().map(|event| (event.at, event.place)));
        Ok(oldest.and_then(|log| log.head.take()))
    }

    /// How many events there are from here on, without reading them. Only of a walk that was not begun.
    pub fn count(mut self) -> Result<u64, ReadError> {
        let mut count = 0;
        for log in &mut self.logs {
            while log.refill()? {
                count += log.offsets.len() as u64;
                log.offsets.clear();
            }
        }
        Ok(count)
    }
}

/// The part of a log between two times, cut to what is there.
pub fn between(
    reader: &ShardReader,
    live: Span,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
) -> Result<Span, ReadError> {
    let first = after.map_or(Ok(live.first), |after| reader.log.at_or_after(after, live))?;
    let end = before.map_or(Ok(live.end), |before| reader.log.at_or_after(before, live))?;
    Ok(Span { first, end: end.max(first) })
}

struct LogWalk<'a> {
    reader: &'a ShardReader,
    along: Along,
    /// What was not looked at.
    rest: Span,
    offsets: VecDeque<Offset>,
    head: Option<Event>,
}

impl<'a> LogWalk<'a> {
    fn new(reader: &'a ShardReader, along: Along, rest: Span) -> Self {
        Self { reader, along, rest, offsets: VecDeque::new(), head: None }
    }

    /// Reads the next event, if the last one was taken.
    fn load(&mut self) -> Result<(), ReadError> {
        while self.head.is_none() {
            let Some(offset) = self.offsets.pop_front() else {
                if self.refill()? {
                    continue;
                }
                return Ok(());
            };
            self.head = self.reader.log.event(offset)?;
        }
        Ok(())
    }

    /// Finds more offsets; false when there are none.
    fn refill(&mut self) -> Result<bool, ReadError> {
        while self.offsets.is_empty() && !self.rest.is_empty() {
            match self.along {
                Along::Letters => self.read_letters()?,
                Along::WorkOrders { trigger, state } => {
                    let trigger = trigger.unwrap_or(ALL_TRIGGERS);
                    match state.filter(|state| is_final(*state)) {
                        Some(state) => self.read_sets(|bucket| by_state_key(state, bucket))?,
                        None => self.read_sets(|bucket| by_trigger_key(trigger, bucket))?,
                    }
                }
            }
        }
        Ok(!self.offsets.is_empty())
    }

    fn read_letters(&mut self) -> Result<(), ReadError> {
        let key = |offset: Offset| Key::new(Tag::DeadLetter).u64(offset.0);
        let most = WALK_ROWS * BUCKET_OFFSETS as usize;
        let rows = self.reader.state.scan(key(self.rest.first), key(self.rest.end)).take(most);
        let mut last = None;
        for row in rows {
            let (key, _) = row?;
            let offset = key[1..9].try_into().expect("the key of a dead letter has nine bytes");
            last = Some(Offset(u64::from_be_bytes(offset)));
            self.offsets.extend(last);
        }
        let full = self.offsets.len() == most;
        self.rest.first = last.filter(|_| full).map_or(self.rest.end, |last| last.advance(1));
        Ok(())
    }

    fn read_sets(&mut self, key: impl Fn(u64) -> Key) -> Result<(), ReadError> {
        let buckets = Buckets::of(self.rest.first, self.rest.end);
        let range = self.rest.first..self.rest.end;
        let (mut last, mut count) = (buckets.first, 0);
        for row in self.reader.views.scan(key(buckets.first), key(buckets.end)).take(WALK_ROWS) {
            let (key, value) = row?;
            last = key.last_u64();
            let set = Bitmap::from_value(&value)?;
            self.offsets.extend(set.offsets(last).filter(|offset| range.contains(offset)));
            count += 1;
        }
        let next = if count == WALK_ROWS { Offset((last + 1) * BUCKET_OFFSETS) } else { self.rest.end };
        self.rest.first = next.min(self.rest.end);
        Ok(())
    }
}
