//! The queue's rows: found again at a start, and read while a lane's front runs short.
//!
//! Invariant: after a commit the rows are a function of the queue, whatever the turns were that led to it.

use bytes::Bytes;
use keyway_storage::{
    error::{Damage, ReadError},
    event::LaneId,
    key::{Key, Tag},
    limits::BACKLOG_ROWS_PER_READ,
    place::Offset,
    rows::Rows,
    table::{AgainRow, BacklogRow, HoldRow, Table, WaitingEntry, bucket_from_key, lane_from_key},
};

use super::{Queue, backlog::Backlog, gone::Gone, lane};

impl Queue {
    /// Finds the queue that the rows describe; `busy` has a lane for each run that a worker has.
    pub fn open(rows: &mut Rows, busy: impl Iterator<Item = LaneId>) -> Result<Self, ReadError> {
        let mut queue = Self::default();
        for id in busy {
            queue.lanes.entry(id).or_default().busy += 1;
        }
        for (key, value) in scan_tag(rows, Tag::Hold, usize::MAX)? {
            queue.set_hold(lane_from_key(&key).0, HoldRow::from_value(&value)?);
        }
        queue.gone = Gone::open(rows)?;
        let lanes = &mut queue.lanes;
        queue.backlog = Backlog::open(rows, |entry| {
            lanes.entry(entry.lane).or_default().append(entry.lane, entry.waiting);
        })?;
        // All of them: the bound is kept where runs are added, and some are let in beyond it by hand.
        for (key, value) in scan_tag(rows, Tag::Again, usize::MAX)? {
            let (id, offset) = lane_from_key(&key);
            queue.lanes.entry(id).or_default().again.insert(Offset(offset), AgainRow::from_value(&value)?);
            queue.requeued += 1;
        }
        let mut ids: Vec<LaneId> = queue.lanes.keys().copied().collect();
        // Their turns follow from the rows alone.
        ids.sort_unstable();
        queue.has_former = ids.iter().chain(queue.holds.keys()).any(|id| lane::is_former(*id));
        for id in ids {
            queue.settle(id, rows);
        }
        Ok(queue)
    }

    /// Loads first runs into the fronts that ran short, so that a claim can look at them.
    pub fn refill(&mut self, rows: &mut Rows) -> Result<(), ReadError> {
        while let Some(id) = self.short.pop_first() {
            self.load(id, rows)?;
        }
        Ok(())
    }

    /// Loads first runs of a lane, if its front is empty and there are more, and of its neighbours on the way.
    pub(super) fn load(&mut self, id: LaneId, rows: &mut Rows) -> Result<(), ReadError> {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.is_short()) else { return Ok(()) };
        let begin = lane.next;
        self.backlog.write_tail(id.owner, rows);
        let mut from = begin;
        while self.lanes.get(&id).is_some_and(|lane| lane.is_short()) {
            let key = BacklogRow::key(id.owner, from);
            let found = rows.scan(key, BacklogRow::end(id.owner), BACKLOG_ROWS_PER_READ)?;
            if found.is_empty() {
                return Err(Damage::new("row", "a work order that waits is in none").into());
            }
            for (key, value) in &found {
                let (owner, bucket) = bucket_from_key(key)?;
                from = bucket + 1;
                for entry in BacklogRow::entries(value, owner, bucket) {
                    let entry = entry?;
                    if let Some(lane) = self.lanes.get_mut(&entry.lane) {
                        lane.read(entry, bucket, begin);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the first of the first runs out of a lane.
    pub(super) fn pop(&mut self, id: LaneId, rows: &mut Rows) -> Result<Option<WaitingEntry>, ReadError> {
        self.load(id, rows)?;
        let Some(entry) = self.lanes.get_mut(&id).and_then(|lane| lane.pop()) else { return Ok(None) };
        self.backlog.take(id.owner, entry.offset, rows);
        Ok(Some(entry))
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        self.backlog.flush(rows);
    }
}

fn scan_tag(rows: &Rows, tag: Tag, most: usize) -> Result<Vec<(Key, Bytes)>, ReadError> {
    rows.scan(Key::new(tag), Key::new(tag).prefix_end(), most)
}
