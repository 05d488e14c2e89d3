//! A track: one assignment of one Kafka partition, as consumer, shard and onlookers share it.
//!
//! Invariant: `released` is one past the last message that is durable, and never goes down. What was taken is settled once:
//! when it is durable or dropped. A closed track's messages are dropped until it is made anew.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering},
};

use keyway_engine::mailbox::Bell;
use keyway_storage::{event::TriggerId, place::ShardId};
use xxhash_rust::xxh3::xxh3_64;

/// One assignment of a Kafka partition.
pub struct Track {
    /// Its trigger.
    pub trigger: TriggerId,
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// `topic/id/partition`.
    pub stream: Arc<str>,
    /// Hash of the stream; 0 stands for no stream.
    pub hash: u64,
    /// The shard that owns it.
    pub owner: ShardId,
    released: AtomicU64,
    taken: AtomicU64,
    settled: AtomicU64,
    closed: AtomicBool,
    refused: AtomicBool,
    position: AtomicU64,
    committed: AtomicI64,
    high: AtomicI64,
    epoch: AtomicI32,
    bell: Arc<Bell>,
}

/// What people see of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The next offset that is not durable here.
    pub position: u64,
    /// What the group remembers, as far as we told it.
    pub committed: Option<u64>,
    /// One past the last message in Kafka.
    pub high: Option<u64>,
}

impl Track {
    /// A partition that is read from this offset on; `bell` wakes its consumer.
    pub fn new(
        trigger: TriggerId,
        (topic, partition): (&str, i32),
        stream: &str,
        owner: ShardId,
        start: u64,
        bell: &Arc<Bell>,
    ) -> Arc<Self> {
        Arc::new(Self {
            trigger,
            topic: topic.to_owned(),
            partition,
            stream: stream.into(),
            hash: xxh3_64(stream.as_bytes()).max(1),
            owner,
            released: AtomicU64::new(start),
            taken: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            position: AtomicU64::new(start),
            committed: AtomicI64::new(-1),
            high: AtomicI64::new(-1),
            epoch: AtomicI32::new(i32::MIN),
            bell: Arc::clone(bell),
        })
    }

    /// Whether it is this partition.
    pub fn is(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic == topic
    }

    /// Messages were taken from Kafka.
    pub fn take(&self, messages: usize) {
        self.taken.fetch_add(messages as u64, Ordering::AcqRel);
    }

    /// Whether a message's leader epoch is another one than that of the message before it, or the message is the first. Only
    /// the consumer asks.
    pub fn is_new_epoch(&self, epoch: i32) -> bool {
        let is_new = self.epoch.load(Ordering::Relaxed) != epoch;
        if is_new {
            self.epoch.store(epoch, Ordering::Relaxed);
        }
        is_new
    }

    /// Messages were decided or dropped.
    pub fn settle(&self, messages: usize) {
        self.settled.fetch_add(messages as u64, Ordering::AcqRel);
        self.bell.ring();
    }

    /// Everything before this offset is durable.
    pub fn release(&self, next: u64) {
        self.released.fetch_max(next, Ordering::AcqRel);
    }

    /// One past the last message that is durable.
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Whether all that was taken was decided or dropped.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) == self.taken.load(Ordering::Acquire)
    }

    /// A shard refused a message: what follows it is dropped, and read again.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        self.close();
    }

    /// Whether a shard refused a message.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// What was taken and not offered yet is dropped from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether messages are dropped.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Where the consumer stands: it may have passed offsets that hold no message.
    pub fn set_position(&self, next: u64) {
        // In this order: what a refused message is settled by was closed before. Its offset is not passed.
        let passed = self.is_settled() && !self.is_closed();
        let next = if passed { next.max(self.released()) } else { self.released() };
        self.position.store(next, Ordering::Release);
    }

    /// The group was told this offset.
    pub fn set_committed(&self, offset: i64) {
        self.committed.store(offset, Ordering::Release);
    }

    /// What the group was told last; -1 before that.
    pub fn committed(&self) -> i64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Kafka has messages up to this offset.
    pub fn set_high(&self, high: i64) {
        self.high.store(high, Ordering::Release);
    }

    /// What people see.
    pub fn shown(&self) -> Shown {
        let position = self.position.load(Ordering::Acquire).max(self.released());
        let high = u64::try_from(self.high.load(Ordering::Acquire)).ok();
        // Known a moment later than the messages themselves.
        let high = high.map(|high| high.max(position));
        Shown { position, committed: u64::try_from(self.committed()).ok(), high }
    }
}
