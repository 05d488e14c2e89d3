//! The backlog: the rows of first runs that wait, of all lanes of a workflow in one line.
//!
//! Invariant: a work order waits for its first run exactly if it is in a row and not among those taken from it. Rows are a
//! function of what came and what was taken in which order, whatever the commits were between.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::LaneId,
    key::{Key, Tag},
    limits::BACKLOG_ROWS_PER_READ,
    place::Offset,
    rows::Rows,
    table::{BacklogEntry, BacklogRow, Bitmap, WaitingEntry, bucket_from_key, taken_key},
};

/// A bucket of a workflow.
type Bucket = (u64, u64);

/// What waits on disk, by the buckets of the log.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The row of each workflow that new first runs are added to.
    tails: BTreeMap<u64, Tail>,
    /// All other rows.
    left: BTreeMap<Bucket, Left>,
    /// Rows that changed since the last commit.
    dirty: Vec<Bucket>,
}

#[derive(Debug)]
struct Tail {
    bucket: u64,
    row: BacklogRow,
    is_longer: bool,
    left: Left,
}

/// What of a row waits.
#[derive(Debug, Default, Clone, Copy)]
struct Left {
    waiting: u16,
    taken: Bitmap,
    is_dirty: bool,
    /// Whether there are rows to delete when nothing waits.
    is_written: bool,
    is_taken_written: bool,
}

impl Backlog {
    /// Adds a work order behind all others of its workflow.
    pub fn push(&mut self, lane: LaneId, entry: WaitingEntry, rows: &mut Rows) -> Result<(), ReadError> {
        let bucket = Bitmap::bucket(entry.offset);
        let tail = match self.tails.get_mut(&lane.owner) {
            Some(tail) if tail.bucket == bucket => tail,
            _ => self.begin(lane.owner, bucket, rows)?,
        };
        tail.row.push(lane, entry);
        tail.is_longer = true;
        tail.left.waiting += 1;
        if !tail.left.is_dirty {
            tail.left.is_dirty = true;
            self.dirty.push((lane.owner, bucket));
        }
        Ok(())
    }

    /// Begins the row of a bucket, or goes on with what is on disk of it.
    fn begin(&mut self, owner: u64, bucket: u64, rows: &mut Rows) -> Result<&mut Tail, ReadError> {
        if let Some(mut old) = self.tails.remove(&owner) {
            old.write(owner, rows);
            self.left.insert((owner, old.bucket), old.left);
        }
        // A start leaves the last row on disk, and something may have been taken from it since.
        let left = self.left.remove(&(owner, bucket));
        let row = match left {
            Some(_) => rows.get(&BacklogRow::key(owner, bucket))?.map_or_else(Vec::new, Vec::from),
            None => Vec::new(),
        };
        let tail = Tail { bucket, row: BacklogRow(row), is_longer: false, left: left.unwrap_or_default() };
        Ok(self.tails.entry(owner).insert_entry(tail).into_mut())
    }

    /// Takes a work order out.
    pub fn take(&mut self, owner: u64, offset: Offset, rows: &mut Rows) {
        let bucket = Bitmap::bucket(offset);
        let tail = self.tails.get_mut(&owner).filter(|tail| tail.bucket == bucket);
        let is_tail = tail.is_some();
        let left = match tail {
            Some(tail) => &mut tail.left,
            None => self.left.get_mut(&(owner, bucket)).expect("what waits is in a row"),
        };
        left.waiting -= 1;
        if left.waiting > 0 {
            left.taken.insert(offset);
            if !left.is_dirty {
                left.is_dirty = true;
                self.dirty.push((owner, bucket));
            }
            return;
        }
        if left.is_written {
            rows.delete(BacklogRow::key(owner, bucket));
        }
        if left.is_taken_written {
            rows.delete(taken_key(owner, bucket));
        }
        if is_tail {
            self.tails.remove(&owner);
        } else {
            self.left.remove(&(owner, bucket));
        }
    }

    /// Writes what is in memory of a workflow's rows, so that they can be read.
    pub fn write_tail(&mut self, owner: u64, rows: &mut Rows) {
        if let Some(tail) = self.tails.get_mut(&owner) {
            tail.write(owner, rows);
        }
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        for (owner, bucket) in self.dirty.drain(..) {
            let left = match self.tails.get_mut(&owner).filter(|tail| tail.bucket == bucket) {
                Some(tail) => {
                    tail.write(owner, rows);
                    &mut tail.left
                }
                None => match self.left.get_mut(&(owner, bucket)) {
                    Some(left) => left,
                    None => continue,
                },
            };
            left.is_dirty = false;
            if !left.taken.is_empty() {
                left.is_taken_written = true;
                rows.put(taken_key(owner, bucket), Bytes::copy_from_slice(&left.taken.0));
            }
        }
    }

    /// Finds what the rows hold, and calls `see` with all that waits, for each workflow in the order of the log.
    pub fn open(rows: &Rows, mut see: impl FnMut(BacklogEntry)) -> Result<Self, ReadError> {
        let mut backlog = Self::default();
        let end = Key::new(Tag::Backlog).prefix_end();
        let mut from = Key::new(Tag::Backlog);
        loop {
            let found = rows.scan(from, end, BACKLOG_ROWS_PER_READ)?;
            let Some((last, _)) = found.last() else { return Ok(backlog) };
            let (owner, bucket) = bucket_from_key(last)?;
            from = BacklogRow::key(owner, bucket + 1);
            for (key, value) in &found {
                backlog.open_row(key, value, rows, &mut see)?;
            }
        }
    }

    fn open_row(
        &mut self,
        key: &Key,
        value: &[u8],
        rows: &Rows,
        see: &mut impl FnMut(BacklogEntry),
    ) -> Result<(), ReadError> {
        let (owner, bucket) = bucket_from_key(key)?;
        let taken = rows.get(&taken_key(owner, bucket))?;
        let is_taken_written = taken.is_some();
        let taken = taken.map_or(Ok(Bitmap::default()), |taken| Bitmap::from_value(&taken))?;
        let mut left = Left { taken, is_written: true, is_taken_written, ..Left::default() };
        for entry in BacklogRow::entries(value, owner, bucket) {
            let entry = entry?;
            if !taken.contains(entry.waiting.offset) {
                left.waiting += 1;
                see(entry);
            }
        }
        self.left.insert((owner, bucket), left);
        Ok(())
    }
}

impl Tail {
    fn write(&mut self, owner: u64, rows: &mut Rows) {
        if self.is_longer {
            self.is_longer = false;
            self.left.is_written = true;
            rows.put(BacklogRow::key(owner, self.bucket), Bytes::copy_from_slice(&self.row.0));
        }
    }
}
