//! How the server is: status, readiness, metrics.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use keyway_engine::{
    run::{RUN_STATES, is_final, run_state_name, work_order_state_name},
    stats::{APPEND_MICROS_BUCKETS, Health},
};
use keyway_storage::{
    event::RunState,
    key::{Key, Tag},
    table::{CountsRow, Table},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use serde_json::{Map, Value, json};

use super::{Api, ApiError, Call, Reply, respond};
use crate::http::ApiResponse;

/// Shows how the server is, with exact counts.
pub fn status(api: &Api, _: &Call) -> Reply {
    let counts = api.counts()?;
    let shards: Vec<Value> = api
        .readers
        .iter()
        .map(|reader| {
            let (tail, watermark) = (reader.stats.tail().0, reader.stats.views().0);
            json!({ "shard": reader.shard.0, "tail": tail, "watermark": watermark })
        })
        .collect();
    let events: u64 = api.readers.iter().map(|reader| reader.stats.tail().0).sum();
    let triggers = api.current()?.map_or(0, |(project, _)| project.triggers().count());
    let mut orders = Map::new();
    for state in RUN_STATES.into_iter().filter(|state| *state != RunState::Claimed) {
        orders.insert(work_order_state_name(state).to_owned(), json!(counts.work_orders[state as usize]));
    }
    orders.insert("rejected".to_owned(), json!(0));
    let runs = RUN_STATES
        .into_iter()
        .map(|state| (run_state_name(state).to_owned(), json!(counts.runs[state as usize])));
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "shards": shards,
        "events": events,
        "work_orders": orders,
        "runs": runs.collect::<Map<_, _>>(),
        "dead_letters": counts.dead_letters,
        "triggers": triggers,
    });
    Ok((StatusCode::OK, json!({ "data": body })))
}

/// 200 when inputs are taken, else 503 with the reason.
pub fn ready(api: &Api) -> ApiResponse {
    if api.draining.load(Ordering::Acquire) {
        return not_ready("The server is stopping.".to_owned());
    }
    for reader in &api.readers {
        let reason = match reader.stats.health() {
            Health::Ready => continue,
            Health::Recovering => "recovers",
            Health::Full => "refuses inputs: the disk is full",
            Health::Poisoned => "stopped: a write failed",
            Health::Stopped => "stopped",
        };
        return not_ready(format!("Shard {} {reason}.", reader.shard.0));
    }
    respond(StatusCode::OK, &json!({ "status": "ready" }), Vec::new())
}

fn not_ready(message: String) -> ApiResponse {
    respond(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "not_ready", "message": message }), Vec::new())
}

impl Api {
    /// Exact counts over all shards.
    fn counts(&self) -> Result<CountsRow, ApiError> {
        let mut sum = CountsRow::default();
        for reader in &self.readers {
            let Some(value) = reader.state.get(&Key::new(Tag::Counts))? else { continue };
            let counts = CountsRow::from_value(&value).map_err(keyway_storage::error::ReadError::from)?;
            for state in 0..sum.runs.len() {
                sum.runs[state] += counts.runs[state];
                sum.work_orders[state] += counts.work_orders[state];
            }
            sum.dead_letters += counts.dead_letters;
        }
        Ok(sum)
    }
}

type Labels = Vec<(String, String)>;

/// Prometheus text.
pub fn metrics(api: &Api) -> ApiResponse {
    let mut registry = Registry::with_prefix("keyway");
    let mut family = |name: &str, help: &str, unit: Option<Unit>, values: Vec<(Labels, f64)>| {
        let family = Family::<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, family),
            None => registry.register(name, help, family),
        }
    };
    let label = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
    if let Ok(counts) = api.counts() {
        let runs = RUN_STATES
            .into_iter()
            .map(|state| (vec![label("state", &run_state_name(state))], counts.runs[state as usize] as f64));
        family("runs", "Runs by state", None, runs.collect());
        let open = RUN_STATES.into_iter().filter(|state| !is_final(*state));
        let open: u64 = open.map(|state| counts.runs[state as usize]).sum();
        family("open_runs", "Runs that have not ended", None, vec![(vec![], open as f64)]);
        family(
            "dead_letters",
            "Dead letters that are open",
            None,
            vec![(vec![], counts.dead_letters as f64)],
        );
    }
    let per_shard = |read: &dyn Fn(&keyway_engine::shard::ShardReader) -> f64| {
        api.readers
            .iter()
            .map(|reader| (vec![label("shard", &reader.shard.0)], read(reader)))
            .collect::<Vec<_>>()
    };
    let lag = per_shard(&|reader| {
        (reader.stats.tail().0 - reader.stats.views().0.min(reader.stats.tail().0)) as f64
    });
    family("events_total", "Events in the log", None, per_shard(&|reader| reader.stats.tail().0 as f64));
    family("views_lag_events", "Events that the views lack", None, lag);
    family("turns_total", "Turns since the start", None, per_shard(&|reader| reader.stats.turns() as f64));
    family(
        "appends_total",
        "Appends since the start",
        None,
        per_shard(&|reader| reader.stats.appends().0 as f64),
    );
    let seconds = per_shard(&|reader| reader.stats.appends().1 as f64 / 1e6);
    family("append_seconds_total", "Time in appends since the start", None, seconds);
    let mut slow = Vec::new();
    for reader in &api.readers {
        let (_, _, buckets) = reader.stats.appends();
        let mut below = 0;
        for (index, count) in buckets.iter().enumerate() {
            below += count;
            let bound = APPEND_MICROS_BUCKETS
                .get(index)
                .map_or("+Inf".to_owned(), |it| (*it as f64 / 1e6).to_string());
            slow.push((vec![label("shard", &reader.shard.0), label("le", &bound)], below as f64));
        }
    }
    family("append_duration_seconds_bucket", "Appends by how long they took", None, slow);
    let uptime = api.started.elapsed().as_secs_f64();
    family("uptime", "Time since the start", Some(Unit::Seconds), vec![(vec![], uptime)]);
    let mut text = String::new();
    let encoded = encode(&mut text, &registry);
    let status = if encoded.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ApiResponse { status, content_type, headers: Vec::new(), body: text.into_bytes() }
}
