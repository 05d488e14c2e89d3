//! The trigger types, listed once, and what each of them runs.

pub mod cron;
pub mod kafka;
#[cfg(feature = "testing")]
pub mod rehearsal;
pub mod webhook;

use std::sync::Arc;

use keyway_engine::{
    mailbox::Bell,
    permit::PermitPool,
    project::{Project, Trigger, Workflow},
    shard::ShardReader,
    source::{Source, TriggerType},
};
use keyway_storage::{
    place::{ShardId, Timestamp},
    routes::Routes,
};
use serde_json::{Map, Value};

use crate::edge::Passage;

/// Every trigger type. Order is the order of the documentation; names are stored, never rename.
pub const TRIGGERS: &[&dyn Adapter] = &[&webhook::Webhook, &cron::Cron, &kafka::Kafka];

/// What the project file must know of each trigger type.
pub fn types() -> Vec<&'static dyn TriggerType> {
    TRIGGERS.iter().map(|adapter| *adapter as &dyn TriggerType).collect()
}

/// The trigger type with this name.
pub fn adapter(name: &str) -> Option<(usize, &'static dyn Adapter)> {
    TRIGGERS.iter().copied().enumerate().find(|(_, adapter)| adapter.name() == name)
}

/// What people should know of triggers that one project file changes in another one.
pub fn warn_of_changes(before: &Project, after: &Project) -> Vec<String> {
    let warning = |(workflow, trigger): (&Workflow, &Trigger)| {
        let (_, old) = before.trigger(trigger.id).filter(|(_, old)| old.kind == trigger.kind)?;
        let said = adapter(trigger.kind)?.1.warn_of_change(old, trigger)?;
        Some(format!("trigger `{}` of workflow `{}` {said}", trigger.key, workflow.key))
    };
    after.triggers().filter_map(warning).collect()
}

/// A trigger type that runs.
pub trait Adapter: TriggerType {
    /// Makes what runs all triggers of this type in this process, once, before the doors open.
    fn open(&self, site: &Site) -> Arc<dyn Sources>;

    /// What one of the shards must still offer under the project in force, before the next one replaces it at a start.
    fn leaving(&self, _shard: ShardId, _routes: &Routes, _next: &Arc<Project>) -> Option<Box<dyn Source>> {
        None
    }

    /// What people should know of a trigger that a project file changes, to be read after its name.
    fn warn_of_change(&self, _before: &Trigger, _after: &Trigger) -> Option<&'static str> {
        None
    }

    /// The type with a fake peer, which stands at the bottom of the type's own file.
    #[cfg(feature = "testing")]
    fn rehearse(&self) -> Box<dyn rehearsal::Rehearsal>;
}

/// Where a trigger type runs.
pub struct Site<'a> {
    /// Wakes each shard, in their order.
    pub bells: &'a [Arc<Bell>],
    /// The way from the doors to the shards and back.
    pub passage: &'a Passage,
    /// Reads the shards, in their order.
    pub readers: &'a [ShardReader],
    /// Counts what triggers with a bound have open, over all shards.
    pub permits: &'a Arc<PermitPool>,
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// The running side of a trigger type.
pub trait Sources: Send + Sync {
    /// The source of one shard; asked for once each.
    fn source(&self, shard: ShardId) -> Box<dyn Source>;

    /// What people see of a trigger beyond what all types have.
    fn show(&self, _seen: &Seen) -> Map<String, Value> {
        Map::new()
    }

    /// Numbers for the metrics.
    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }

    /// Stops what runs beside the shards. Called after the doors closed and before the shards end.
    fn close(&self) {}
}

/// A number that a trigger type shows in the metrics.
#[derive(Debug, Clone)]
pub struct Gauge {
    /// Its name, without `keyway_`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// A trigger that someone looks at.
pub struct Seen<'a> {
    /// Its workflow.
    pub workflow: &'a Workflow,
    /// The trigger.
    pub trigger: &'a Trigger,
    /// Whether it takes inputs.
    pub enabled: bool,
    /// All shards, in their order.
    pub shards: &'a [ShardReader],
    /// The time.
    pub now: Timestamp,
}
