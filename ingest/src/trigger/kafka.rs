//! Kafka: a message becomes an input.

pub mod settings;

use std::{any::Any, sync::Arc};

use keyway_engine::{
    project::TriggerSection,
    source::{Source, TriggerType},
};
use keyway_storage::place::ShardId;
use serde_json::{Map, Value, json};

use super::{Adapter, Seen, Site, Sources};
use crate::quiet::Quiet;
use settings::KafkaSettings;

const OFF: &str = "Kafka triggers are switched off: set KAFKA_TRIGGERS_ENABLED=yes to switch them on.";
const ABSENT: &str = "This version of keyway does not run Kafka triggers yet.";

/// The Kafka trigger type.
pub struct Kafka;

impl TriggerType for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        Arc::new(KafkaSettings::read(section))
    }
}

impl Adapter for Kafka {
    fn open(&self, site: &Site) -> Arc<dyn Sources> {
        let enabled = (site.variable)("KAFKA_TRIGGERS_ENABLED").is_some_and(|value| value == "yes");
        Arc::new(KafkaSources { enabled })
    }
}

struct KafkaSources {
    enabled: bool,
}

impl Sources for KafkaSources {
    fn source(&self, _: ShardId) -> Box<dyn Source> {
        Box::new(Quiet)
    }

    fn show(&self, _: &Seen) -> Map<String, Value> {
        let last_error = if self.enabled { ABSENT } else { OFF };
        let shown = json!({
            "state": "off",
            "last_error": last_error,
            "last_error_at": null,
            "partitions": [],
            "dead_letters": 0,
        });
        shown.as_object().cloned().unwrap_or_default()
    }
}
