//! What librdkafka says of partitions beside their messages. It stays while the process lives: a consumer that is made anew, or
//! gets a partition back, still knows what the broker had when it read the last message. A process that begins takes up what
//! the group knows of that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use keyway_storage::event::TriggerId;

use super::{Partition, Track};
use crate::trigger::kafka::position::{Epochs, Heard};

/// What was said of all partitions.
#[derive(Default)]
pub struct Said(Mutex<HashMap<(TriggerId, Partition), Place>>);

#[derive(Default)]
struct Place {
    epochs: Epochs,
    /// What the group knew before anything was read: an offset, and the epoch of what was read before it.
    recalled: Option<(u64, i32)>,
    heard: Heard,
    /// The first offset of a batch that cannot be read.
    damage: Option<u64>,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, HashMap<(TriggerId, Partition), Place>> {
        self.0.lock().expect("no holder of this lock panics: it only notes")
    }

    /// Whether nothing is known of a partition.
    pub fn is_new(&self, trigger: TriggerId, partition: &Partition) -> bool {
        !self.lock().contains_key(&(trigger, partition.clone()))
    }

    /// The group knows this of a partition, of which nothing was read yet.
    pub fn recall(&self, trigger: TriggerId, partition: Partition, recalled: Option<(u64, i32)>) {
        self.lock().entry((trigger, partition)).or_default().recalled = recalled;
    }

    /// A message of another leader epoch than the one before it was taken.
    pub fn take(&self, track: &Track, offset: u64, epoch: i32) {
        let place = (track.trigger, (track.topic.clone(), track.partition));
        self.lock().entry(place).or_default().epochs.take(offset, epoch);
    }

    /// The partition does not have the offset that was asked for, for this reason.
    pub fn jump(&self, trigger: TriggerId, partition: Partition, reason: &str) {
        let mut all = self.lock();
        let place = all.entry((trigger, partition)).or_default();
        match truncation(reason) {
            // It speaks of messages before those that were read since.
            Some((epoch, _)) if place.epochs.last().is_some_and(|last| last > epoch) => {}
            Some((_, end)) => place.heard = Heard::Truncated(end),
            // Asked again, the broker would say no more.
            None => (place.epochs, place.recalled) = (Epochs::default(), None),
        }
    }

    /// What is at this offset cannot be read. Where librdkafka goes on then, and what it says of that place, counts for nothing.
    pub fn damage(&self, trigger: TriggerId, partition: Partition, offset: u64) {
        self.lock().entry((trigger, partition)).or_default().damage.get_or_insert(offset);
    }

    /// The first offset of what cannot be read of a partition.
    pub fn damage_of(&self, trigger: TriggerId, partition: &Partition) -> Option<u64> {
        self.lock().get(&(trigger, partition.clone()))?.damage
    }

    /// What was heard of a partition, and the epoch of what was read before the offset that is due.
    pub fn of(&self, trigger: TriggerId, partition: &Partition, due: Option<u64>) -> (Heard, Option<i32>) {
        let all = self.lock();
        let Some(place) = all.get(&(trigger, partition.clone())) else { return (Heard::Nothing, None) };
        // The group may be behind our log, and the epoch of an earlier offset says nothing of a later one.
        let recalled = place.recalled.filter(|(offset, _)| Some(*offset) == due).map(|(_, epoch)| epoch);
        (place.heard, due.and_then(|due| place.epochs.before(due)).or(recalled))
    }

    /// The log has what follows from it. Behind a move the epochs before it say nothing.
    pub fn settle(&self, trigger: TriggerId, partition: &Partition, is_moved: bool) {
        if let Some(place) = self.lock().get_mut(&(trigger, partition.clone())) {
            (place.heard, place.damage) = (Heard::Nothing, None);
            if is_moved {
                (place.epochs, place.recalled) = (Epochs::default(), None);
            }
        }
    }
}

/// The epoch of what was read, and the end of it at the broker, of a line that says that the end was passed. No field has
/// them.
fn truncation(reason: &str) -> Option<(i32, u64)> {
    let (_, at) = reason.split_once("log truncation detected at ")?;
    let (_, epoch) = at.split_once("(leader epoch ")?;
    let (epoch, rest) = epoch.split_once(')')?;
    let (_, end) = rest.split_once("broker end offset is ")?;
    let (end, _) = end.split_once(' ')?;
    Some((epoch.parse().ok()?, end.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::truncation;

    #[test]
    fn the_end_of_a_truncated_partition_is_read_from_what_librdkafka_says() {
        let said = "Partition log truncation detected at offset 10 (leader epoch 3): broker end offset is 5 (offset leader \
                    epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        assert_eq!(truncation(said), Some((3, 5)));
        let gone = "fetch failed due to requested offset not available on the broker: Broker: Offset out of range (broker 1)";
        assert_eq!(truncation(gone), None);
    }
}
