//! Kafka: a message becomes an input.

mod again;
mod consumer;
pub mod drain;
mod ffi;
mod fleet;
mod listener;
pub mod message;
mod page;
mod plan;
pub mod position;
mod reach;
#[cfg(feature = "testing")]
mod rehearsed;
pub mod settings;
mod source;
mod status;
mod track;
mod trouble;

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    command::Unusable,
    project::{Trigger, TriggerSection},
    source::{Order, Source, Stored, TriggerType},
    view::stream,
};
use keyway_storage::{event::Received, place::ShardId};
use serde_json::{Map, Value, json};

use super::{Adapter, Gauge, Seen, Site, Sources};
use crate::quiet::Quiet;
use consumer::{Said, World};
use fleet::Fleet;
use settings::KafkaSettings;
use source::KafkaSource;

const OFF: &str = "Kafka triggers are switched off: set KAFKA_TRIGGERS_ENABLED=yes to switch them on.";

/// The Kafka trigger type.
pub struct Kafka;

impl TriggerType for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn ordering_key(&self, _: &Trigger, input: &Received) -> Option<Bytes> {
        let request: Value = serde_json::from_slice(&input.request).ok()?;
        message::stored_bytes(&request["key"]).map(Bytes::from)
    }

    fn read(&self, trigger: &Trigger, raw: Option<&[u8]>) -> Result<Bytes, Unusable> {
        again::read(trigger, raw)
    }

    fn order(&self, trigger: &Trigger, stored: &Stored) -> Order {
        again::order(trigger, stored)
    }

    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        Arc::new(KafkaSettings::read(section))
    }
}

impl Adapter for Kafka {
    fn open(&self, site: &Site) -> Arc<dyn Sources> {
        if (site.variable)("KAFKA_TRIGGERS_ENABLED").is_none_or(|value| value != "yes") {
            return Arc::new(KafkaSources { fleet: None });
        }
        let mailboxes = site.bells.iter().map(KafkaSource::mailbox).collect();
        let (routes, readers) = (site.passage.routes.clone(), site.readers.to_vec());
        let world =
            World { mailboxes, routes, readers, permits: Arc::clone(site.permits), said: Said::default() };
        let fleet = Fleet::open(world);
        if let Err(error) = &fleet {
            tracing::error!(%error, "the thread of the Kafka triggers cannot be started");
        }
        Arc::new(KafkaSources { fleet: fleet.ok() })
    }

    #[cfg(feature = "testing")]
    fn rehearse(&self) -> Box<dyn super::rehearsal::Rehearsal> {
        Box::new(rehearsed::Rehearsed::new())
    }
}

struct KafkaSources {
    fleet: Option<Arc<Fleet>>,
}

impl Sources for KafkaSources {
    fn source(&self, shard: ShardId) -> Box<dyn Source> {
        let Some(fleet) = &self.fleet else { return Box::new(Quiet) };
        let World { mailboxes, permits, .. } = &*fleet.world;
        let shard = usize::from(shard.0);
        // The last shard tells of projects: by then all have them.
        let told = (shard + 1 == mailboxes.len()).then(|| Arc::downgrade(fleet));
        Box::new(KafkaSource::new(Arc::clone(&mailboxes[shard]), Arc::clone(permits), told))
    }

    fn show(&self, seen: &Seen) -> Map<String, Value> {
        let status = self.fleet.as_ref().and_then(|fleet| fleet.status(seen.trigger.id));
        let mut shown = match (&self.fleet, status) {
            (None, _) => status::off(Some(OFF)),
            (Some(_), Some(status)) if seen.enabled => status.show(),
            (Some(_), _) => status::off(None),
        };
        let letters = seen.shards.iter().filter_map(|shard| stream::open(shard, seen.trigger.id).ok());
        shown.insert("dead_letters".to_owned(), json!(letters.map(|open| open.letters).sum::<u64>()));
        shown
    }

    fn gauges(&self) -> Vec<Gauge> {
        self.fleet.as_ref().map_or_else(Vec::new, |fleet| fleet.gauges())
    }

    fn close(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.close();
        }
    }
}
