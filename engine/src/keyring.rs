//! The keyring: idempotency keys whose inputs do not all go to the same shard.
//!
//! Where a trigger orders by key, inputs go to the shard of their ordering key, so that a second input with the same
//! idempotency key and another ordering key, or none, meets the first one nowhere. Its shard asks here before it takes it.
//! The same is true of keys that were taken while a trigger's inputs went another way than now, as long as they hold.
//!
//! Invariant: of the shards that ask for a key, one may take it. A key is held from the turn that takes it until that turn's
//! rows are committed; from then on the rows tell. Nobody waits: whoever finds a key held is refused.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use keyway_storage::{
    error::ReadError,
    event::{Position, Received, TriggerId, WorkflowId},
    key::{Key, Tag},
    limits::IDEMPOTENCY_WINDOW_SECONDS_MAX,
    place::{Place, ShardId, Timestamp},
    rows::RowsReader,
    table::{OnceEnd, OnceRow, Table},
};

use crate::{
    command::{Answer, Refusal},
    project::{Ordering, Project},
};

/// A key of a trigger, by its hash.
pub type HeldKey = (TriggerId, u128);

/// What becomes of an input that is about to be taken.
#[derive(Debug)]
pub enum Claim {
    /// Its shard alone decides.
    Free,
    /// Its shard may take it, and holds the key until the rows are committed.
    Held(HeldKey),
    /// It was on another shard before, or is there at this moment.
    Elsewhere(Answer),
}

/// The keys of all shards of a process.
#[derive(Default)]
pub struct Keyring {
    readers: Mutex<Vec<(ShardId, RowsReader)>>,
    // Touched once by each input that has both keys, and once by its turn.
    held: Mutex<HashMap<HeldKey, Hold>>,
    /// Until when any key may be on another shard than its owner.
    everywhere_until: AtomicU64,
}

#[derive(Clone, Copy)]
struct Hold {
    shard: ShardId,
    body: u64,
}

impl Keyring {
    /// Says where the committed rows of a shard are read.
    pub fn add_shard(&self, shard: ShardId, rows: RowsReader) {
        lock(&self.readers).push((shard, rows));
    }

    /// Says that any key may be on another shard than its owner: the number of shards was changed.
    pub fn look_everywhere(&self) {
        self.look_everywhere_until(Timestamp::NEVER);
    }

    fn look_everywhere_until(&self, until: Timestamp) {
        self.everywhere_until.fetch_max(until.0, Atomic::Relaxed);
    }

    /// Takes note of the keys that a shard brings from before the start: nobody knows which way their inputs went.
    pub fn note_rows(&self, rows: &RowsReader) -> Result<(), ReadError> {
        let prefix = Key::new(Tag::OnceUntil);
        if let Some(last) = rows.scan_back(prefix, prefix.prefix_end()).next() {
            self.look_everywhere_until(OnceEnd::from_row_key(&last?.0)?.until);
        }
        Ok(())
    }

    /// Takes note of a project that comes into force after another one: it may send inputs another way.
    pub fn note_project(&self, before: &Project, after: &Project, now: Timestamp) {
        let all = before.workflows.iter().flat_map(|workflow| &workflow.triggers);
        // A trigger that goes may come back with another way.
        if all.map(|trigger| trigger.id).any(|id| way_of(before, id) != way_of(after, id)) {
            self.look_everywhere_until(now.plus_millis(IDEMPOTENCY_WINDOW_SECONDS_MAX * 1_000));
        }
    }

    /// Claims the key of an input that a shard is about to take.
    pub fn claim(
        &self,
        shard: ShardId,
        project: &Project,
        input: &Received,
        now: Timestamp,
    ) -> Result<Claim, ReadError> {
        let Position::Once { key, body, .. } = &input.position else { return Ok(Claim::Free) };
        let anywhere = now.0 < self.everywhere_until.load(Atomic::Relaxed);
        if !anywhere && way_of(project, input.trigger) != Some(Way::OrderingKey) {
            return Ok(Claim::Free);
        }
        let held = (input.trigger, *key);
        match lock(&self.held).entry(held) {
            Entry::Vacant(vacant) => drop(vacant.insert(Hold { shard, body: *body })),
            // Its own rows, which are not committed yet, have said that the window is over.
            Entry::Occupied(other) if other.get().shard == shard => return Ok(Claim::Free),
            Entry::Occupied(other) if other.get().body != *body => {
                return Ok(Claim::Elsewhere(Answer::Refused(Refusal::KeyReused)));
            }
            // The same input with another ordering key in its headers: in a moment the rows know its work order.
            Entry::Occupied(_) => return Ok(Claim::Elsewhere(Answer::Refused(Refusal::Full))),
        }
        match self.first(shard, held, now) {
            Ok(None) => Ok(Claim::Held(held)),
            Ok(Some((place, first))) => {
                self.give_back([held]);
                Ok(Claim::Elsewhere(match first.body == *body {
                    true => Answer::Repeated(place, first.at),
                    false => Answer::Refused(Refusal::KeyReused),
                }))
            }
            Err(error) => {
                self.give_back([held]);
                Err(error)
            }
        }
    }

    /// Lets keys go: their rows are committed, or will not be.
    pub fn give_back(&self, keys: impl IntoIterator<Item = HeldKey>) {
        let mut held = lock(&self.held);
        for key in keys {
            held.remove(&key);
        }
    }

    /// The input that holds a key on another shard.
    fn first(
        &self,
        shard: ShardId,
        (trigger, key): HeldKey,
        now: Timestamp,
    ) -> Result<Option<(Place, OnceRow)>, ReadError> {
        // A few hundred nanoseconds for each other shard: a key that is nowhere is told by the filters of the store.
        for (other, rows) in lock(&self.readers).iter().filter(|(other, _)| *other != shard) {
            let Some(value) = rows.get(&OnceRow::key(trigger, key))? else { continue };
            let row = OnceRow::from_value(&value)?;
            if now < row.until {
                return Ok(Some((Place { shard: *other, offset: row.offset }, row)));
            }
        }
        Ok(None)
    }
}

/// What says which shard an input with an idempotency key goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All inputs of a workflow in one order meet on one shard.
    Workflow(WorkflowId),
    OrderingKey,
    IdempotencyKey,
}

fn way_of(project: &Project, trigger: TriggerId) -> Option<Way> {
    let (workflow, trigger) = project.trigger(trigger)?;
    Some(match trigger.ordering {
        _ if workflow.concurrency == Some(1) => Way::Workflow(workflow.id),
        Ordering::Key => Way::OrderingKey,
        _ => Way::IdempotencyKey,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
