//! Replays that are under way: how far each has come on this shard.
//!
//! Invariant: after a commit each replay's row is the fold of its events. Those that may go on are in memory too.

use std::collections::{BTreeMap, BTreeSet};

use keyway_storage::{
    error::ReadError,
    event::{Event, EventKind, Position},
    key::{Key, Tag},
    place::{Offset, ShardId, Timestamp},
    rows::Rows,
    table::{ReplayRow, ReplayState, Table},
};
use uuid::Uuid;

use super::State;
use crate::command::ReplayId;

/// What all streams of replays begin with.
const PREFIX: &str = "replay/";

/// The part of a replay that comes from one log. Its name is the stream of its items' positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The replay.
    pub id: ReplayId,
    /// The log that its items stand in.
    pub log: ShardId,
}

impl Part {
    /// The position of an item: nothing else has it, and it comes after that of the item before it.
    pub fn position(self, item: Offset) -> Position {
        let stream = format!("{PREFIX}{}/{}", Uuid::from_bytes(self.id), self.log.0).into();
        Position::Next { stream, number: item.0 }
    }

    /// The part that an input with this position belongs to. Ask only of an input that replays something: a topic of
    /// Kafka may have any name.
    pub fn of(position: &Position) -> Option<Self> {
        let Position::Next { stream, .. } = position else { return None };
        let (id, log) = stream.strip_prefix(PREFIX)?.split_once('/')?;
        Some(Self { id: Uuid::try_parse(id).ok()?.into_bytes(), log: ShardId(log.parse().ok()?) })
    }
}

/// The replays of one shard that may go on.
#[derive(Default)]
pub struct Replays {
    open: BTreeMap<ReplayId, ReplayRow>,
    dirty: BTreeSet<ReplayId>,
}

impl Replays {
    /// Finds the replays that the rows describe.
    pub fn open(rows: &Rows) -> Result<Self, ReadError> {
        let mut replays = Self::default();
        let prefix = Key::new(Tag::Replay);
        for (key, value) in rows.scan(prefix, prefix.prefix_end(), usize::MAX)? {
            let row = ReplayRow::from_value(&value)?;
            if row.is_open() {
                let id = key[1..17].try_into().expect("the key of a replay has 17 bytes");
                replays.open.insert(id, row);
            }
        }
        Ok(replays)
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(row) = self.open.get(&id) {
                rows.put(ReplayRow::key(id), row.to_value());
            }
        }
    }

    /// Takes in that an item became a work order.
    pub fn note_replayed(&mut self, part: Part, item: Offset) {
        self.with(part.id, |row| {
            row.note(part.log, item);
            row.replayed += 1;
        });
    }

    /// Takes in what an event says of a replay.
    pub fn fold(&mut self, event: &Event, rows: &mut Rows) {
        match &event.kind {
            EventKind::ReplayStarted(started) => {
                let row = ReplayRow {
                    begun: event.at,
                    ended: None,
                    state: ReplayState::Running,
                    reason: None,
                    filter: started.filter.to_vec().into(),
                    round: 0,
                    replayed: 0,
                    failed: 0,
                    seen: Vec::new(),
                };
                self.open.insert(started.id, row);
                self.dirty.insert(started.id);
            }
            EventKind::ReplaySwitched(switched) => self.with(switched.id, |row| {
                row.state = if switched.paused { ReplayState::Paused } else { ReplayState::Running };
                row.round += u32::from(!switched.paused);
            }),
            EventKind::ReplayItemFailed(failed) => self.with(failed.id, |row| {
                row.note(failed.item.shard, failed.item.offset);
                row.failed += 1;
            }),
            EventKind::ReplayEnded(ended) => {
                let state = if ended.cancelled { ReplayState::Cancelled } else { ReplayState::Done };
                self.end(ended.id, state, None, event.at, rows);
            }
            EventKind::ReplayFailed(failed) => {
                self.end(failed.id, ReplayState::Failed, Some(failed.reason.clone()), event.at, rows);
            }
            _ => {}
        }
    }

    fn with(&mut self, id: ReplayId, note: impl FnOnce(&mut ReplayRow)) {
        if let Some(row) = self.open.get_mut(&id) {
            note(row);
            self.dirty.insert(id);
        }
    }

    fn end(
        &mut self,
        id: ReplayId,
        state: ReplayState,
        reason: Option<Box<str>>,
        at: Timestamp,
        rows: &mut Rows,
    ) {
        if let Some(row) = self.open.remove(&id) {
            let row = ReplayRow { state, reason, ended: Some(at), ..row };
            rows.put(ReplayRow::key(id), row.to_value());
        }
    }
}

impl State {
    /// A replay that may go on.
    pub fn replay(&self, id: ReplayId) -> Option<&ReplayRow> {
        self.replays.open.get(&id)
    }

    /// How many replays may go on.
    pub fn open_replays(&self) -> usize {
        self.replays.open.len()
    }

    /// A replay that has ended.
    pub fn ended_replay(&self, id: ReplayId) -> Result<Option<ReplayRow>, ReadError> {
        let value = self.rows.get(&ReplayRow::key(id))?;
        Ok(value.map(|value| ReplayRow::from_value(&value)).transpose()?)
    }
}
