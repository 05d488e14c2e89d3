//! What came in: inputs, dead letters, skipped ticks.

use std::sync::Arc;

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::{LaneId, Named, Shared};
use crate::place::{Offset, Place, Timestamp};

/// A trigger's UUID, as its 16 bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TriggerId(pub [u8; 16]);

/// A workflow across all versions of the project file: xxh3-64 of its key.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkflowId(pub u64);

/// What makes an input the same input when it comes again.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Position {
    /// Nothing: every input is new.
    None,
    /// An idempotency key, by its 128-bit hash; the body's hash tells a repeat from a reused key.
    Once {
        /// Hash of the key.
        #[serde(with = "super::text::long_hash")]
        key: u128,
        /// xxh3-64 of the body that came with it.
        #[serde(with = "super::text::hash")]
        body: u64,
        /// How long the key is remembered.
        window_seconds: u32,
    },
    /// The next number of a stream: a Kafka partition, a cron trigger, a replayed shard.
    Next {
        /// Name of the stream inside its trigger.
        #[rkyv(with = Named)]
        stream: Arc<str>,
        /// Strictly rising in a stream, not dense.
        number: u64,
    },
}

/// An input became a work order; its place is the work order's.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The trigger that it came through.
    pub trigger: TriggerId,
    /// The workflow that the trigger starts.
    pub workflow: WorkflowId,
    /// The `ProjectApplied` whose jobs the first run executes.
    pub project: Offset,
    /// What makes it the same input when it comes again.
    pub position: Position,
    /// The lane in which its runs wait.
    pub lane: LaneId,
    /// Hash of the ordering key, if the trigger orders by key.
    #[serde(with = "super::text::maybe_hash")]
    pub key: Option<u64>,
    /// JSON of the request's or message's metadata; empty when there is none.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub request: Bytes,
    /// JSON of the body, as it was received.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub body: Bytes,
    /// The dead letter or event that this input replays.
    pub replays: Option<Place>,
}

/// Why an input could not become a work order.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// The payload is not JSON.
    InvalidJson,
    /// The payload is JSON, but not an object.
    NotAnObject,
    /// The payload is over the limit.
    TooLarge,
    /// The payload or a header is not the text that it should be.
    InvalidText,
    /// No run could be made for it.
    NoRunCreated,
}

/// An input that could not become a work order, whole.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// JSON of the metadata that it came with.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub request: Bytes,
    /// The raw payload; `None` is Kafka's null.
    #[serde(with = "super::text::maybe_raw")]
    pub raw: Option<Box<[u8]>>,
    /// Why it could not become a work order.
    pub reason: Reason,
    /// The same for people, with the place of the mistake.
    pub detail: Box<str>,
}

/// An input could not become a work order and is kept whole.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct DeadLettered {
    /// The trigger that it came through.
    pub trigger: TriggerId,
    /// What makes it the same input when it comes again.
    pub position: Position,
    /// The input.
    pub letter: Letter,
}

/// How a dead letter ended.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LetterEnd {
    /// It went through again and became this work order.
    Replayed {
        /// Place of the new work order.
        work_order: Place,
    },
    /// Someone gave it up.
    Discarded {
        /// Why, in their words.
        reason: Box<str>,
    },
}

/// A dead letter was replayed or discarded.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterClosed {
    /// The dead letter.
    pub letter: Offset,
    /// How it ended.
    pub end: LetterEnd,
}

/// Why a stream goes on at another number than the next one.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// Nothing of it was read before.
    Started,
    /// The peer no longer has what was not read.
    Gap,
    /// The peer lost what was read, and counts it anew.
    Truncated,
    /// It is a new stream under the name of an old one.
    Recreated,
    /// Another shard owns it from now on.
    Owned,
}

/// A stream goes on at a number that is not the one after its last input.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct StreamMoved {
    /// The trigger.
    pub trigger: TriggerId,
    /// Name of the stream inside its trigger.
    pub stream: Box<str>,
    /// The number that was due before; `None` if nothing was.
    pub from: Option<u64>,
    /// The number that is due now.
    pub next: u64,
    /// Why.
    pub reason: MoveReason,
}

/// A cron tick made no work order.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct TickSkipped {
    /// The cron trigger.
    pub trigger: TriggerId,
    /// When the tick was due.
    pub due: Timestamp,
    /// Why it was skipped.
    pub reason: Box<str>,
}
