//! Rows of replays: how far each has come, as one shard sees it.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    key::{Key, Tag},
    place::{Offset, ShardId, Timestamp},
};

/// Whether a replay goes on.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ReplayState {
    /// It goes on.
    Running = 0,
    /// Someone stopped it for a while.
    Paused = 1,
    /// Its last item went through.
    Done = 2,
    /// Someone ended it.
    Cancelled = 3,
    /// Something that it needs cannot be read.
    Failed = 4,
}

/// Key: UUID of the replay (16). A replay, with what this shard did of it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ReplayRow {
    /// When it began.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Whether it goes on.
    pub state: ReplayState,
    /// Why it failed, if it did.
    pub reason: Option<Box<str>>,
    /// JSON of its filter and rate.
    pub filter: Box<[u8]>,
    /// How often it went on after a pause: what was on its way before a pause counts no more after it.
    pub round: u32,
    /// Items that became work orders.
    pub replayed: u64,
    /// Items that could not.
    pub failed: u64,
    /// For each log that items came from, the last one that was decided here.
    pub seen: Vec<(ShardId, Offset)>,
}

impl ReplayRow {
    /// The key of a replay.
    pub fn key(id: [u8; 16]) -> Key {
        Key::new(Tag::Replay).bytes(&id)
    }

    /// Whether it may still go on.
    pub fn is_open(&self) -> bool {
        matches!(self.state, ReplayState::Running | ReplayState::Paused)
    }

    /// The last item of a log that was decided here.
    pub fn seen(&self, log: ShardId) -> Option<Offset> {
        self.seen.iter().find(|(shard, _)| *shard == log).map(|(_, offset)| *offset)
    }

    /// Notes that an item of a log was decided here.
    pub fn note(&mut self, log: ShardId, item: Offset) {
        match self.seen.iter_mut().find(|(shard, _)| *shard == log) {
            Some((_, last)) => *last = item,
            None => self.seen.push((log, item)),
        }
    }
}
