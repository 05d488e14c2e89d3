//! Kafka: a message becomes an input.

pub mod settings;

use std::{any::Any, sync::Arc};

use keyway_engine::{project::TriggerSection, source::TriggerType};

use settings::KafkaSettings;

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
