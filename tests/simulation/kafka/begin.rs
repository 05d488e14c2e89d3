//! How a consumer begins: where the log ends, and what it notes of the topic.

use keyway_engine::command::{Answer, Command, Move};
use keyway_ingest::trigger::kafka::{
    position::{Heard, Known, Noted, Start, Topic},
    settings::Initial,
};
use keyway_storage::{
    event::{MoveReason, TriggerId},
    place::ShardId,
};

use super::{Kafka, NAME, Track};
use crate::world::World;

/// Stands for the id of the topic while the broker tells none.
const NO_ID: &str = "-";

impl Kafka {
    pub(super) fn begin_one(&mut self) {
        let trigger = self.world.random.pick(&self.triggers).unwrap();
        self.begin(trigger);
    }

    pub(super) fn begin_all(&mut self) {
        for trigger in self.triggers.clone() {
            self.begin(trigger);
        }
    }

    /// The group gives a trigger all partitions: each begins where the log ends.
    pub(super) fn begin(&mut self, trigger: TriggerId) {
        self.drop_loads(trigger);
        self.world.settle();
        let id = if self.tells_id { self.topic.to_string() } else { NO_ID.to_owned() };
        let due = |world: &World, stream: &str| world.stream_due(trigger, stream);
        let next = |stream: &str| due(&self.world, stream).map(|(next, _)| next);
        let noted = Noted {
            name: next(NAME),
            no_id: next(&format!("{NAME}/{NO_ID}")),
            id: next(&format!("{NAME}/{id}")).filter(|_| self.tells_id),
        };
        let Some(topic) = noted.topic(self.tells_id) else {
            // It waits until the id is told again.
            return self.tracks.retain(|(of, _), _| *of != trigger);
        };
        for partition in 0..self.logs.len() {
            let stream = format!("{NAME}/{id}/{partition}");
            let owner = self.world.owner(trigger, &stream);
            let mut found = due(&self.world, &stream);
            let before = format!("{NAME}/{NO_ID}/{partition}");
            let is_named = found.is_none() && topic == Topic::Named && due(&self.world, &before).is_some();
            if is_named {
                found = due(&self.world, &before);
                // The order of keys is promised on one shard.
                self.world.end_runs();
            }
            let log = &self.logs[partition];
            let offset = found.map(|(due, _)| due);
            let epochs = self.epochs.get(&(trigger, partition));
            let epoch = epochs.zip(offset).and_then(|(epochs, due)| epochs.before(due));
            let asked = offset.and_then(|due| log.truncation(epoch, due));
            let end = self.heard.remove(&(trigger, partition)).or(asked);
            let heard = end.map_or(Heard::Nothing, Heard::Truncated);
            let is_asked = epoch.is_some();
            let known = Known { due: offset, low: log.low, high: log.high(), topic, heard, is_asked };
            let last_ms = found.map_or(0, |(_, at)| at.0 / 1_000);
            let (next, reason) = match known.start(Initial::Earliest, last_ms) {
                Start::Due(next) => (next, is_named.then_some(MoveReason::Owned)),
                Start::Move(next, reason) => (next, Some(reason)),
                Start::Time(millis, reason) => {
                    let first = log.messages.iter().position(|message| message.at.0 / 1_000 >= millis);
                    (first.map_or(log.high(), |index| log.low + index as u64), Some(reason))
                }
            };
            let told = self.committed.get(&(trigger, stream.clone())).copied().unwrap_or(0);
            assert!(told <= found.map_or(0, |(due, _)| due).max(next), "the group is ahead of the log");
            if reason.is_some() {
                self.epochs.remove(&(trigger, partition));
            }
            if reason == Some(MoveReason::Truncated) {
                self.committed.remove(&(trigger, stream.clone()));
            }
            self.note(owner, trigger, &stream, next, reason);
            self.tracks.insert((trigger, partition), Track { stream, owner, next, released: next });
        }
        self.note_topic(trigger, &id, noted);
        self.world.settle();
    }

    /// What the topic is known by from now on.
    fn note_topic(&mut self, trigger: TriggerId, id: &str, noted: Noted) {
        let no_id = format!("{NAME}/{NO_ID}");
        let notes = [
            (self.tells_id && noted.id.is_none(), format!("{NAME}/{id}"), noted.next_of_id()),
            (!self.tells_id && noted.no_id.is_none(), no_id.clone(), 0),
            (noted.name.is_none(), NAME.to_owned(), 0),
            (self.tells_id && noted.no_id == Some(0), no_id, 1),
        ];
        for (_, stream, next) in notes.into_iter().filter(|(is_new, ..)| *is_new) {
            let owner = self.world.owner(trigger, &stream);
            self.note(owner, trigger, &stream, next, Some(MoveReason::Started));
        }
    }

    fn note(
        &mut self,
        owner: ShardId,
        trigger: TriggerId,
        stream: &str,
        next: u64,
        reason: Option<MoveReason>,
    ) {
        let Some(reason) = reason else { return };
        self.world.tick();
        let order = Move { trigger, stream: stream.into(), next, reason };
        assert!(matches!(self.world.command(owner, Command::Move(order)), Answer::Done));
    }
}
