//! Cron: a due tick becomes an input.

pub mod expression;
pub mod settings;

use std::{any::Any, sync::Arc};

use keyway_engine::{project::TriggerSection, source::TriggerType};

use settings::CronSettings;

/// The cron trigger type.
pub struct Cron;

impl TriggerType for Cron {
    fn name(&self) -> &'static str {
        "cron"
    }

    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        Arc::new(CronSettings::read(section))
    }
}
