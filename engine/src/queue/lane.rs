//! A lane: one line of work orders, first in, first out.
//!
//! Invariant: every waiting work order of the lane is in `again`, in `front`, or on disk behind `front`; those in
//! `front` have been loaded without a hole, so that the first of `again` and `front` is the lane's next.

use std::collections::{BTreeMap, VecDeque};

use keyway_storage::{
    event::{LaneId, Received, TriggerId},
    limits::{LANE_FRONT_ENTRIES_MAX, LANE_FRONT_ORDERED_MAX, ORDERING_PARTITIONS},
    place::Offset,
    table::{AgainRow, BacklogEntry, Bitmap, WaitingEntry},
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::project::{Ordering, Trigger, Workflow};

/// Lanes of this number have no order: as many runs at once as the limits allow.
pub const NONE: u16 = 0;
/// Reruns of work orders without order; served first.
pub const RERUN: u16 = 1;
/// The one lane of a workflow with concurrency 1.
pub const SERIAL: u16 = 2;
/// A work order without order that waits for its retry, by itself; the lane's key is its offset.
pub const PRIVATE: u16 = 3;
/// Inputs without order that go through again in a replay; served last.
pub const REPLAYED: u16 = 4;
/// The one lane of a trigger whose inputs run one at a time; the lane's key is a hash of the trigger.
pub const TRIGGER: u16 = 5;
/// The first of the lanes that inputs are spread over by key or stream. Up to `OWN`, equal keys of two triggers of a
/// workflow are one key: inputs got there before triggers were told apart.
pub const KEYED: u16 = 16;
/// The first of the lanes that inputs are spread over by their trigger, and its key or stream.
pub const OWN: u16 = KEYED + ORDERING_PARTITIONS;

/// The lane in which an input waits.
pub fn lane_of(workflow: &Workflow, trigger: &Trigger, key: Option<u64>, stream: u64) -> LaneId {
    let spread = |hash: u64| OWN + spot(of_trigger(trigger.id, hash));
    let number = match (workflow.concurrency, trigger.ordering, key) {
        (_, Ordering::All | Ordering::Alone, _) => {
            let key = xxh3_64(&trigger.id.0).max(1);
            return LaneId { owner: workflow.id.0, number: TRIGGER, key };
        }
        (Some(1), _, _) => SERIAL,
        (_, Ordering::Key, Some(key)) => spread(key),
        (_, Ordering::Partition, _) => spread(stream),
        (_, Ordering::Key | Ordering::None, _) => NONE,
    };
    LaneId { owner: workflow.id.0, number, key: 0 }
}

/// The lane in which an input waited before triggers were told apart; `None` where nothing else came of that.
pub fn former_lane(lane: LaneId, trigger: &Trigger, key: Option<u64>, stream: u64) -> Option<LaneId> {
    let hash = match trigger.ordering {
        Ordering::Partition => stream,
        _ => key?,
    };
    (lane.number >= OWN).then_some(LaneId { number: KEYED + spot(hash), ..lane })
}

/// Whether inputs waited in this lane before triggers were told apart, and none begin to now.
pub fn is_former(lane: LaneId) -> bool {
    (KEYED..OWN).contains(&lane.number)
}

/// The hash by which its lane tells an input's key from others.
pub fn line_key(input: &Received) -> Option<u64> {
    match input.lane.number {
        OWN.. => input.key.map(|key| of_trigger(input.trigger, key)),
        _ => input.key,
    }
}

/// One hash of both; 0 stands for no key in a lane's id.
fn of_trigger(trigger: TriggerId, hash: u64) -> u64 {
    xxh3_64_with_seed(&trigger.0, hash).max(1)
}

fn spot(hash: u64) -> u16 {
    (hash % u64::from(ORDERING_PARTITIONS)) as u16
}

/// Most runs of a lane at once.
pub fn width(lane: LaneId) -> u32 {
    if matches!(lane.number, NONE | RERUN | REPLAYED) { u32::MAX } else { 1 }
}

/// Most first runs of a lane that are kept in memory: one whose runs go one at a time is read again in time.
fn front_max(lane: LaneId) -> usize {
    if width(lane) == 1 { LANE_FRONT_ORDERED_MAX } else { LANE_FRONT_ENTRIES_MAX }
}

/// The lane that a failure holds: the key's own, the whole lane, or the work order's own where there is no order.
pub fn held_lane(lane: LaneId, key: Option<u64>, work_order: Offset) -> LaneId {
    match (lane.number, key) {
        (NONE | RERUN | PRIVATE | REPLAYED, _) => LaneId { number: PRIVATE, key: work_order.0, ..lane },
        (KEYED.., Some(key)) => LaneId { key, ..lane },
        _ => lane,
    }
}

/// The lane that a key of a shared lane has to itself while it is held.
pub fn key_lane(lane: LaneId, key: Option<u64>) -> Option<LaneId> {
    let key = key?;
    (lane.number >= KEYED && lane.key == 0).then_some(LaneId { key, ..lane })
}

/// Whether a key has this lane to itself.
pub fn is_own(lane: LaneId) -> bool {
    lane.number >= KEYED && lane.key != 0
}

/// A waiting run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its work order.
    pub offset: Offset,
    /// What its row says, or would say.
    pub row: AgainRow,
    /// Whether it waits again; otherwise it is a first run at its first wait.
    pub again: bool,
}

/// One line.
#[derive(Debug, Default)]
pub struct Lane {
    /// First runs, oldest first, as far as they are loaded.
    pub front: VecDeque<WaitingEntry>,
    /// Runs that wait again, by their work order.
    pub again: BTreeMap<Offset, AgainRow>,
    /// Runs that a worker has.
    pub busy: u32,
    /// How many first runs wait, those included that are not loaded.
    pub firsts: u64,
    /// First runs before this offset are loaded or gone.
    pub loaded: Offset,
    /// The bucket of the backlog from which on first runs are not loaded, if some are not.
    pub next: u64,
    /// Its place among the ready lanes of its workflow.
    pub ready: Option<u64>,
}

impl Lane {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.firsts == 0 && self.again.is_empty()
    }

    /// Whether first runs wait and none of them is loaded.
    pub fn is_short(&self) -> bool {
        self.firsts > 0 && self.front.is_empty()
    }

    fn has_more(&self) -> bool {
        self.firsts > self.front.len() as u64
    }

    /// Adds a first run behind all others.
    pub fn append(&mut self, id: LaneId, entry: WaitingEntry) {
        let is_all = !self.has_more();
        self.firsts += 1;
        if is_all && self.front.len() < front_max(id) {
            self.front.push_back(entry);
            self.loaded = entry.offset.advance(1);
        } else if is_all {
            self.next = Bitmap::bucket(entry.offset);
        }
    }

    /// Takes in a first run that was read in a bucket, where all buckets from `begin` on were read before.
    pub fn read(&mut self, entry: BacklogEntry, bucket: u64, begin: u64) {
        let waiting = entry.waiting;
        let is_next = self.has_more() && self.next >= begin && waiting.offset >= self.loaded;
        if is_next && self.front.len() < front_max(entry.lane) {
            self.front.push_back(waiting);
            self.loaded = waiting.offset.advance(1);
            self.next = bucket;
        }
    }

    /// Takes the first of the loaded first runs out.
    pub fn pop(&mut self) -> Option<WaitingEntry> {
        let entry = self.front.pop_front()?;
        self.firsts -= 1;
        Some(entry)
    }

    /// Waiting runs in the order in which they are due, as far as they are loaded.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        let mut again = self.again.iter().peekable();
        let mut front = self.front.iter().peekable();
        std::iter::from_fn(move || {
            let first_again = again.peek().map(|(offset, _)| **offset);
            let first_front = front.peek().map(|entry| entry.offset);
            match (first_again, first_front) {
                (Some(offset), next) if next.is_none_or(|next| offset <= next) => {
                    again.next().map(|(offset, row)| Waiting { offset: *offset, row: *row, again: true })
                }
                _ => front.next().map(|entry| Waiting {
                    offset: entry.offset,
                    row: AgainRow { n: 1, attempts: 0, requested: None, key: entry.key },
                    again: false,
                }),
            }
        })
    }
}
