//! Damage: a batch of messages that librdkafka cannot read. It names the first offset of it, and no end.
//!
//! Invariant: only what is in that batch is passed. As long as its end is not found, reading stands before it.

use std::time::{Duration, Instant};

use keyway_storage::limits::{KAFKA_DAMAGE_MS, KAFKA_WAIT_MS};
use rdkafka::{TopicPartitionList, consumer::Consumer as _, error::RDKafkaErrorCode as Code};

use super::{
    Consumer, Partition,
    assign::{Unread, add},
};
use crate::trigger::kafka::position::{Found, Heard, behind};

/// Whether an error stands in the place of messages that cannot be read.
pub(super) fn is_damage(code: Code) -> bool {
    matches!(code, Code::BadMessage | Code::BadCompression | Code::NotImplemented)
}

impl Consumer {
    /// What was heard of damage, as far as it concerns the offset that is due. Nothing is assigned meanwhile.
    pub(super) fn damage(&self, partition: &Partition, due: u64, high: u64) -> Result<Heard, Unread> {
        let Some(base) = self.world.said.damage_of(self.plan.trigger, partition) else {
            return Ok(Heard::Nothing);
        };
        let next = self.behind(partition, (base, due), high);
        if let Err(error) = self.client.unassign() {
            tracing::warn!(%error, "partitions are not given back");
        }
        Ok(next?.map_or(Heard::Nothing, Heard::Damaged))
    }

    /// The first offset behind the damaged batch that begins at `base`, if that is all that is left between it and what is due.
    fn behind(
        &self,
        partition: &Partition,
        (base, due): (u64, u64),
        high: u64,
    ) -> Result<Option<u64>, Unread> {
        let damaged = base.max(due);
        // Where librdkafka lost its way, it may name what is no offset of the partition.
        if damaged >= high {
            return Ok(None);
        }
        if base > due && self.found(partition, base, due)? != Found::Same {
            return Ok(None);
        }
        behind(damaged, high, |offset| self.found(partition, base, offset)).map(Some)
    }

    /// What a reader finds that begins at this offset.
    fn found(&self, partition: &Partition, base: u64, offset: u64) -> Result<Found, Unread> {
        let (topic, number) = partition;
        let mut list = TopicPartitionList::new();
        add(&mut list, topic, *number, offset);
        if let Err(error) = self.client.assign(&list) {
            return Err(self.unread(error.rdkafka_error_code(), "partitions cannot be assigned"));
        }
        let deadline = Instant::now() + Duration::from_millis(KAFKA_DAMAGE_MS);
        while Instant::now() < deadline && !self.bell.is_stopped() {
            self.queue.forward(topic, *number);
            for message in self.queue.take(1, Duration::from_millis(KAFKA_WAIT_MS)) {
                if message.topic() != topic || message.partition() != *number {
                    continue;
                }
                match message.error().map(|(code, _)| code) {
                    Some(code) if is_damage(code) && message.offset() == base => return Ok(Found::Same),
                    Some(code) if !is_damage(code) => {}
                    _ => return Ok(Found::Other(message.offset().max(offset))),
                }
            }
        }
        // Nothing readable is behind it yet, or the broker does not answer.
        Err(Unread::Later)
    }
}
