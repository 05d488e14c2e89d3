//! The log, as people read it.
//!
//! Invariant: `tail` prints every event once, in the order of its shard, and never one that it printed before.

use std::time::Duration;

use serde_json::Value;

use crate::{
    args::{EventId, ListEvents, TailEvents},
    client::Client,
    failure::Failure,
    item::Item,
    print::Printer,
    signals::Interrupt,
    table,
};

/// How long `tail` waits when there was nothing new.
const POLL_MS: u64 = 250;
/// Most events that `tail` asks for at once.
const TAIL_EVENTS_MAX: usize = 1_000;
/// Most characters of one value in a list of events.
const VALUE_CHARACTERS_MAX: usize = 80;
/// What stands in columns of its own, or in the id.
const COMMON: &[&str] = &["shard", "offset", "kind", "at"];

/// Lists events, oldest first.
pub fn list(client: &Client, which: &ListEvents, out: &mut Printer) -> Result<(), Failure> {
    let shards = match which.shard {
        Some(shard) => vec![shard],
        None => shards(client)?.into_iter().map(|(shard, _)| shard).collect(),
    };
    let mut left = which.cut.count_max();
    let mut rows = Vec::new();
    for shard in shards {
        let query = [("shard", shard.to_string()), ("from", which.from.to_string())];
        let mut count = 0;
        client.each("/api/events", &query, left, &mut |event| {
            count += 1;
            match out.is_json() {
                true => out.document(&event.flat())?,
                false => rows.push(row(&event)),
            }
            Ok(())
        })?;
        left = left.map(|left| left - count);
    }
    if !out.is_json() {
        out.rows(&["id", "at", "kind", "what"], rows)?;
    }
    out.flush()
}

/// Prints events as they are accepted, until someone wants it to end.
pub fn tail(client: &Client, which: &TailEvents, out: &mut Printer) -> Result<(), Failure> {
    let interrupt = Interrupt::new()?;
    let mut positions = shards(client)?;
    if let Some(shard) = which.shard {
        positions.retain(|(known, _)| *known == shard);
        if positions.is_empty() {
            return Err(Failure::Failed(format!("there is no shard {shard}")));
        }
    }
    if let Some(from) = which.from {
        positions.iter_mut().for_each(|(_, next)| *next = from);
    }
    let mut left = which.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let mut found_any = false;
        for (shard, next) in &mut positions {
            let query = [("shard", shard.to_string()), ("from", next.to_string())];
            client.each("/api/events", &query, Some(left.min(TAIL_EVENTS_MAX)), &mut |event| {
                found_any = true;
                left -= 1;
                *next = event.attribute("offset").as_u64().map_or(*next, |offset| offset + 1);
                match out.is_json() {
                    true => out.document(&event.flat()),
                    false => out.line(&row(&event).join("  ")),
                }
            })?;
        }
        out.check_reader()?;
        if interrupt.wait(Duration::from_millis(if found_any { 0 } else { POLL_MS })) {
            break;
        }
    }
    Ok(())
}

/// Shows one event.
pub fn show(client: &Client, id: EventId, out: &mut Printer) -> Result<(), Failure> {
    out.show(&client.item(&format!("/api/events/{}-{}", id.shard, id.offset), &[])?)?;
    out.flush()
}

/// Each shard with the offset that its next event will have.
fn shards(client: &Client) -> Result<Vec<(u16, u64)>, Failure> {
    let status = client.read("/api/status", &[])?;
    let position =
        |shard: &Value| Some((u16::try_from(shard["shard"].as_u64()?).ok()?, shard["tail"].as_u64()?));
    let shards =
        status["data"]["shards"].as_array().map(|shards| shards.iter().filter_map(position).collect());
    shards.ok_or_else(|| Failure::Failed("the server does not say which shards it has".to_owned()))
}

fn row(event: &Item) -> Vec<String> {
    let own =
        event.attributes.iter().filter(|(name, value)| !COMMON.contains(&name.as_str()) && !value.is_null());
    let what: Vec<_> = own.map(|(name, value)| format!("{name}={}", short(&table::text(value)))).collect();
    vec![event.id.clone(), table::text(event.attribute("at")), event.text("kind").to_owned(), what.join(" ")]
}

/// The beginning of a value, on one line: `events show` has all of it.
fn short(text: &str) -> String {
    let line = text.split('\n').next().unwrap_or_default();
    match line.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}
