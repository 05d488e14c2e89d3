//! A consumer that throws away what it takes: what librdkafka does by itself when it is told what a trigger's is told.
//!
//! Invariant: it takes as many messages at once as a trigger's consumer does, and commits nothing.

use std::{sync::Arc, time::Duration};

use keyway_engine::project::{Trigger, Workflow};
use keyway_storage::limits::{KAFKA_BATCH_MESSAGES_MAX, KAFKA_WAIT_MS};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, DefaultConsumerContext},
    error::KafkaError,
};

use super::{
    ffi::{Queue, events_waiting, watermarks},
    plan::Plan,
};

/// A consumer that keeps nothing.
pub struct Drain {
    queue: Queue<DefaultConsumerContext>,
    client: Arc<BaseConsumer>,
    topic: String,
    partitions: i32,
}

impl Drain {
    /// Reads all partitions of a topic from their beginning, with the settings of this trigger.
    pub fn open(
        workflow: &Workflow,
        trigger: &Trigger,
        topic: &str,
        partitions: i32,
    ) -> Result<Self, String> {
        let plan = Plan::of(workflow, trigger).ok_or("this is no Kafka trigger")?;
        let said = |error: KafkaError| error.to_string();
        let client: BaseConsumer = plan.config()?.create().map_err(said)?;
        let client = Arc::new(client);
        let (queue, mut list) = (Queue::new(&client), TopicPartitionList::new());
        for partition in 0..partitions {
            queue.forward(topic, partition);
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(said)?;
        }
        client.assign(&list).map_err(said)?;
        Ok(Self { queue, client, topic: topic.to_owned(), partitions })
    }

    /// Whether every partition has answered a fetch: what comes from now on comes at once.
    pub fn is_reading(&self) -> bool {
        (0..self.partitions).all(|partition| watermarks(&self.client, &self.topic, partition).is_some())
    }

    /// Takes what is there, or the first that comes, shows each value, and says how many there were.
    pub fn take(&self, see: &mut dyn FnMut(&[u8])) -> Result<u64, String> {
        while events_waiting(&self.client) > 0 {
            if let Some(Err(error)) = self.client.poll(Duration::ZERO) {
                return Err(error.to_string());
            }
        }
        let mut messages = self.queue.take(KAFKA_BATCH_MESSAGES_MAX as usize, Duration::ZERO);
        if messages.is_empty() {
            messages = self.queue.take(1, Duration::from_millis(KAFKA_WAIT_MS));
        }
        for message in &messages {
            if let Some((_, reason)) = message.error() {
                return Err(reason);
            }
            see(message.payload().unwrap_or_default());
        }
        Ok(messages.len() as u64)
    }
}
