//! The trigger types, listed once.

pub mod cron;
pub mod kafka;
pub mod webhook;

use keyway_engine::source::TriggerType;

/// Every trigger type. Order is the order of the documentation; names are stored, never rename.
pub const TRIGGERS: &[&dyn TriggerType] = &[&webhook::Webhook, &cron::Cron, &kafka::Kafka];
