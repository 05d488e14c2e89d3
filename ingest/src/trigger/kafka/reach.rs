//! Which brokers answer: one that is gone matters only when a partition that is read waits for it.
//!
//! Invariant: a look takes about as long as two answers may, however many partitions there are.

use std::{sync::Arc, time::Duration};

use keyway_storage::limits::KAFKA_PROBE_MS;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{listener::Listener, track::Track};

/// What was found.
pub enum Reach {
    /// All that is read has a broker that answers.
    All,
    /// Brokers answer, but not the one that has this partition.
    Without(Arc<Track>),
    /// A topic is not as it should be, which is said elsewhere.
    Unwell,
    /// No broker answers.
    Nobody,
}

/// Asks any broker for the topics, and one partition of each leader for its end.
pub fn look(client: &BaseConsumer<Listener>, topics: &[String], tracks: &[Arc<Track>]) -> Reach {
    let mut asked = Vec::new();
    for topic in topics {
        let Ok(metadata) = client.client().fetch_metadata(Some(topic), timeout()) else {
            return Reach::Nobody;
        };
        if metadata.topics().iter().any(|topic| topic.error().is_some()) {
            return Reach::Unwell;
        }
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let track = tracks.iter().find(|track| track.is(topic, partition.id()));
            let Some(track) = track.filter(|_| !asked.contains(&partition.leader())) else { continue };
            if client.fetch_watermarks(topic, partition.id(), timeout()).is_err() {
                return Reach::Without(Arc::clone(track));
            }
            asked.push(partition.leader());
        }
    }
    Reach::All
}

/// Finds how far partitions reach that are held, and what the group has of them: nothing is fetched or committed that
/// would say so.
pub fn look_at_held(client: &BaseConsumer<Listener>, held: &[Arc<Track>]) {
    let mut offsets = TopicPartitionList::new();
    for track in held {
        // One that does not answer would not do so for the next either.
        let Ok((_, high)) = client.fetch_watermarks(&track.topic, track.partition, timeout()) else { return };
        track.set_high(high);
        offsets.add_partition(&track.topic, track.partition);
    }
    let Ok(offsets) = client.committed_offsets(offsets, timeout()) else { return };
    for track in held {
        let element = offsets.find_partition(&track.topic, track.partition);
        if let Some(Offset::Offset(offset)) = element.map(|element| element.offset()) {
            track.set_committed(offset);
        }
    }
}

fn timeout() -> Duration {
    Duration::from_millis(KAFKA_PROBE_MS)
}
