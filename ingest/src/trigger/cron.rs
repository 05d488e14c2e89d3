//! Cron: a due tick becomes an input.

pub mod expression;
pub mod settings;

use std::{any::Any, sync::Arc};

use keyway_engine::{
    project::TriggerSection,
    source::{Source, TriggerType},
};
use keyway_storage::place::ShardId;
use serde_json::{Map, Value};

use super::{Adapter, Seen, Site, Sources};
use crate::quiet::Quiet;
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

impl Adapter for Cron {
    fn open(&self, _: &Site) -> Arc<dyn Sources> {
        Arc::new(CronSources)
    }
}

struct CronSources;

impl Sources for CronSources {
    fn source(&self, _: ShardId) -> Box<dyn Source> {
        Box::new(Quiet)
    }

    fn show(&self, _: &Seen) -> Map<String, Value> {
        // What a source that does not run would tell.
        [("next_at", Value::Null), ("last_at", Value::Null)]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}
