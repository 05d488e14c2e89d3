//! Where a partition is read from: our own position counts, whatever the group remembers.
//!
//! Invariant: pure. What is not the next offset is a move, which the log must have before anything is read.

use keyway_storage::event::MoveReason;

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
}

/// What was read of a topic before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Nothing, ever.
    New,
    /// This one: the partition was added.
    Known,
    /// One of the same name that is gone.
    Recreated,
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
        match (self.due, self.topic) {
            // The partition counts anew: what is younger than what we had is what we have not seen.
            (Some(due), _) if due > self.high => Start::Time(last_ms, MoveReason::Truncated),
            (Some(due), _) if due < self.low => Start::Move(self.low, MoveReason::Gap),
            (Some(due), _) => Start::Due(due),
            (None, Topic::Recreated) => Start::Move(self.low, MoveReason::Recreated),
            // All of it came after we began to read the topic, whatever the policy.
            (None, Topic::Known) => Start::Move(self.low, MoveReason::Started),
            (None, Topic::New) => match initial {
                Initial::Earliest => Start::Move(self.low, MoveReason::Started),
                Initial::Latest => Start::Move(self.high, MoveReason::Started),
                Initial::Time(time) => Start::Time(time, MoveReason::Started),
            },
        }
    }
}

/// What people are told of a move that they should know of.
pub fn sentence(
    topic: &str,
    partition: i32,
    from: Option<u64>,
    next: u64,
    reason: MoveReason,
) -> Option<String> {
    let from = from.unwrap_or(0);
    Some(match reason {
        MoveReason::Started | MoveReason::Owned => return None,
        MoveReason::Gap => format!(
            "A gap: Kafka no longer has the offsets {from} to {} of partition {partition} of {topic}, which were not read.",
            next.saturating_sub(1),
        ),
        MoveReason::Truncated => format!(
            "Partition {partition} of {topic} was truncated: it ends before offset {from}, which was due; reading goes on at \
             offset {next}."
        ),
        MoveReason::Recreated => {
            format!(
                "The topic {topic} was re-created: its partition {partition} is read from its first message."
            )
        }
    })
}
