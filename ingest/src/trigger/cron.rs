//! Cron: a due tick becomes an input.

mod alarm;
pub mod expression;
pub mod leaving;
#[cfg(feature = "testing")]
mod rehearsed;
pub mod schedule;
pub mod settings;
pub mod source;
pub mod words;

use std::{any::Any, sync::Arc};

use jiff::fmt::strtime;
use keyway_engine::{
    project::{Project, TriggerSection},
    route::ticks_owner,
    source::{Source, TriggerType},
    view::tick::{Skipped, last_skipped, last_tick},
};
use keyway_storage::{
    limits::TICKS_SHOWN,
    place::{ShardId, Timestamp},
    routes::Routes,
};
use serde_json::{Map, Value, json};

use super::{Adapter, Seen, Site, Sources};
use crate::time::rfc3339;
use leaving::Leaving;
use schedule::Schedule;
use settings::CronSettings;
use source::CronSource;
use words::in_words;

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
    fn open(&self, site: &Site) -> Arc<dyn Sources> {
        Arc::new(CronSources { routes: site.passage.routes.clone() })
    }

    fn leaving(&self, shard: ShardId, routes: &Routes, next: &Arc<Project>) -> Option<Box<dyn Source>> {
        Some(Box::new(Leaving::new(shard, routes.clone(), Arc::clone(next))))
    }

    #[cfg(feature = "testing")]
    fn rehearse(&self) -> Box<dyn super::rehearsal::Rehearsal> {
        Box::new(rehearsed::Rehearsed::new())
    }
}

struct CronSources {
    routes: Routes,
}

impl Sources for CronSources {
    fn source(&self, shard: ShardId) -> Box<dyn Source> {
        Box::new(CronSource::new(shard, self.routes.clone()))
    }

    fn show(&self, seen: &Seen) -> Map<String, Value> {
        let Some(settings) = seen.trigger.settings::<CronSettings>() else { return Map::new() };
        let next = match seen.enabled {
            true => upcoming(&settings.schedule, seen.now),
            false => Vec::new(),
        };
        let owner = ticks_owner(seen.trigger.id, &self.routes);
        let reader = seen.shards.iter().find(|reader| reader.shard == owner);
        // What cannot be read is shown as if it had not been: the API says so where it reads it for itself.
        let last = reader.and_then(|reader| last_tick(reader, seen.trigger.id).ok().flatten());
        let skipped = reader.and_then(|reader| last_skipped(reader, seen.trigger.id).ok().flatten());
        let shown = [
            ("next_at", json!(next.first().copied().map(rfc3339))),
            ("last_at", json!(last.map(rfc3339))),
            ("schedule", json!(in_words(&settings.schedule))),
            ("last_skipped", skipped.map_or(Value::Null, skip)),
            ("next_times", next.iter().map(|time| local(*time, &settings.schedule)).collect()),
        ];
        shown.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

/// The next ticks after a time.
fn upcoming(schedule: &Schedule, after: Timestamp) -> Vec<Timestamp> {
    let ticks = std::iter::successors(schedule.next(after), |tick| schedule.next(*tick));
    ticks.take(TICKS_SHOWN).collect()
}

/// A tick, and what the clock on the wall then shows.
fn local(time: Timestamp, schedule: &Schedule) -> Value {
    let instant = jiff::Timestamp::from_second(time.seconds() as i64).unwrap_or(jiff::Timestamp::MAX);
    let wall = instant.to_zoned_datetime(schedule.zone().clone());
    json!({ "at": rfc3339(time), "local": strtime::format("%Y-%m-%d %H:%M %Z", &wall).unwrap_or_default() })
}

fn skip(skipped: Skipped) -> Value {
    json!({ "due": rfc3339(skipped.due), "at": rfc3339(skipped.at), "reason": skipped.reason })
}
