//! Reshard: what may go to another shard when their number changes, and what must stay where it is.
//!
//! Invariant: inputs that wait for each other go on meeting. While work of a key, a stream or a workflow in one order is
//! open, or a dead letter of a stream is, its slot stays with the shard that holds it; so do the ticks of a trigger, with
//! what its runs start with. What is not open needs nothing: positions are looked for on all shards, and so are
//! idempotency keys.

use keyway_storage::{
    error::ReadError,
    event::{EventKind, LaneId, Position, Received, TICKS, TICKS_SKIPPED, TriggerId},
    key::{Key, Tag},
    log::LogReader,
    place::{Offset, Place, ShardId},
    routes::Routes,
    rows::RowsReader,
    table::{
        BacklogRow, Bitmap, HoldRow, LeaseRow, ReplayRow, Table, bucket_from_key, lane_from_key, taken_key,
    },
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    queue::lane::{NONE, PRIVATE, REPLAYED, RERUN, SERIAL},
    route::{Route, ticks_hash},
};

/// What one shard has on disk.
pub struct Holding {
    /// Its log.
    pub log: LogReader,
    /// Its state, as far as the log.
    pub state: RowsReader,
}

/// A replay that has not ended; while there is one, its shards cannot change.
pub fn open_replay(shards: &[Holding]) -> Result<Option<[u8; 16]>, ReadError> {
    for shard in shards {
        for row in tagged(&shard.state, Tag::Replay) {
            let (key, value) = row?;
            if ReplayRow::from_value(&value)?.is_open() {
                return Ok(key.get(1..17).and_then(|id| id.try_into().ok()));
            }
        }
    }
    Ok(None)
}

/// For each slot the shard that it must belong to, if it must.
pub fn bound(shards: &[Holding], routes: &Routes) -> Result<Vec<Option<ShardId>>, ReadError> {
    let mut binding = Binding { shards, routes, bound: vec![None; routes.len()] };
    for shard in shards {
        binding.waiting(shard)?;
        binding.busy(shard)?;
        binding.letters(shard)?;
        binding.ticks(shard)?;
    }
    Ok(binding.bound)
}

struct Binding<'a> {
    shards: &'a [Holding],
    routes: &'a Routes,
    bound: Vec<Option<ShardId>>,
}

impl Binding<'_> {
    /// What waits for its first run.
    fn waiting(&mut self, shard: &Holding) -> Result<(), ReadError> {
        for row in tagged(&shard.state, Tag::Backlog) {
            let (key, value) = row?;
            let (owner, bucket) = bucket_from_key(&key)?;
            let taken = shard.state.get(&taken_key(owner, bucket))?;
            let taken = taken.map_or(Ok(Bitmap::default()), |taken| Bitmap::from_value(&taken))?;
            for entry in BacklogRow::entries(&value, owner, bucket) {
                let entry = entry?;
                if is_ordered(entry.lane) && !taken.contains(entry.waiting.offset) {
                    self.work_order(shard, entry.waiting.offset)?;
                }
            }
        }
        Ok(())
    }

    /// What a worker has, what waits again, and what is held.
    fn busy(&mut self, shard: &Holding) -> Result<(), ReadError> {
        for row in tagged(&shard.state, Tag::Lease) {
            let (_, value) = row?;
            let claimed = LeaseRow::from_value(&value)?.claimed;
            if is_ordered(claimed.lane) {
                self.work_order(shard, claimed.run.work_order)?;
            }
        }
        for row in tagged(&shard.state, Tag::Again) {
            let (lane, offset) = lane_from_key(&row?.0);
            if is_ordered(lane) {
                self.work_order(shard, Offset(offset))?;
            }
        }
        for row in tagged(&shard.state, Tag::Hold) {
            let (key, value) = row?;
            if is_ordered(lane_from_key(&key).0) {
                self.work_order(shard, HoldRow::from_value(&value)?.work_order)?;
            }
        }
        Ok(())
    }

    /// Dead letters go through again where they are, among what comes of their streams.
    fn letters(&mut self, shard: &Holding) -> Result<(), ReadError> {
        for row in tagged(&shard.state, Tag::DeadLetter) {
            let (key, _) = row?;
            let offset = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            let Some(offset) = offset else { continue };
            if let Some(EventKind::DeadLettered(letter)) = kind_at(&shard.log, Offset(offset))? {
                self.stream(shard, letter.trigger, &letter.position);
            }
        }
        Ok(())
    }

    /// Triggers that follow a clock: their last ticks, schedules and cursors.
    fn ticks(&mut self, shard: &Holding) -> Result<(), ReadError> {
        let made = [TICKS, TICKS_SKIPPED].map(|stream| xxh3_64(stream.as_bytes()).to_be_bytes());
        for tag in [Tag::Schedule, Tag::Cursor, Tag::Position] {
            for row in tagged(&shard.state, tag) {
                let (key, _) = row?;
                let is_tick = tag != Tag::Position || made.iter().any(|hash| key.get(17..25) == Some(hash));
                let trigger = key.get(1..17).and_then(|id| id.try_into().ok()).map(TriggerId);
                let Some(hash) = trigger.filter(|_| is_tick).map(ticks_hash) else { continue };
                // Other shards know schedules too; the owner alone makes ticks of them.
                if self.routes.owner(hash) == shard.log.shard() {
                    self.bind(shard, hash);
                }
            }
        }
        Ok(())
    }

    fn work_order(&mut self, shard: &Holding, offset: Offset) -> Result<(), ReadError> {
        let Some(EventKind::Received(input)) = kind_at(&shard.log, offset)? else { return Ok(()) };
        let Received { trigger, workflow, lane, key, position, .. } = &input;
        let serial = (lane.number == SERIAL).then_some(*workflow);
        if serial.is_some() || key.is_some() {
            let route = Route { trigger: *trigger, serial, key: *key, position: &Position::None };
            self.bind(shard, route.hash().expect("a key has an owner"));
        }
        match input.replays {
            None => self.stream(shard, *trigger, position),
            Some(replayed) => self.replayed(shard, replayed)?,
        }
        Ok(())
    }

    /// What went through again keeps its order with the stream that it first came from.
    fn replayed(&mut self, shard: &Holding, mut place: Place) -> Result<(), ReadError> {
        // Each is older than the one before it, so that there is an end.
        while let Some(other) = self.shards.get(usize::from(place.shard.0)) {
            match kind_at(&other.log, place.offset)? {
                Some(EventKind::Received(Received { replays: Some(older), .. })) => place = older,
                Some(EventKind::Received(input)) => {
                    self.stream(shard, input.trigger, &input.position);
                    break;
                }
                Some(EventKind::DeadLettered(letter)) => {
                    self.stream(shard, letter.trigger, &letter.position);
                    break;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn stream(&mut self, shard: &Holding, trigger: TriggerId, position: &Position) {
        if let Position::Next { .. } = position {
            let route = Route { trigger, serial: None, key: None, position };
            self.bind(shard, route.hash().expect("a stream has an owner"));
        }
    }

    /// Where two shards hold something of a slot, its owner keeps it: what is new meets what is newest.
    fn bind(&mut self, shard: &Holding, hash: u64) {
        let slot = self.routes.slot(hash);
        let (at, owner) = (shard.log.shard(), self.routes.owner_of(slot));
        let bound = &mut self.bound[slot];
        if bound.is_none() || at == owner {
            *bound = Some(at);
        }
    }
}

/// Whether what waits in a lane waits for what is before it.
fn is_ordered(lane: LaneId) -> bool {
    !matches!(lane.number, NONE | RERUN | PRIVATE | REPLAYED)
}

fn kind_at(log: &LogReader, offset: Offset) -> Result<Option<EventKind>, ReadError> {
    Ok(log.event(offset)?.map(|event| event.kind))
}

fn tagged(rows: &RowsReader, tag: Tag) -> impl Iterator<Item = keyway_storage::rows::Row> {
    rows.scan(Key::new(tag), Key::new(tag).prefix_end())
}
