//! Metrics of webhooks: what became of their requests, by trigger.
//!
//! Invariant: the number of series is bounded, however many triggers there are: those over the bound share one.

use std::{fmt, sync::Arc};

use keyway_storage::limits::METRICS_TRIGGERS_MAX;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, exemplar::Exemplar},
};

use crate::{
    api::shape::trigger_uuid,
    trigger::webhook::{directory::Published, tally::Counts},
};

/// Requests to URLs that belong to no trigger.
const NOBODY: &str = "none";
/// Triggers over the bound.
const OTHERS: &str = "others";
const NO_EXEMPLAR: Option<&Exemplar<[(&str, &str); 0], u64>> = None;

/// Reads the tallies when the scrape comes.
#[derive(Debug)]
pub struct Requests(pub Arc<Published>);

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let rows = self.rows();
        let (name, help) = ("webhook_requests", "Requests to webhooks by trigger and outcome");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (trigger, counts) in &rows {
            for (outcome, count) in &counts.by_outcome {
                let labels = [("trigger", trigger.as_str()), ("outcome", outcome.word())];
                metric.encode_family(&labels)?.encode_counter(count, NO_EXEMPLAR)?;
            }
        }
        let (name, help) = ("webhook_timeouts", "Callers of webhooks who were answered before the run ended");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (trigger, counts) in rows.iter().filter(|(_, counts)| counts.timeouts > 0) {
            let labels = [("trigger", trigger.as_str())];
            metric.encode_family(&labels)?.encode_counter(&counts.timeouts, NO_EXEMPLAR)?;
        }
        Ok(())
    }
}

impl Requests {
    fn rows(&self) -> Vec<(String, Counts)> {
        let (hooks, mut others) = (self.0.all(), Counts::default());
        let mut rows = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let counts = hook.tally.read();
            match index < METRICS_TRIGGERS_MAX {
                true => rows.push((trigger_uuid(hook.id), counts)),
                false => others.add(&counts),
            }
        }
        rows.push((OTHERS.to_owned(), others));
        rows.push((NOBODY.to_owned(), self.0.nobody.read()));
        rows
    }
}
