//! The Kafka source of one shard between a consumer that took messages and a test that plays the shard.

use std::sync::Arc;

use bytes::Bytes;
use keyway_engine::{command::Input, mailbox::Mailbox, source::Source};
use keyway_storage::{
    event::{Position, TriggerId},
    place::ShardId,
};
use uuid::{Uuid, uuid};

use super::{
    source::{KafkaSource, Load, Sent},
    track::Track,
};
use crate::trigger::rehearsal::{Rehearsal, project_of};

const TRIGGER: Uuid = uuid!("9a4d0e77-5c13-4b8e-b6f2-0d7e1c5a3b04");

/// One shard's source, its mailbox, and the only partition.
pub struct Rehearsed {
    source: KafkaSource,
    mailbox: Arc<Mailbox<Sent>>,
    track: Arc<Track>,
    sent: u64,
}

impl Rehearsed {
    /// A partition of which nothing was read.
    pub fn new() -> Self {
        let mailbox = KafkaSource::mailbox(&Arc::default());
        let source = KafkaSource::new(Arc::clone(&mailbox), Arc::default(), None);
        let trigger = TriggerId(*TRIGGER.as_bytes());
        let track = Track::new(trigger, ("orders", 0), "orders/-/0", ShardId(0), 0, &Arc::default());
        Self { source, mailbox, track, sent: 0 }
    }
}

impl Rehearsal for Rehearsed {
    fn project(&self) -> String {
        project_of(&format!(
            "{{id: {TRIGGER}, type: kafka, enabled: true, kafka_configuration: {{hosts: ['localhost:9092'], topics: \
             [orders]}}}}"
        ))
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut self.source
    }

    fn send(&mut self, count: usize) {
        let input = |number| Input {
            trigger: self.track.trigger,
            position: Position::Next { stream: self.track.stream.clone(), number },
            key: None,
            stream: self.track.hash,
            request: Bytes::from_static(b"{}"),
            body: Ok(Bytes::from_static(b"{}")),
            follow: None,
            replays: None,
        };
        let end = self.sent + count as u64;
        let inputs = (self.sent..end).map(|number| (number, input(number), 4)).collect();
        self.track.take(count);
        let load = Load { track: Arc::clone(&self.track), inputs };
        assert!(self.mailbox.put(Sent::Load(load), 4).is_ok());
        self.sent = end;
    }

    /// What the consumer would commit.
    fn released(&mut self) -> usize {
        self.track.released() as usize
    }
}
