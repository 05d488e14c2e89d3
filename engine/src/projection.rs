//! Views: what people read. The second projection of the log; it may lag, and the log tells what it lacks.
//!
//! Invariant: rows = fold(log[..watermark]), in sets of offsets, so that the same log gives the same rows.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use keyway_storage::{
    error::{CommitError, ReadError},
    event::{Event, EventKind, TriggerId},
    key::{Key, Tag},
    place::{Offset, RunKey},
    rows::{Rows, RowsReader},
    table::{BUCKET_OFFSETS, Bitmap, by_state_key, by_trigger_key, report_key},
};

use crate::run::ENDED_STATES;

/// Stands for all triggers.
pub const ALL_TRIGGERS: TriggerId = TriggerId([0; 16]);

/// The views of one shard.
pub struct Views {
    rows: Rows,
    /// The sets that were looked at since the last commit: many events of a turn fall into the same few.
    sets: BTreeMap<Key, OpenSet>,
}

/// A set as its row has it, and as it will be.
#[derive(Clone, Copy)]
struct OpenSet {
    before: Bitmap,
    now: Bitmap,
}

impl Views {
    /// Takes up the views that the rows hold.
    pub fn open(rows: Rows) -> Self {
        Self { rows, sets: BTreeMap::new() }
    }

    /// The first event that the rows do not reflect.
    pub fn watermark(&self) -> Offset {
        self.rows.watermark()
    }

    /// Commits what the events so far changed.
    pub fn commit(&mut self, watermark: Offset) -> Result<(), CommitError> {
        for (key, set) in std::mem::take(&mut self.sets) {
            if set.now.is_empty() && !set.before.is_empty() {
                self.rows.delete(key);
            } else if set.now != set.before {
                self.rows.put(key, Bytes::copy_from_slice(&set.now.0));
            }
        }
        self.rows.commit(watermark)
    }

    /// Forgets what is not committed.
    pub fn discard(&mut self) {
        self.sets.clear();
        self.rows.discard();
    }

    /// Drops everything, so that it is derived anew.
    pub fn clear(&mut self) -> Result<(), CommitError> {
        self.sets.clear();
        self.rows.clear()
    }

    /// A reader of committed rows.
    pub fn reader(&self) -> RowsReader {
        self.rows.reader()
    }

    /// Whether a work order was made by the event at this offset, as far as the views were brought.
    pub fn is_work_order(&mut self, offset: Offset) -> Result<bool, ReadError> {
        let set = self.set(by_trigger_key(ALL_TRIGGERS, offset.0 / BUCKET_OFFSETS))?;
        Ok(set.contains(offset))
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &Event) -> Result<(), ReadError> {
        let offset = event.place.offset;
        match &event.kind {
            EventKind::Received(received) => {
                self.insert(|bucket| by_trigger_key(ALL_TRIGGERS, bucket), offset)?;
                self.insert(|bucket| by_trigger_key(received.trigger, bucket), offset)
            }
            EventKind::DeadLettered(_) => self.insert(|bucket| Key::new(Tag::Letters).u64(bucket), offset),
            EventKind::DeadLetterClosed(closed) => {
                let end = Bytes::copy_from_slice(&offset.0.to_le_bytes());
                self.rows.put(Key::new(Tag::LetterEnd).u64(closed.letter.0), end);
                Ok(())
            }
            EventKind::RunStarted(event) => self.report(event.run, offset),
            EventKind::StepStarted(event) => self.report(event.run, offset),
            EventKind::StepFinished(event) => self.report(event.run, offset),
            EventKind::LogWritten(event) => self.report(event.run, offset),
            EventKind::RunRequested(event) => {
                self.insert(|bucket| Key::new(Tag::Requested).u64(bucket), event.run.work_order)?;
                self.insert(|bucket| Key::new(Tag::Requested).u64(bucket), offset)?;
                self.leave_states(event.run.work_order)
            }
            EventKind::RunFinished(event) => {
                self.leave_states(event.run.work_order)?;
                self.insert(|bucket| by_state_key(event.state, bucket), event.run.work_order)?;
                self.report(event.run, offset)
            }
            _ => Ok(()),
        }
    }

    fn report(&mut self, run: RunKey, offset: Offset) -> Result<(), ReadError> {
        self.insert(|bucket| report_key(run, bucket), offset)
    }

    fn insert(&mut self, key: impl Fn(u64) -> Key, offset: Offset) -> Result<(), ReadError> {
        self.set(key(offset.0 / BUCKET_OFFSETS))?.insert(offset);
        Ok(())
    }

    /// Takes a work order out of the state that it ended in before, if it did.
    fn leave_states(&mut self, work_order: Offset) -> Result<(), ReadError> {
        for state in ENDED_STATES {
            self.set(by_state_key(state, work_order.0 / BUCKET_OFFSETS))?.remove(work_order);
        }
        Ok(())
    }

    fn set(&mut self, key: Key) -> Result<&mut Bitmap, ReadError> {
        match self.sets.entry(key) {
            Entry::Occupied(open) => Ok(&mut open.into_mut().now),
            Entry::Vacant(vacant) => {
                let value = self.rows.get(&key)?;
                let before = value.map_or(Ok(Bitmap::default()), |value| Bitmap::from_value(&value))?;
                Ok(&mut vacant.insert(OpenSet { before, now: before }).now)
            }
        }
    }
}
