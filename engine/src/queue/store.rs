//! The queue's rows: written at a commit, found again at a start, and read while a lane's front runs short.
//!
//! Invariant: after a commit the rows are a function of the queue, whatever the turns were that led to it.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::LaneId,
    key::{Key, Tag},
    limits::{LANE_REFILL_ROWS, REQUEUED_MAX},
    place::Offset,
    rows::Rows,
    table::{AgainRow, HoldRow, Table, WaitingEntry, WaitingRow, lane_from_key, lane_key},
};

use super::Queue;

/// Writes the row that new first runs were added to.
pub fn put_tail(rows: &mut Rows, id: LaneId, bucket: u64, row: &WaitingRow) {
    // An empty row is one whose first runs were all taken while more of its bucket may still come.
    if row.0.is_empty() {
        rows.delete(WaitingRow::key(id, bucket));
    } else {
        rows.put(WaitingRow::key(id, bucket), Bytes::copy_from_slice(&row.0));
    }
}

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
        for (key, _) in scan_tag(rows, Tag::Gone, usize::MAX)? {
            let offset = key[1..9].try_into().expect("the key of a gone run has nine bytes");
            queue.gone.insert(Offset(u64::from_be_bytes(offset)));
        }
        queue.open_lanes(rows)?;
        for (key, value) in scan_tag(rows, Tag::Again, REQUEUED_MAX)? {
            let (id, offset) = lane_from_key(&key);
            queue.lanes.entry(id).or_default().again.insert(Offset(offset), AgainRow::from_value(&value)?);
            queue.requeued += 1;
        }
        let ids: Vec<LaneId> = queue.lanes.keys().copied().collect();
        for id in ids {
            queue.settle(id, rows);
        }
        Ok(queue)
    }

    /// One seek per lane: what waits in it is read when it is due.
    fn open_lanes(&mut self, rows: &mut Rows) -> Result<(), ReadError> {
        let end = Key::new(Tag::Waiting).prefix_end();
        let mut from = Key::new(Tag::Waiting);
        while let Some((key, _)) = rows.scan(from, end, 1)?.first() {
            let (id, bucket) = lane_from_key(key);
            let lane = self.lanes.entry(id).or_default();
            lane.more = Some(bucket);
            from = lane_key(Tag::Waiting, id).prefix_end();
        }
        // A lane whose runs are all with workers has no waiting rows, but a head.
        for (key, head) in scan_tag(rows, Tag::Head, usize::MAX)? {
            let lane = self.lanes.entry(lane_from_key(&key).0).or_default();
            lane.head = Offset(u64::from_le_bytes(head[..].try_into().expect("a head is eight bytes")));
            lane.loaded = lane.head;
        }
        Ok(())
    }

    /// Loads first runs into the fronts that ran short, so that a claim can look at them.
    pub fn refill(&mut self, rows: &mut Rows) -> Result<(), ReadError> {
        while let Some(id) = self.short.pop_first() {
            self.load(id, rows)?;
            self.settle(id, rows);
        }
        Ok(())
    }

    /// Loads first runs of a lane, if its front is empty and there are more.
    pub(super) fn load(&mut self, id: LaneId, rows: &mut Rows) -> Result<(), ReadError> {
        let Some(lane) = self.lanes.get_mut(&id) else { return Ok(()) };
        while lane.front.is_empty()
            && let Some(bucket) = lane.more
        {
            if let Some((tail, row)) = &lane.tail {
                put_tail(rows, id, *tail, row);
            }
            let end = lane_key(Tag::Waiting, id).prefix_end();
            let found = rows.scan(WaitingRow::key(id, bucket), end, LANE_REFILL_ROWS)?;
            lane.more = None;
            for (key, value) in &found {
                let bucket = lane_from_key(key).1;
                for entry in WaitingRow::entries(value, bucket)? {
                    if entry.offset >= lane.loaded {
                        lane.front.push_back(entry);
                        lane.loaded = entry.offset.advance(1);
                    }
                }
                lane.more = Some(bucket + 1);
            }
            if found.len() < LANE_REFILL_ROWS {
                lane.more = None;
            }
        }
        Ok(())
    }

    /// Takes the first of the first runs out of a lane, and its row with it when it was the last one there.
    pub(super) fn pop(&mut self, id: LaneId, rows: &mut Rows) -> Result<Option<WaitingEntry>, ReadError> {
        self.load(id, rows)?;
        let Some(lane) = self.lanes.get_mut(&id) else { return Ok(None) };
        let Some(entry) = lane.front.pop_front() else { return Ok(None) };
        lane.head = entry.offset.advance(1);
        self.touch(id);
        self.load(id, rows)?;
        let lane = self.lanes.get_mut(&id).expect("it was just there");
        let bucket = WaitingRow::bucket(entry.offset);
        if lane.front.front().is_none_or(|next| WaitingRow::bucket(next.offset) != bucket) {
            rows.delete(WaitingRow::key(id, bucket));
            if let Some((tail, row)) = &mut lane.tail
                && *tail == bucket
            {
                row.0.clear();
            }
        }
        Ok(Some(entry))
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        for id in self.dirty.drain(..) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.dirty = false;
            if let Some((bucket, row)) = &lane.tail {
                put_tail(rows, id, *bucket, row);
            }
            rows.put(lane_key(Tag::Head, id), Bytes::copy_from_slice(&lane.head.0.to_le_bytes()));
        }
    }
}

fn scan_tag(rows: &Rows, tag: Tag, most: usize) -> Result<Vec<(Key, Bytes)>, ReadError> {
    rows.scan(Key::new(tag), Key::new(tag).prefix_end(), most)
}
