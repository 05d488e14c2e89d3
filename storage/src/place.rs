//! Where things are: an event by its shard and offset, a run by its work order and number.

use rkyv::{Archive, Deserialize, Serialize};

/// Position in the log of one shard. Dense: every offset from the first live one to the tail exists.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `count` events later.
    pub fn advance(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }

    /// How many events lie between `earlier` and this offset.
    pub fn since(self, earlier: Self) -> usize {
        assert!(self.0 >= earlier.0);
        (self.0 - earlier.0) as usize
    }
}

/// Number of a shard in its data dir, from 0.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
pub struct ShardId(pub u8);

/// An event's address: it names a work order by its `Received`, a dead letter by its `DeadLettered`.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The shard whose log holds the event.
    pub shard: ShardId,
    /// The event's offset in that log.
    pub offset: Offset,
}

/// One attempt at a work order as its owner sees it: the first run is number 1.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
)]
#[serde(deny_unknown_fields)]
pub struct RunId {
    /// The work order, by the place of its `Received`.
    pub work_order: Place,
    /// From 1 to `RUNS_PER_WORK_ORDER_MAX`.
    pub n: u8,
}

/// A run inside the shard that owns it.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
)]
#[serde(deny_unknown_fields)]
pub struct RunKey {
    /// Offset of the work order's `Received`.
    pub work_order: Offset,
    /// From 1 to `RUNS_PER_WORK_ORDER_MAX`.
    pub n: u8,
}

impl RunKey {
    /// The same run seen from outside the shard.
    pub fn in_shard(self, shard: ShardId) -> RunId {
        RunId { work_order: Place { shard, offset: self.work_order }, n: self.n }
    }
}

impl RunId {
    /// The same run seen from inside its shard.
    pub fn key(self) -> RunKey {
        RunKey { work_order: self.work_order.offset, n: self.n }
    }
}

/// Events from `first` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first event.
    pub first: Offset,
    /// One past the last event.
    pub end: Offset,
}

impl Span {
    /// How many events.
    pub fn len(self) -> usize {
        self.end.since(self.first)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.first == self.end
    }
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than every time that is ever reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// This time plus so many milliseconds.
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// Whole milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}
