//! How the server is: status and readiness.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use keyway_engine::{
    run::{RUN_STATES, run_state_name, work_order_state_name},
    shard::ShardReader,
    stats::Health,
};
use keyway_storage::{
    event::{Content, RunState},
    key::{Key, Tag},
    place::Timestamp,
    table::{CountsRow, CutRow, Table, WipeRow},
};
use serde_json::{Map, Value, json};

use super::{Api, ApiError, Reply, call::Call, document::Document, respond};
use crate::{http::ApiResponse, time::rfc3339};

/// `GET /api/status`.
pub fn status(call: &Call) -> Reply {
    let counts = counts(&call.readers)?;
    let shard = |reader: &ShardReader| {
        let (tail, watermark) = (reader.stats.tail().0, reader.stats.views().0);
        let takes_inputs = u16::from(reader.shard.0) < call.api.routes.taking();
        json!({ "shard": reader.shard.0, "first": reader.log.dense().0, "tail": tail, "watermark": watermark,
                "takes_inputs": takes_inputs })
    };
    let mut orders = Map::new();
    // Nothing that comes in is rejected: what cannot become a work order is a dead letter or a refusal.
    orders.insert("rejected".to_owned(), json!(0));
    for state in RUN_STATES.into_iter().filter(|state| *state != RunState::Claimed) {
        orders.insert(work_order_state_name(state).to_owned(), json!(counts.work_orders[state as usize]));
    }
    let runs = RUN_STATES
        .into_iter()
        .map(|state| (run_state_name(state).to_owned(), Value::from(counts.runs[state as usize])));
    let status = Document::default()
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("uptime_seconds", call.api.started.elapsed().as_secs())
        .with("shards", call.readers.iter().map(shard).collect::<Vec<_>>())
        .with("events", call.readers.iter().map(|reader| reader.stats.tail().0).sum::<u64>())
        .with("work_orders", orders)
        .with("runs", runs.collect::<Map<_, _>>())
        .with("dead_letters", counts.dead_letters)
        .with("retention", retention(&call.readers)?)
        .with("triggers", call.current()?.map_or(0, |project| project.by_trigger.len()));
    Ok((StatusCode::OK, Document::data(status)))
}

/// `GET /health/ready`: 200 when inputs are taken, else 503 with the reason.
pub fn ready(api: &Api) -> ApiResponse {
    let stopping = || api.draining.load(Ordering::Acquire).then(|| "The server is stopping.".to_owned());
    // First why it stops, if it was not asked to.
    match api.readers.iter().find_map(trouble).or_else(stopping) {
        None => respond(StatusCode::OK, &json!({ "status": "ready" })),
        Some(message) => not_ready(&message),
    }
}

/// 503, for this reason.
pub fn not_ready(message: &str) -> ApiResponse {
    respond(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "not_ready", "message": message }))
}

fn trouble(reader: &ShardReader) -> Option<String> {
    let how = match reader.stats.health() {
        Health::Ready => return None,
        Health::Recovering => "is recovering",
        Health::Full => "refuses inputs: the disk is full",
        Health::Poisoned => "is poisoned: a write failed, and a restart recovers it",
        Health::Stopped => "has stopped",
    };
    Some(format!("Shard {} {how}.", reader.shard.0))
}

/// What was wiped over all shards, by what it was, with the bytes of the log on the disk.
fn retention(readers: &[ShardReader]) -> Result<Map<String, Value>, ApiError> {
    let mut shown = Map::new();
    shown.insert(
        "log_disk_bytes".to_owned(),
        readers.iter().map(|it| it.log.disk_bytes()).sum::<u64>().into(),
    );
    for (content, wiped) in Content::WIPED.into_iter().zip(wiped(readers)?) {
        shown.insert(format!("wiped_{}", content.name()), wiped.events.into());
        shown.insert(format!("wiped_{}_bytes", content.name()), wiped.bytes.into());
    }
    let cut = cut(readers)?;
    shown.insert("cut_work_orders".to_owned(), cut.work_orders.into());
    shown.insert("cut_dead_letters".to_owned(), cut.letters.into());
    shown.insert("cut_events".to_owned(), cut.events.into());
    shown.insert("cut_bytes".to_owned(), cut.bytes.into());
    if cut.at > Timestamp(0) {
        shown.insert("cut_at".to_owned(), rfc3339(cut.at).into());
    }
    Ok(shown)
}

/// What was cut off the history over all shards, with the time of the last cut.
pub fn cut(readers: &[ShardReader]) -> Result<CutRow, ApiError> {
    let mut sum = CutRow::default();
    for reader in readers {
        let Some(value) = reader.state.get(&Key::new(Tag::Cut))? else { continue };
        let row = CutRow::from_value(&value)?;
        sum.at = sum.at.max(row.at);
        sum.work_orders += row.work_orders;
        sum.letters += row.letters;
        sum.events += row.events;
        sum.bytes += row.bytes;
        sum.runs.iter_mut().zip(row.runs).for_each(|(sum, more)| *sum += more);
    }
    Ok(sum)
}

/// What was wiped over all shards and for all periods, in the order of `Content::WIPED`.
pub fn wiped(readers: &[ShardReader]) -> Result<[WipeRow; 2], ApiError> {
    let mut sums = [WipeRow::default(), WipeRow::default()];
    for reader in readers {
        for row in reader.state.scan(Key::new(Tag::Wipe), Key::new(Tag::Wipe).prefix_end()) {
            let (key, value) = row?;
            let (content, row) = (WipeRow::from_key(&key)?.0, WipeRow::from_value(&value)?);
            let Some(index) = Content::WIPED.iter().position(|wiped| *wiped == content) else { continue };
            sums[index].events += row.events;
            sums[index].bytes += row.bytes;
        }
    }
    Ok(sums)
}

/// Exact counts over all shards.
pub fn counts(readers: &[ShardReader]) -> Result<CountsRow, ApiError> {
    let mut sum = CountsRow::default();
    for reader in readers {
        let Some(value) = reader.state.get(&Key::new(Tag::Counts))? else { continue };
        let counts = CountsRow::from_value(&value)?;
        for state in 0..sum.runs.len() {
            sum.runs[state] += counts.runs[state];
            sum.work_orders[state] += counts.work_orders[state];
        }
        sum.dead_letters += counts.dead_letters;
    }
    Ok(sum)
}
