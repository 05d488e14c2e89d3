//! A range of Kafka's messages, by the metadata that inputs and dead letters keep of them.
//!
//! Invariant: both ends of a range belong to it. What did not come from Kafka is in no range.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::{ApiError, call::Call, page};

/// A range of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaRange {
    topic: Option<String>,
    partition: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
}

/// What a message's metadata says of where it stood.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    topic: Option<std::borrow::Cow<'a, str>>,
    partition: Option<u64>,
    kafka_offset: Option<u64>,
    offset: Option<u64>,
}

const KEYS: &[&str] = &["topic", "partition", "from_offset", "to_offset"];

impl KafkaRange {
    /// The range in an object; none when the object is empty.
    pub fn of_object(range: &Map<String, Value>) -> Result<Option<Self>, ApiError> {
        if let Some(unknown) = range.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ApiError::invalid(format!("`kafka` has an unknown key `{unknown}`.")));
        }
        let number = |name: &str| match range.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(ApiError::invalid(format!("`{name}` must be a whole number, at least 0."))),
            },
        };
        let topic = page::Values::value(range, "topic")?;
        Self::checked(topic, number("partition")?, number("from_offset")?, number("to_offset")?)
    }

    /// The range in a query; none when nothing of it is there.
    pub fn of_query(call: &Call) -> Result<Option<Self>, ApiError> {
        let number = |name| page::number(call, name, 0, u64::MAX);
        let topic = call.param("topic");
        Self::checked(topic, number("partition")?, number("from_offset")?, number("to_offset")?)
    }

    fn checked(
        topic: Option<String>,
        partition: Option<u64>,
        from: Option<u64>,
        to: Option<u64>,
    ) -> Result<Option<Self>, ApiError> {
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::invalid("`from_offset` must not be larger than `to_offset`."));
        }
        let range = Self { topic, partition, from, to };
        Ok((range != Self { topic: None, partition: None, from: None, to: None }).then_some(range))
    }

    /// Whether the message with this metadata belongs to it.
    pub fn holds(&self, metadata: &[u8]) -> bool {
        let Ok(message) = serde_json::from_slice::<Metadata>(metadata) else { return false };
        let Some(topic) = message.topic else { return false };
        let fits = |wanted: Option<u64>, found: Option<u64>, fits: fn(u64, u64) -> bool| {
            wanted.is_none_or(|wanted| found.is_some_and(|found| fits(wanted, found)))
        };
        let offset = message.kafka_offset.or(message.offset);
        self.topic.as_deref().is_none_or(|wanted| wanted == topic)
            && fits(self.partition, message.partition, |wanted, found| wanted == found)
            && fits(self.from, offset, |from, found| from <= found)
            && fits(self.to, offset, |to, found| found <= to)
    }
}
