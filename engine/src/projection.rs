//! Views: what people read. The second projection of the log; it may lag, and the log tells what it lacks.
//!
//! Invariant: rows = fold(log[..watermark]), in sets of offsets, so that the same log gives the same rows.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use bytes::Bytes;
use keyway_storage::{
    error::{CommitError, Damage, ReadError},
    event::{Event, EventKind, HistoryCut, TriggerId},
    key::{Key, Tag},
    limits::RESTORE_ROWS_MAX,
    place::{Offset, RunKey},
    rows::{Rows, RowsReader},
    table::{Bitmap, by_state_key, by_trigger_key, report_key},
};

use crate::run::ENDED_STATES;

/// Stands for all triggers.
pub const ALL_TRIGGERS: TriggerId = TriggerId([0; 16]);

/// The views of one shard.
pub struct Views {
    rows: Rows,
    /// The sets that were looked at since the last commit: many events of a turn fall into the same few.
    sets: BTreeMap<Key, OpenSet>,
    /// Work orders that came one after the other, and are not in their sets yet.
    run: Option<OrderRun>,
    /// The last row that was copied of the base, while it is copied.
    restored: Option<Key>,
}

/// A set as its row has it, and as it will be.
#[derive(Clone, Copy)]
struct OpenSet {
    before: Bitmap,
    now: Bitmap,
}

/// Work orders of one trigger, as they come in runs. Their sets were looked at.
struct OrderRun {
    trigger: TriggerId,
    bucket: u64,
    orders: Bitmap,
}

impl Views {
    /// Takes up the views that the rows hold.
    pub fn open(rows: Rows) -> Self {
        Self { rows, sets: BTreeMap::new(), run: None, restored: None }
    }

    /// The first event that the rows do not reflect.
    pub fn watermark(&self) -> Offset {
        self.rows.watermark()
    }

    /// Commits what the events so far changed.
    pub fn commit(&mut self, watermark: Offset) -> Result<(), CommitError> {
        self.end_run();
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
        self.run = None;
        self.restored = None;
        self.rows.discard();
    }

    /// Drops everything, so that it is derived anew.
    pub fn clear(&mut self) -> Result<(), CommitError> {
        self.sets.clear();
        self.run = None;
        self.restored = None;
        self.rows.clear()
    }

    /// Copies the next rows of the base, with which the derivation of a log begins that was cut. Returns the watermark to
    /// commit them with.
    pub fn restore(&mut self) -> Result<Offset, ReadError> {
        let base = self.rows.base()?.ok_or_else(no_base)?.reader();
        self.restored = self.rows.copy(&base, self.restored, RESTORE_ROWS_MAX)?;
        match self.restored {
            Some(_) => Ok(self.rows.watermark()),
            None => self.rows.watermark_of(&base),
        }
    }

    /// The empty base of these views, or what was folded into it so far.
    pub fn make_base(&self) -> Result<Rows, ReadError> {
        self.rows.make_base()
    }

    /// A reader of committed rows.
    pub fn reader(&self) -> RowsReader {
        self.rows.reader()
    }

    /// Whether a work order was made by the event at this offset, as far as the views were brought.
    pub fn is_work_order(&mut self, offset: Offset) -> Result<bool, ReadError> {
        let set = self.set(by_trigger_key(ALL_TRIGGERS, Bitmap::bucket(offset)))?;
        Ok(set.contains(offset))
    }

    /// Whether a dead letter was made by the event at this offset, open or not.
    pub fn is_letter(&mut self, offset: Offset) -> Result<bool, ReadError> {
        Ok(self.set(Key::new(Tag::Letters).u64(Bitmap::bucket(offset)))?.contains(offset))
    }

    /// The oldest work order of a trigger in the committed rows, or of all.
    pub fn oldest(&self, trigger: TriggerId) -> Result<Option<Offset>, ReadError> {
        let from = by_trigger_key(trigger, 0);
        let first = self.rows.scan(from, by_trigger_key(trigger, u64::MAX), 1)?.pop();
        let Some((key, value)) = first else { return Ok(None) };
        let bucket = key.last_u64();
        Ok(Bitmap::from_value(&value)?.offsets(bucket).next())
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &Event) -> Result<(), ReadError> {
        let offset = event.place.offset;
        match &event.kind {
            EventKind::Received(received) => self.insert_order(received.trigger, offset),
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
            EventKind::HistoryCut(cut) => self.cut(cut),
            _ => Ok(()),
        }
    }

    fn cut(&mut self, cut: &HistoryCut) -> Result<(), ReadError> {
        for of in &cut.of {
            for order in of.orders.iter().copied() {
                let bucket = Bitmap::bucket(order);
                self.set(by_trigger_key(ALL_TRIGGERS, bucket))?.remove(order);
                self.set(by_trigger_key(of.trigger, bucket))?.remove(order);
                self.set(Key::new(Tag::Requested).u64(bucket))?.remove(order);
                self.leave_states(order)?;
                self.cut_reports(order)?;
            }
        }
        for requested in cut.requested.iter().copied() {
            self.set(Key::new(Tag::Requested).u64(Bitmap::bucket(requested)))?.remove(requested);
        }
        for letter in cut.letters.iter().copied() {
            self.set(Key::new(Tag::Letters).u64(Bitmap::bucket(letter)))?.remove(letter);
            self.rows.delete(Key::new(Tag::LetterEnd).u64(letter.0));
        }
        Ok(())
    }

    /// Empties the sets of events that report on the runs of a work order.
    fn cut_reports(&mut self, order: Offset) -> Result<(), ReadError> {
        let prefix = Key::new(Tag::Report).u64(order.0);
        let stored = self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)?;
        let looked_at = self.sets.range(prefix..prefix.prefix_end()).map(|(key, _)| *key);
        let keys: BTreeSet<Key> = stored.into_iter().map(|(key, _)| key).chain(looked_at).collect();
        for key in keys {
            *self.set(key)? = Bitmap::default();
        }
        Ok(())
    }

    fn report(&mut self, run: RunKey, offset: Offset) -> Result<(), ReadError> {
        self.insert(|bucket| report_key(run, bucket), offset)
    }

    fn insert(&mut self, key: impl Fn(u64) -> Key, offset: Offset) -> Result<(), ReadError> {
        self.set(key(Bitmap::bucket(offset)))?.insert(offset);
        Ok(())
    }

    /// Takes a work order out of the state that it ended in before, if it did.
    fn leave_states(&mut self, work_order: Offset) -> Result<(), ReadError> {
        for state in ENDED_STATES {
            self.set(by_state_key(state, Bitmap::bucket(work_order)))?.remove(work_order);
        }
        Ok(())
    }

    fn insert_order(&mut self, trigger: TriggerId, offset: Offset) -> Result<(), ReadError> {
        let bucket = Bitmap::bucket(offset);
        if let Some(run) = &mut self.run
            && (run.trigger, run.bucket) == (trigger, bucket)
        {
            run.orders.insert(offset);
            return Ok(());
        }
        for of in [ALL_TRIGGERS, trigger] {
            self.set(by_trigger_key(of, bucket))?;
        }
        let mut orders = Bitmap::default();
        orders.insert(offset);
        self.run = Some(OrderRun { trigger, bucket, orders });
        Ok(())
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        for of in [ALL_TRIGGERS, run.trigger] {
            let set = self.sets.get_mut(&by_trigger_key(of, run.bucket));
            set.expect("it was looked at when the run began").now.unite(run.orders);
        }
    }

    fn set(&mut self, key: Key) -> Result<&mut Bitmap, ReadError> {
        self.end_run();
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

/// A log that begins behind offset 0 without rows that stand for what was before.
pub fn no_base() -> ReadError {
    Damage::new("log", "its beginning was cut, and the rows that stand for it are not there").into()
}
