//! Where a partition is read from: our own position counts, whatever the group remembers.
//!
//! Invariant: pure. What is not the next offset is a move, which the log must have before anything is read. What librdkafka
//! heard of a broker counts for messages that came before it only.

use std::collections::VecDeque;

use keyway_storage::{event::MoveReason, limits::KAFKA_EPOCHS_MAX};

use super::settings::Initial;

/// What is known of a partition when it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The offset that is due by our log; `None` if nothing of this partition was ever read.
    pub due: Option<u64>,
    /// The first offset that Kafka still has.
    pub low: u64,
    /// One past the last.
    pub high: u64,
    /// What was read of its topic before.
    pub topic: Topic,
    /// What librdkafka said of it.
    pub heard: Heard,
    /// Whether the broker is asked, before anything is read, how much it has of what was read: it may say more than `high`.
    pub is_asked: bool,
}

/// What librdkafka said of a partition, beside its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Heard {
    /// Nothing.
    #[default]
    Nothing,
    /// Of what the broker had when the last message was read, it has what is before this offset.
    Truncated(u64),
    /// What is due, up to this offset, is damaged: it cannot be read.
    Damaged(u64),
}

/// What was read of a topic before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Nothing, ever.
    New,
    /// This one: the partition was added.
    Known,
    /// This one, while no broker told its id: its partitions go on from the streams without one.
    Named,
    /// One of the same name that is gone.
    Recreated,
}

/// What the log notes of a topic: the numbers that are due of the streams that stand for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Of its name, whatever its id.
    pub name: Option<u64>,
    /// Of its name without an id: 0, or 1 since it has one.
    pub no_id: Option<u64>,
    /// Of its name with the id that it has: 0, or 1 if it went on from the streams without one.
    pub id: Option<u64>,
}

impl Noted {
    /// What was read of it before; `None` if that cannot be said, because a broker that told its id does so no more.
    pub fn topic(&self, has_id: bool) -> Option<Topic> {
        match (has_id, self.id, self.no_id) {
            (true, Some(0), _) | (false, _, Some(0)) => Some(Topic::Known),
            (true, Some(_), _) | (true, None, Some(0)) => Some(Topic::Named),
            (true, None, _) if self.name.is_some() => Some(Topic::Recreated),
            (false, _, Some(_)) => None,
            (false, ..) if self.name.is_some() => None,
            _ => Some(Topic::New),
        }
    }

    /// What is due of its name with its id, once it is noted.
    pub fn next_of_id(&self) -> u64 {
        u64::from(self.topic(true) == Some(Topic::Named))
    }
}

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From the offset that is due.
    Due(u64),
    /// From another one.
    Move(u64, MoveReason),
    /// From the first message of this time or later, in milliseconds; from the end if there is none.
    Time(u64, MoveReason),
}

impl Known {
    /// Where to read from. `last_ms` is when our log took the last message.
    pub fn start(&self, initial: Initial, last_ms: u64) -> Start {
        match (self.due, self.topic, self.heard) {
            // What is behind the end that the broker tells is what we have not seen, however much of it there is.
            (Some(due), _, Heard::Truncated(end)) if due > end => {
                Start::Move(end.min(self.high).max(self.low), MoveReason::Truncated)
            }
            // The partition counts anew: what is younger than what we had is what we have not seen.
            (Some(due), ..) if due > self.high && !self.is_asked => {
                Start::Time(last_ms, MoveReason::Truncated)
            }
            (Some(due), ..) if due < self.low => Start::Move(self.low, MoveReason::Gap),
            (Some(due), _, Heard::Damaged(next)) if due < next => Start::Move(next, MoveReason::Gap),
            (Some(due), ..) => Start::Due(due),
            (None, Topic::Recreated, _) => Start::Move(self.low, MoveReason::Recreated),
            // All of it came after we began to read the topic, whatever the policy.
            (None, Topic::Known | Topic::Named, _) => Start::Move(self.low, MoveReason::Started),
            (None, Topic::New, _) => match initial {
                Initial::Earliest => Start::Move(self.low, MoveReason::Started),
                Initial::Latest => Start::Move(self.high, MoveReason::Started),
                Initial::Time(time) => Start::Time(time, MoveReason::Started),
            },
        }
    }
}

/// The leader epochs of what was taken of a partition: the first offset of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epochs(VecDeque<(u64, i32)>);

impl Epochs {
    /// A message of this epoch was taken, the first of it, or the first since something was read again.
    pub fn take(&mut self, offset: u64, epoch: i32) {
        self.0.retain(|(first, _)| *first < offset);
        if self.last() != Some(epoch) {
            self.0.push_back((offset, epoch));
        }
        if self.0.len() > KAFKA_EPOCHS_MAX {
            self.0.pop_front();
        }
    }

    /// The epoch of the last message that was taken.
    pub fn last(&self) -> Option<i32> {
        self.0.back().map(|(_, epoch)| *epoch)
    }

    /// The epoch of the last message before this offset, if it is known and brokers tell one.
    pub fn before(&self, due: u64) -> Option<i32> {
        let of = self.0.iter().rev().find(|(first, _)| *first < due);
        of.map(|(_, epoch)| *epoch).filter(|epoch| *epoch >= 0)
    }
}

/// What an offset that is read from begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The same damaged batch.
    Same,
    /// The first message behind it, or other damage: at this offset.
    Other(u64),
}

/// The first offset behind a damaged batch that this one is in. A batch has no end that a client is told: each answer of
/// `read` says whether an offset is in it, too.
pub fn behind<E>(damaged: u64, high: u64, mut read: impl FnMut(u64) -> Result<Found, E>) -> Result<u64, E> {
    let (mut last, mut end, mut next, mut step) = (damaged, high, high, 1);
    while last + 1 < end {
        // With longer and longer steps until one is behind it: a batch is short beside what may wait.
        let offset = if end == high { (last + step).min(end - 1) } else { last + (end - last) / 2 };
        match read(offset)? {
            Found::Same => (last, step) = (offset, step * 2),
            Found::Other(first) => (end, next) = (offset, first),
        }
    }
    Ok(next.max(damaged + 1))
}

/// What people are told of a move that they should know of.
pub fn sentence(
    topic: &str,
    partition: i32,
    from: Option<u64>,
    next: u64,
    reason: MoveReason,
    heard: Heard,
) -> Option<String> {
    let from = from.unwrap_or(0);
    Some(match reason {
        MoveReason::Started | MoveReason::Owned => return None,
        MoveReason::Gap if matches!(heard, Heard::Damaged(_)) => format!(
            "A gap: the offsets {from} to {} of partition {partition} of {topic} are damaged in Kafka and cannot be read.",
            next.saturating_sub(1),
        ),
        MoveReason::Gap => format!(
            "A gap: Kafka no longer has the offsets {from} to {} of partition {partition} of {topic}, which were not read.",
            next.saturating_sub(1),
        ),
        MoveReason::Truncated => format!(
            "Partition {partition} of {topic} was truncated: what was read before offset {from}, which was due, is gone from \
             Kafka; reading goes on at offset {next}."
        ),
        MoveReason::Recreated => {
            format!(
                "The topic {topic} was re-created: its partition {partition} is read from its first message."
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{
        Epochs, Found, Heard, Initial, KAFKA_EPOCHS_MAX, Known, MoveReason, Noted, Start, Topic, behind,
    };

    const KNOWN: Known = Known {
        due: Some(10),
        low: 2,
        high: 30,
        topic: Topic::Known,
        heard: Heard::Nothing,
        is_asked: false,
    };

    fn start(known: Known) -> Start {
        known.start(Initial::Earliest, 77)
    }

    #[test]
    fn a_truncation_that_was_heard_of_moves_to_its_end_however_many_messages_came_since() {
        let at = |end, low, high| start(Known { heard: Heard::Truncated(end), low, high, ..KNOWN });
        assert_eq!(at(5, 2, 30), Start::Move(5, MoveReason::Truncated));
        assert_eq!(at(5, 2, 8), Start::Move(5, MoveReason::Truncated));
        // Retention ate the beginning of what is new, or the broker lost more since.
        assert_eq!(at(5, 7, 30), Start::Move(7, MoveReason::Truncated));
        assert_eq!(at(5, 2, 4), Start::Move(4, MoveReason::Truncated));
        // What was lost had not come in.
        assert_eq!(at(10, 2, 30), Start::Due(10));
        assert_eq!(at(11, 2, 30), Start::Due(10));
    }

    #[test]
    fn damage_is_passed_from_the_offset_that_is_due_on() {
        let at = |next| start(Known { heard: Heard::Damaged(next), ..KNOWN });
        assert_eq!(at(12), Start::Move(12, MoveReason::Gap));
        // It was passed before, as nothing of it was new.
        assert_eq!(at(10), Start::Due(10));
    }

    #[test]
    fn the_end_of_a_damaged_batch_is_found_to_the_offset_in_few_steps() {
        for (due, end, first, high) in [
            (0, 1, 1, 1),
            (0, 1, 1, 9),
            (5, 6, 9, 90),
            (3, 500, 500, 1_000_000),
            (7, 20, 20, 20),
            (7, 19, 19, 20),
        ] {
            let mut asked = 0;
            let read = |offset: u64| {
                asked += 1;
                assert!(offset < high, "nothing comes from the end");
                Ok::<_, ()>(if offset < end { Found::Same } else { Found::Other(offset.max(first)) })
            };
            assert_eq!(behind(due, high, read), Ok(first));
            assert!(asked <= 20, "{asked} for {end}");
        }
    }

    #[test]
    fn a_truncation_that_nobody_heard_of_moves_to_a_time_unless_the_broker_is_asked() {
        let known = Known { high: 9, ..KNOWN };
        assert_eq!(start(known), Start::Time(77, MoveReason::Truncated));
        assert_eq!(start(Known { is_asked: true, ..known }), Start::Due(10));
    }

    #[test]
    fn a_topic_whose_id_is_told_later_goes_on_and_one_whose_id_is_told_no_more_is_not_another() {
        let (yes, no) = (true, false);
        for (name, no_id, id, has_id, topic) in [
            (None, None, None, yes, Some(Topic::New)),
            (None, None, None, no, Some(Topic::New)),
            (Some(0), None, Some(0), yes, Some(Topic::Known)),
            (Some(0), None, None, yes, Some(Topic::Recreated)),
            (Some(0), Some(0), None, no, Some(Topic::Known)),
            // The id is told now: at first, after a crash before that was noted of the name without one, and from then on.
            (Some(0), Some(0), None, yes, Some(Topic::Named)),
            (Some(0), Some(0), Some(1), yes, Some(Topic::Named)),
            (Some(0), Some(1), Some(1), yes, Some(Topic::Named)),
            // Another topic does not go on from the streams without an id.
            (Some(0), Some(1), None, yes, Some(Topic::Recreated)),
            // No id is told any more.
            (Some(0), Some(1), None, no, None),
            (Some(0), None, None, no, None),
        ] {
            let noted = Noted { name, no_id, id };
            assert_eq!(noted.topic(has_id), topic, "{noted:?}");
        }
    }

    #[test]
    fn the_epoch_of_the_last_message_before_an_offset_is_known_as_far_as_it_was_taken() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.before(10), None);
        epochs.take(3, 1);
        epochs.take(7, 4);
        let before = |epochs: &Epochs, all: [u64; 4]| all.map(|due| epochs.before(due));
        assert_eq!(before(&epochs, [3, 4, 7, 8]), [None, Some(1), Some(1), Some(4)]);
        // Read again from an older one on.
        epochs.take(5, 1);
        assert_eq!((epochs.before(8), epochs.last()), (Some(1), Some(1)));
        epochs.take(9, -1);
        assert_eq!(before(&epochs, [9, 10, 11, 12]), [Some(1), None, None, None]);
        (10..100).for_each(|epoch| epochs.take(epoch as u64, epoch));
        assert_eq!(epochs.0.len(), KAFKA_EPOCHS_MAX);
        assert_eq!(before(&epochs, [20, 84, 86, 100]), [None, None, Some(85), Some(99)]);
    }
}
