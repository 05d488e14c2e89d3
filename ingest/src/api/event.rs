//! Events as the log has them, and the dead letters among them.

mod fields;

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::StatusCode;
use keyway_engine::shard::ShardReader;
use keyway_storage::{
    event::{DeadLettered, Event, EventKind, LetterEnd, Position, Reason},
    id::What,
    key::{Key, Tag},
    place::{Offset, Place, ShardId},
    table::Bitmap,
};
use serde_json::{Value, json};

use super::{Api, ApiError, Call, Reply, page, shape};
use crate::time::rfc3339;

/// Lists the events of one shard.
pub fn list_events(api: &Api, call: &Call) -> Reply {
    let shard = page::number(call, "shard", 0, 255)?.unwrap_or(0);
    let from = page::number(call, "from", 0, u64::MAX)?.unwrap_or(0);
    let limit = page::number(call, "limit", 1, 1_000)?.unwrap_or(50) as usize;
    let reader =
        api.reader(ShardId(shard as u8)).ok_or_else(|| ApiError::not_found("There is no such shard."))?;
    let mut data = Vec::new();
    let mut next = Offset(from);
    'blocks: for block in reader.log.blocks(next) {
        let block = block?;
        for event in block.events(next) {
            if data.len() == limit {
                break 'blocks;
            }
            let event = event.map_err(keyway_storage::error::ReadError::from)?;
            next = event.place.offset.advance(1);
            data.push(shape_event(&event));
        }
    }
    let tail = reader.stats.tail();
    let more =
        (next < tail).then(|| format!("{}?shard={shard}&from={}&limit={limit}", call.request.path, next.0));
    let mut body = page::list(call, data, json!({ "next": next.0, "tail": tail.0 }), None);
    body["links"]["next"] = more.map_or(Value::Null, Value::String);
    Ok((StatusCode::OK, body))
}

/// Shows one event.
pub fn show_event(api: &Api, call: &Call) -> Reply {
    let missing = || ApiError::not_found(format!("There is no event {}.", call.id()));
    let (shard, offset) = call.id().split_once('-').ok_or_else(missing)?;
    let shard: u8 = shard.parse().map_err(|_| missing())?;
    let offset: u64 = offset.parse().map_err(|_| missing())?;
    let reader = api.reader(ShardId(shard)).ok_or_else(missing)?;
    let event = reader.log.event(Offset(offset))?.ok_or_else(missing)?;
    Ok((StatusCode::OK, json!({ "data": shape_event(&event) })))
}

fn shape_event(event: &Event) -> Value {
    let (shard, offset) = (event.place.shard.0, event.place.offset.0);
    let mut attributes = fields::of(&event.kind);
    attributes["shard"] = json!(shard);
    attributes["offset"] = json!(offset);
    attributes["kind"] = json!(event.kind.kind().name());
    attributes["at"] = json!(rfc3339(event.at));
    shape::item("events", format!("{shard}-{offset}"), attributes)
}

/// Lists dead letters, newest first.
pub fn list_dead_letters(api: &Api, call: &Call) -> Reply {
    let size = page::size(call)?;
    let filter = page::filter_without_state(call)?;
    let reason = call.param("reason");
    let mut found = Vec::new();
    for reader in &api.readers {
        let key = |bucket| Key::new(Tag::Letters).u64(bucket);
        for row in reader.views.scan_back(key(0), key(u64::MAX)) {
            let (key, value) = row?;
            let bucket =
                u64::from_be_bytes(key[key.len() - 8..].try_into().expect("a bucket has eight bytes"));
            let set = Bitmap::from_value(&value).map_err(keyway_storage::error::ReadError::from)?;
            for offset in set.offsets(bucket).rev() {
                found.extend(letter_at(reader, offset)?);
            }
            if found.len() >= keyway_storage::limits::PAGE_LOOKS_MAX {
                break;
            }
        }
    }
    found.retain(|(event, letter)| {
        filter.trigger.is_none_or(|trigger| trigger == letter.trigger)
            && filter.after.is_none_or(|after| event.at >= after)
            && filter.before.is_none_or(|before| event.at < before)
            && reason.as_deref().is_none_or(|reason| reason == reason_name(letter.letter.reason))
    });
    found.sort_by_key(|(event, _)| std::cmp::Reverse((event.at, event.place)));
    let shaped =
        found.iter().map(|(event, letter)| api.letter_item(event, letter)).collect::<Result<Vec<_>, _>>()?;
    let after = call.param("after");
    let from = after
        .and_then(|after| shaped.iter().position(|it| it["id"] == after.as_str()))
        .map_or(0, |at| at + 1);
    let total = shaped.len();
    let data: Vec<Value> = shaped.into_iter().skip(from).take(size).collect();
    let last = data.last().and_then(|it| it["id"].as_str()).map(str::to_owned);
    let next = last.filter(|_| from + data.len() < total);
    Ok((StatusCode::OK, page::list(call, data, json!({ "page_size": size, "total": total }), next)))
}

/// Shows one dead letter, whole.
pub fn show_dead_letter(api: &Api, call: &Call) -> Reply {
    let (_, place, reader) = api.locate(call.id(), |what| what == What::DeadLetter)?;
    let missing = || ApiError::not_found(format!("There is no dead letter with the id {}.", call.id()));
    let (event, letter) = letter_at(reader, place.offset)?.ok_or_else(missing)?;
    Ok((StatusCode::OK, json!({ "data": api.letter_item(&event, &letter)? })))
}

fn letter_at(reader: &ShardReader, offset: Offset) -> Result<Option<(Event, DeadLettered)>, ApiError> {
    Ok(reader.log.event(offset)?.and_then(|event| match event.kind.clone() {
        EventKind::DeadLettered(letter) => Some((event, letter)),
        _ => None,
    }))
}

impl Api {
    fn letter_item(&self, event: &Event, letter: &DeadLettered) -> Result<Value, ApiError> {
        let metadata = shape::json_text(&letter.letter.request);
        let (topic, number) = match &letter.position {
            Position::Next { stream, number } => (Some(&**stream), Some(*number)),
            Position::None | Position::Once { .. } => (None, None),
        };
        let attributes = json!({
            "trigger_id": shape::trigger_uuid(letter.trigger),
            "reason": reason_name(letter.letter.reason),
            "detail": &*letter.letter.detail,
            "inserted_at": rfc3339(event.at),
            "source": {
                "topic": metadata.get("topic").cloned().unwrap_or_else(|| json!(topic)),
                "partition": metadata.get("partition"),
                "kafka_offset": metadata.get("offset").cloned().unwrap_or_else(|| json!(number)),
                "timestamp": metadata.get("ts"),
                "key_base64": metadata.get("key").and_then(Value::as_str).map(|key| STANDARD.encode(key)),
                "headers": metadata.get("headers").cloned().unwrap_or_else(|| json!([])),
            },
            "body_base64": letter.letter.raw.as_ref().map(|raw| STANDARD.encode(raw)),
            "resolved": self.resolved(event.place)?,
        });
        let id = self.ids.encode(What::DeadLetter, event.place, event.at);
        Ok(shape::item("dead_letters", id, attributes))
    }

    /// How a dead letter ended. Open ones have a row; the end of another stands behind it in the log.
    fn resolved(&self, place: Place) -> Result<Value, ApiError> {
        let Some(reader) = self.reader(place.shard) else { return Ok(Value::Null) };
        if reader.state.get(&Key::new(Tag::DeadLetter).u64(place.offset.0))?.is_some() {
            return Ok(Value::Null);
        }
        for block in reader.log.blocks(place.offset) {
            for event in block?.events(place.offset) {
                let event = event.map_err(keyway_storage::error::ReadError::from)?;
                let EventKind::DeadLetterClosed(closed) = &event.kind else { continue };
                if closed.letter == place.offset {
                    let (how, order) = match &closed.end {
                        LetterEnd::Replayed { work_order } => ("replayed", self.order_id(*work_order)?),
                        LetterEnd::Discarded { .. } => ("discarded", Value::Null),
                    };
                    return Ok(json!({ "how": how, "at": rfc3339(event.at), "work_order_id": order }));
                }
            }
        }
        Ok(Value::Null)
    }

    fn order_id(&self, place: Place) -> Result<Value, ApiError> {
        let Some(reader) = self.reader(place.shard) else { return Ok(Value::Null) };
        let event = reader.log.event(place.offset)?;
        Ok(event.map_or(Value::Null, |event| json!(self.ids.work_order(place, event.at).to_string())))
    }
}

/// The name of a dead letter's reason.
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidJson => "invalid_json",
        Reason::NotAnObject => "not_an_object",
        Reason::TooLarge => "too_large",
        Reason::InvalidText => "invalid_text",
        Reason::NoRunCreated => "no_run_created",
    }
}
