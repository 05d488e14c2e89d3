//! A message that goes through again: a dead letter or a past event.
//!
//! Invariant: it is read, and ordered among others, as the same message would be if it came now.

use bytes::Bytes;
use keyway_engine::{
    command::Unusable,
    project::{Ordering, Trigger},
    source::{Order, Stored},
    state::Part,
};
use keyway_storage::event::Position;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    message::{Raw, hash, stored_bytes},
    page::Page,
    settings::{KafkaSettings, Payload},
};

/// The body of a payload, if it is one that the trigger takes today.
pub fn read(trigger: &Trigger, raw: Option<&[u8]>) -> Result<Bytes, Unusable> {
    let payload = trigger.settings::<KafkaSettings>().map_or(Payload::Json, |settings| settings.payload);
    let (topic, partition, offset) = ("", 0, 0);
    let message = Raw { topic, partition, offset, timestamp: None, key: None, payload: raw, headers: &[] };
    message.read(payload, &mut Page::default()).1
}

/// Which messages it keeps its order with: its metadata has the key, its position the partition.
pub fn order(trigger: &Trigger, stored: &Stored) -> Order {
    let request: Value = serde_json::from_slice(stored.request).unwrap_or_default();
    let key = stored_bytes(&request["key"]).filter(|_| trigger.ordering == Ordering::Key);
    let stream = match stored.position {
        Position::Next { stream, .. } if Part::of(stored.position).is_none() => stream.to_string(),
        // What went through again before is no longer in a partition: those that say that they were stay together.
        _ => format!("{}/{}", request["topic"], request["partition"]),
    };
    Order { key: key.map(|key| hash(&key)), stream: xxh3_64(stream.as_bytes()).max(1), by_key: false }
}
