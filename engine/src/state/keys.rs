//! Idempotency keys: when each is forgotten, and how many are remembered.
//!
//! Invariant: which keys are remembered follows from the events and their times alone. `front` holds those that are
//! forgotten next, without a hole; the rows behind it are read when it is empty.

use std::collections::BTreeSet;

use bytes::Bytes;
use keyway_storage::{
    error::{Damage, ReadError},
    key::{Key, Tag},
    limits::{ONCE_FORGOTTEN_PER_EVENT_MAX, ONCE_FRONT_ENTRIES_MAX},
    place::Timestamp,
    rows::Rows,
    table::{OnceEnd, OnceRow, Table},
};

/// The ends of all windows of one shard.
#[derive(Debug)]
pub struct Keys {
    most: u64,
    count: u64,
    dirty: bool,
    front: BTreeSet<OnceEnd>,
    /// No row comes before it: a scan that begins here does not meet what was deleted before.
    begin: Key,
    /// Whether there may be rows behind the front.
    more: bool,
}

impl Keys {
    /// Takes up the keys that the rows hold; at most so many are remembered.
    pub fn open(rows: &Rows, most: u64) -> Result<Self, ReadError> {
        let count = match rows.get(&Key::new(Tag::OnceCount))? {
            Some(value) => count_of(&value)?,
            None => 0,
        };
        let begin = Key::new(Tag::OnceUntil);
        Ok(Self { most, count, dirty: false, front: BTreeSet::new(), begin, more: count > 0 })
    }

    /// How many are remembered.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Remembers a key: its row, and when it goes.
    pub fn remember(&mut self, end: OnceEnd, row: OnceRow, rows: &mut Rows) {
        assert_eq!(end.until, row.until);
        rows.put(OnceRow::key(end.trigger, end.key), row.to_value());
        rows.put(end.row_key(), Bytes::new());
        self.count += 1;
        self.dirty = true;
        self.begin = self.begin.min(end.row_key());
        let behind = self.front.last().is_none_or(|last| end > *last);
        if self.more && behind {
            return;
        }
        self.front.insert(end);
        if self.front.len() > ONCE_FRONT_ENTRIES_MAX {
            self.front.pop_last();
            self.more = true;
        }
    }

    /// Forgets keys whose time has come, and those that are too many, so many an event.
    pub fn forget(&mut self, now: Timestamp, rows: &mut Rows) -> Result<(), ReadError> {
        for _ in 0..ONCE_FORGOTTEN_PER_EVENT_MAX {
            if self.front.is_empty() && self.more {
                self.refill(rows)?;
            }
            let too_many = self.count > self.most;
            let Some(end) = self.front.first().filter(|end| end.until <= now || too_many).copied() else {
                return Ok(());
            };
            self.front.pop_first();
            self.remove(end, rows)?;
        }
        Ok(())
    }

    fn remove(&mut self, end: OnceEnd, rows: &mut Rows) -> Result<(), ReadError> {
        rows.delete(end.row_key());
        self.begin = end.row_key();
        self.count -= 1;
        self.dirty = true;
        let key = OnceRow::key(end.trigger, end.key);
        let row = rows.get(&key)?.map(|value| OnceRow::from_value(&value)).transpose()?;
        // A key that came again after its window stands for something new, and has a later end.
        if row.is_some_and(|row| row.until == end.until) {
            rows.delete(key);
        }
        Ok(())
    }

    fn refill(&mut self, rows: &Rows) -> Result<(), ReadError> {
        let end = Key::new(Tag::OnceUntil).prefix_end();
        let found = rows.scan(self.begin, end, ONCE_FRONT_ENTRIES_MAX)?;
        self.more = found.len() == ONCE_FRONT_ENTRIES_MAX;
        for (key, _) in found {
            self.front.insert(OnceEnd::from_row_key(&key)?);
        }
        Ok(())
    }

    /// Writes what the commit needs besides the rows of the keys.
    pub fn flush(&mut self, rows: &mut Rows) {
        if self.dirty {
            rows.put(Key::new(Tag::OnceCount), Bytes::copy_from_slice(&self.count.to_le_bytes()));
            self.dirty = false;
        }
    }
}

/// The number in a row of `OnceCount`.
pub fn count_of(value: &[u8]) -> Result<u64, Damage> {
    let bytes = value.try_into().map_err(|_| Damage::new("row", "a count is not eight bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}
