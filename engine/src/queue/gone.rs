//! First runs that were cancelled while they waited, until their lane comes to them.
//!
//! Invariant: memory is bounded by the rows of the backlog they wait in, 32 bytes for 256 neighbouring offsets, however
//! many of them were cancelled.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyway_storage::{
    error::{Damage, ReadError},
    key::{Key, Tag},
    limits::GONE_ROWS_PER_READ,
    place::Offset,
    rows::Rows,
    table::Bitmap,
};

/// Work orders whose first run was cancelled, by the buckets of the log.
#[derive(Debug, Default)]
pub struct Gone(BTreeMap<u64, Bitmap>);

impl Gone {
    /// Finds those that the rows have.
    pub fn open(rows: &Rows) -> Result<Self, ReadError> {
        let mut gone = Self::default();
        let end = Key::new(Tag::Gone).prefix_end();
        let mut from = Key::new(Tag::Gone);
        loop {
            let found = rows.scan(from, end, GONE_ROWS_PER_READ)?;
            let Some((last, _)) = found.last() else { return Ok(gone) };
            from = key(offset_from_key(last)?.advance(1));
            for (key, _) in &found {
                gone.add(offset_from_key(key)?);
            }
        }
    }

    /// Whether it is one of them.
    pub fn contains(&self, offset: Offset) -> bool {
        self.0.get(&Bitmap::bucket(offset)).is_some_and(|bitmap| bitmap.contains(offset))
    }

    /// Adds one.
    pub fn insert(&mut self, offset: Offset, rows: &mut Rows) {
        self.add(offset);
        rows.put(key(offset), Bytes::new());
    }

    fn add(&mut self, offset: Offset) {
        self.0.entry(Bitmap::bucket(offset)).or_default().insert(offset);
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, offset: Offset, rows: &mut Rows) -> bool {
        let bucket = Bitmap::bucket(offset);
        let Some(bitmap) = self.0.get_mut(&bucket).filter(|bitmap| bitmap.contains(offset)) else {
            return false;
        };
        bitmap.remove(offset);
        if bitmap.is_empty() {
            self.0.remove(&bucket);
        }
        rows.delete(key(offset));
        true
    }
}

fn key(offset: Offset) -> Key {
    Key::new(Tag::Gone).u64(offset.0)
}

fn offset_from_key(key: &Key) -> Result<Offset, Damage> {
    let bytes = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    bytes.map(Offset).ok_or_else(|| Damage::new("row", "the key of a cancelled run has not nine bytes"))
}
