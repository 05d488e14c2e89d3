//! Metrics: what Prometheus scrapes. Names are `keyway_<noun>_<unit>[_total]`.
//!
//! Invariant: nothing is counted twice: every number is read from where it is kept when the scrape comes.

mod memory;
mod sources;
mod webhook;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::StatusCode;
use keyway_engine::{
    run::{RUN_STATES, is_final, run_state_name},
    shard::ShardReader,
    stats::{APPEND_MICROS_BUCKETS, Health},
    view::replay::replays,
};
use keyway_storage::{
    event::{Content, RunState},
    table::{ReplayState, WipeRow},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text::encode},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use sources::SourceGauges;

use super::{
    Api, ApiError,
    health::{counts, cut, wiped},
    replay::replays::state_of,
};
use crate::http::ApiResponse;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub fn metrics(api: &Api) -> ApiResponse {
    let families = match families(api) {
        Ok(families) => families,
        Err(error) => return error.into_response(),
    };
    let mut registry = Registry::with_prefix("keyway");
    registry.register_collector(Box::new(Families(families)));
    registry.register_collector(Box::new(webhook::Requests(Arc::clone(&api.gauges.webhooks))));
    let gauges = api.sources.iter().flat_map(|sources| sources.gauges()).collect();
    registry.register_collector(Box::new(SourceGauges(gauges)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    let body = text.into_bytes();
    ApiResponse { status: StatusCode::OK, content_type: CONTENT_TYPE, headers: Vec::new(), body }
}

/// A metric with one value for each of its label's values.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: Vec<(String, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

fn families(api: &Api) -> Result<Vec<Family>, ApiError> {
    let counts = counts(&api.readers)?;
    let run = |state: RunState| counts.runs[state as usize];
    let ended = RUN_STATES.into_iter().filter(|state| is_final(*state));
    let ended = ended.map(|state| (run_state_name(state).to_owned(), Value::Counter(run(state))));
    let open = run(RunState::Claimed) + run(RunState::Started);
    let counter = |name, help, read: &dyn Fn(&ShardReader) -> u64| {
        per_shard(api, name, help, &|reader| Value::Counter(read(reader)))
    };
    let gauge = |name, help, read: &dyn Fn(&ShardReader) -> u64| {
        per_shard(api, name, help, &|reader| Value::Gauge(read(reader) as f64))
    };
    let lag = |reader: &ShardReader| {
        let views = reader.stats.views().0;
        reader.stats.tail().0.saturating_sub(views)
    };
    let ready = |reader: &ShardReader| u64::from(reader.stats.health() == Health::Ready);
    let mailbox = |reader: &ShardReader| {
        let mailbox = api.gauges.mailboxes.get(usize::from(reader.shard.0));
        mailbox.map_or(0, |mailbox| mailbox.len() as u64)
    };
    let mut families = vec![
        counter("log_events", "Events in the log", &|reader| reader.stats.tail().0),
        counter("shard_turns", "Turns since the start", &|reader| reader.stats.turns()),
        per_shard(api, "append_duration_seconds", "How long appends took, syncs included", &appends),
        gauge("shard_ready", "Whether the shard takes inputs", &ready),
        gauge("views_lag_events", "Events that the views have not applied", &lag),
        gauge("log_disk_bytes", "Bytes of the log on the disk, journal excepted", &|it| it.log.disk_bytes()),
        gauge("mailbox_inputs", "Inputs that wait for their turn", &mailbox),
        Family {
            name: "finished_runs",
            help: "Runs by final state",
            label: "state",
            values: ended.collect(),
        },
        single("waiting_runs", "Runs that wait for a worker", run(RunState::Available) as f64),
        single("open_runs", "Runs that a worker has", open as f64),
        single("dead_letters", "Dead letters that are open", counts.dead_letters as f64),
        single("process_uptime_seconds", "Time since the start", api.started.elapsed().as_secs_f64()),
        webhook_answers(api),
        notices(api),
    ];
    families.extend(wipes(api)?);
    families.extend(replay_families(api)?);
    let memory = memory::resident_bytes();
    families.extend(memory.map(|bytes| single("process_memory_bytes", "Resident memory", bytes as f64)));
    Ok(families)
}

fn per_shard(
    api: &Api,
    name: &'static str,
    help: &'static str,
    read: &dyn Fn(&ShardReader) -> Value,
) -> Family {
    let values = api.readers.iter().map(|reader| (reader.shard.0.to_string(), read(reader)));
    Family { name, help, label: "shard", values: values.collect() }
}

fn single(name: &'static str, help: &'static str, value: f64) -> Family {
    Family { name, help, label: "", values: vec![(String::new(), Value::Gauge(value))] }
}

fn webhook_answers(api: &Api) -> Family {
    let mut sums = std::collections::BTreeMap::new();
    for (status, count) in api.gauges.answers.iter().flat_map(|door| door.read()) {
        *sums.entry(status).or_default() += count;
    }
    let values = sums.into_iter().map(|(status, count)| (status.to_string(), Value::Counter(count)));
    let help = "Answers to webhooks by status";
    Family { name: "webhook_answers", help, label: "status", values: values.collect() }
}

fn notices(api: &Api) -> Family {
    let of =
        |result: &str, count: &AtomicU64| (result.to_owned(), Value::Counter(count.load(Ordering::Relaxed)));
    let values = vec![
        of("delivered", &api.notices.delivered),
        of("given_up", &api.notices.given_up),
        of("failed_attempt", &api.notices.failed_attempts),
    ];
    Family { name: "notices", help: "Warnings by what became of them", label: "result", values }
}

fn wipes(api: &Api) -> Result<[Family; 5], ApiError> {
    let wiped = wiped(&api.readers)?;
    let family = |name, help, read: &dyn Fn(&WipeRow) -> u64| {
        let values = Content::WIPED.into_iter().zip(&wiped);
        let values = values.map(|(content, row)| (content.name().to_owned(), Value::Counter(read(row))));
        Family { name, help, label: "content", values: values.collect() }
    };
    let cut = cut(&api.readers)?;
    let counter = |name, help, count| {
        let values = vec![(String::new(), Value::Counter(count))];
        Family { name, help, label: "", values }
    };
    Ok([
        counter("cut_work_orders", "Work orders whose history was cut", cut.work_orders),
        counter("cut_events", "Events that left the log", cut.events),
        counter("cut_bytes", "Bytes of those events", cut.bytes),
        family("wiped_events", "Events that lost content whose time was over", &|row| row.events),
        family("wiped_bytes", "Bytes of that content", &|row| row.bytes),
    ])
}

/// How many replays go on, and what became of the items of all of them.
fn replay_families(api: &Api) -> Result<[Family; 2], ApiError> {
    let rows = replays(&api.readers)?;
    let (mut running, mut paused) = (0.0, 0.0);
    for state in rows.values().filter_map(state_of) {
        running += f64::from(u8::from(state == ReplayState::Running));
        paused += f64::from(u8::from(state == ReplayState::Paused));
    }
    let parts = || rows.values().flatten().flatten();
    let (replayed, failed) =
        (parts().map(|row| row.replayed).sum::<u64>(), parts().map(|row| row.failed).sum::<u64>());
    let gauge = |state: &str, value| (state.to_owned(), Value::Gauge(value));
    let counter = |outcome: &str, value| (outcome.to_owned(), Value::Counter(value));
    let open = vec![gauge("running", running), gauge("paused", paused)];
    let items = vec![counter("replayed", replayed), counter("failed", failed)];
    Ok([
        Family { name: "open_replays", help: "Replays that have not ended", label: "state", values: open },
        Family {
            name: "replay_items",
            help: "Items of all replays by what became of them",
            label: "outcome",
            values: items,
        },
    ])
}

fn appends(reader: &ShardReader) -> Value {
    let (count, micros, buckets) = reader.stats.appends();
    let bounds = APPEND_MICROS_BUCKETS.iter().map(|micros| *micros as f64 / 1e6);
    let buckets = bounds.chain([f64::INFINITY]).zip(buckets).collect();
    Value::Histogram { sum: micros as f64 / 1e6, count, buckets }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let Some((_, first)) = family.values.first() else { continue };
            let kind = match first {
                Value::Counter(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
                Value::Histogram { .. } => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (label, value) in &family.values {
                match family.label {
                    "" => value.encode(&mut metric)?,
                    name => value.encode(&mut metric.encode_family(&[(name, label.as_str())])?)?,
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, metric: &mut MetricEncoder) -> Result<(), fmt::Error> {
        match self {
            Self::Counter(value) => metric.encode_counter(value, NO_EXEMPLAR),
            Self::Gauge(value) => metric.encode_gauge(value),
            Self::Histogram { sum, count, buckets } => {
                metric.encode_histogram::<[(&str, &str); 0]>(*sum, *count, buckets, None)
            }
        }
    }
}

const NO_EXEMPLAR: Option<&Exemplar<[(&str, &str); 0], u64>> = None;
