//! What is open of each trigger: runs that have not ended, of inputs that it read from a stream, and dead letters.
//!
//! Invariant: a trigger's runs are the fold of `Received`, `RunRequested` and `RunFinished` of its work orders, its letters
//! that of `DeadLettered` and `DeadLetterClosed`. Whose a work order or letter is stands in a set for each 256 offsets, so
//! that an input costs no row of its own.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use keyway_storage::{
    error::{Damage, ReadError},
    event::TriggerId,
    key::{Key, Tag},
    place::Offset,
    rows::Rows,
    table::{Bitmap, OpenRow, Table},
};

/// Bytes of a trigger with its set.
const MEMBER_BYTES: usize = 48;

/// What is open of each trigger.
#[derive(Default)]
pub struct OpenCounts {
    counts: BTreeMap<TriggerId, Count>,
    /// Sets that were looked at since the last commit: neighbouring work orders fall into the same few.
    members: BTreeMap<u64, Members>,
    /// Triggers whose row has to be written.
    dirty: Vec<TriggerId>,
    /// Triggers with a change.
    changed: Vec<TriggerId>,
}

/// What is open of one trigger.
#[derive(Default)]
struct Count {
    row: OpenRow,
    dirty: bool,
    /// By how much runs became more or fewer since somebody asked, if they did.
    change: Option<i64>,
}

/// Whose the work orders and letters of a bucket are.
#[derive(Default)]
struct Members {
    of: Vec<(TriggerId, Bitmap)>,
    dirty: bool,
}

impl OpenCounts {
    /// Takes up what the rows say.
    pub fn open(rows: &Rows) -> Result<Self, ReadError> {
        let mut open = Self::default();
        let prefix = Key::new(Tag::Open);
        for (key, value) in rows.scan(prefix, prefix.prefix_end(), usize::MAX)? {
            let trigger = TriggerId(key[1..17].try_into().expect("the key of an open row has 17 bytes"));
            let row = OpenRow::from_value(&value)?;
            open.counts.insert(trigger, Count { row, ..Count::default() });
        }
        Ok(open)
    }

    /// Writes what changed.
    pub fn flush(&mut self, rows: &mut Rows) {
        for trigger in self.dirty.drain(..) {
            let count = self.counts.entry(trigger).or_default();
            count.dirty = false;
            rows.put(OpenRow::key(trigger), count.row.to_value());
        }
        for (bucket, members) in std::mem::take(&mut self.members) {
            let key = Key::new(Tag::Member).u64(bucket);
            match members.dirty {
                true if members.of.is_empty() => rows.delete(key),
                true => rows.put(key, members.to_value()),
                false => {}
            }
        }
    }

    /// A work order was made, with its first run.
    pub fn add_run(&mut self, trigger: TriggerId, work_order: Offset, rows: &Rows) -> Result<(), ReadError> {
        self.members(work_order, rows)?.insert(trigger, work_order);
        self.count_run(trigger, 1);
        Ok(())
    }

    /// A work order has another run.
    pub fn add_run_again(&mut self, work_order: Offset, rows: &Rows) -> Result<(), ReadError> {
        if let Some(trigger) = self.owner(work_order, rows)? {
            self.count_run(trigger, 1);
        }
        Ok(())
    }

    /// A run of a work order has ended.
    pub fn end_run(&mut self, work_order: Offset, rows: &Rows) -> Result<(), ReadError> {
        if let Some(trigger) = self.owner(work_order, rows)? {
            self.count_run(trigger, -1);
        }
        Ok(())
    }

    /// A dead letter was kept.
    pub fn add_letter(&mut self, trigger: TriggerId, letter: Offset, rows: &Rows) -> Result<(), ReadError> {
        self.members(letter, rows)?.insert(trigger, letter);
        self.count(trigger).row.letters += 1;
        Ok(())
    }

    /// A dead letter was replayed or given up.
    pub fn close_letter(&mut self, letter: Offset, rows: &Rows) -> Result<(), ReadError> {
        if let Some(trigger) = self.owner(letter, rows)? {
            self.count(trigger).row.letters -= 1;
        }
        Ok(())
    }

    /// The history of a work order or letter that has ended is cut.
    pub fn forget(&mut self, offset: Offset, rows: &Rows) -> Result<(), ReadError> {
        if !self.counts.is_empty() {
            self.members(offset, rows)?.remove(offset);
        }
        Ok(())
    }

    /// By how much runs became more or fewer since the last call.
    pub fn drain_changes(&mut self) -> impl Iterator<Item = (TriggerId, i64)> + '_ {
        let (counts, changed) = (&mut self.counts, &mut self.changed);
        changed.drain(..).filter_map(|trigger| Some((trigger, counts.get_mut(&trigger)?.change.take()?)))
    }

    /// Runs that have not ended.
    pub fn runs(&self) -> impl Iterator<Item = (TriggerId, u64)> + '_ {
        self.counts.iter().map(|(trigger, count)| (*trigger, count.row.runs))
    }

    fn count_run(&mut self, trigger: TriggerId, by: i64) {
        let count = self.count(trigger);
        count.row.runs = count.row.runs.checked_add_signed(by).expect("a run ends once, after it was made");
        match &mut count.change {
            Some(change) => *change += by,
            None => {
                count.change = Some(by);
                self.changed.push(trigger);
            }
        }
    }

    fn count(&mut self, trigger: TriggerId) -> &mut Count {
        let count = self.counts.entry(trigger).or_default();
        if !count.dirty {
            count.dirty = true;
            self.dirty.push(trigger);
        }
        count
    }

    /// The trigger that a work order or letter is counted for.
    fn owner(&mut self, offset: Offset, rows: &Rows) -> Result<Option<TriggerId>, ReadError> {
        if self.counts.is_empty() {
            return Ok(None);
        }
        Ok(self.members(offset, rows)?.owner(offset))
    }

    fn members(&mut self, offset: Offset, rows: &Rows) -> Result<&mut Members, ReadError> {
        let bucket = Bitmap::bucket(offset);
        match self.members.entry(bucket) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let value = rows.get(&Key::new(Tag::Member).u64(bucket))?;
                let members = value.map_or(Ok(Members::default()), |value| Members::from_value(&value))?;
                Ok(vacant.insert(members))
            }
        }
    }
}

impl Members {
    fn from_value(value: &[u8]) -> Result<Self, Damage> {
        let (entries, rest) = value.as_chunks::<MEMBER_BYTES>();
        if !rest.is_empty() {
            return Err(Damage::new("row", "a set of members is cut short"));
        }
        let read = |entry: &[u8; MEMBER_BYTES]| {
            let (trigger, set) = entry.split_first_chunk::<16>().expect("an entry is longer");
            Ok((TriggerId(*trigger), Bitmap::from_value(set)?))
        };
        Ok(Self { of: entries.iter().map(read).collect::<Result<_, Damage>>()?, dirty: false })
    }

    fn to_value(&self) -> Bytes {
        let mut value = Vec::with_capacity(self.of.len() * MEMBER_BYTES);
        for (trigger, set) in &self.of {
            value.extend_from_slice(&trigger.0);
            value.extend_from_slice(&set.0);
        }
        value.into()
    }

    fn insert(&mut self, trigger: TriggerId, offset: Offset) {
        self.dirty = true;
        match self.of.iter_mut().find(|(of, _)| *of == trigger) {
            Some((_, set)) => set.insert(offset),
            None => {
                let mut set = Bitmap::default();
                set.insert(offset);
                self.of.push((trigger, set));
                // Sorted, so that the row does not depend on the order of reads.
                self.of.sort_by_key(|(trigger, _)| *trigger);
            }
        }
    }

    fn remove(&mut self, offset: Offset) {
        self.dirty |= self.owner(offset).is_some();
        self.of.iter_mut().for_each(|(_, set)| set.remove(offset));
        self.of.retain(|(_, set)| !set.is_empty());
    }

    fn owner(&self, offset: Offset) -> Option<TriggerId> {
        self.of.iter().find(|(_, set)| set.contains(offset)).map(|(trigger, _)| *trigger)
    }
}
