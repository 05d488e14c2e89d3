//! Events as the log has them.

mod fields;

use hyper::StatusCode;
use keyway_engine::shard::ShardReader;
use keyway_storage::{
    event::{Event, EventKind},
    limits::{PAGE_BYTES_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX},
    place::{Offset, Place, ShardId},
};
use serde_json::json;

use super::{ApiError, Reply, call::Call, document::Document, page};
use crate::time::rfc3339;

/// `GET /api/events`: those of one shard, or of all shards one after the other.
pub fn list_events(call: &Call) -> Reply {
    let last_shard = call.readers.len().saturating_sub(1) as u64;
    let shard = page::number(call, "shard", 0, last_shard)?.map(|shard| ShardId(shard as u8));
    let from = Offset(page::number(call, "from", 0, u64::MAX)?.unwrap_or(0));
    let limit = page::number(call, "limit", 1, PAGE_ITEMS_MAX as u64)?;
    let size = page::number(call, "page_size", 1, PAGE_ITEMS_MAX as u64)?;
    let most = limit.or(size).map_or(PAGE_ITEMS_DEFAULT, |most| most as usize);
    let mut filling = Filling { most, bytes: 0, data: Vec::new() };
    if let Some(shard) = shard {
        let reader = call.reader(shard)?;
        let next = filling.fill(call, reader, from)?;
        let tail = reader.stats.tail();
        let more = (next < tail && !filling.data.is_empty()).then_some(("from", next.0));
        let meta = json!({ "shard": shard.0, "next": next.0, "tail": tail.0 }).into();
        return Ok((StatusCode::OK, page::list(call, &filling.data, meta, more)));
    }
    let after = call.param("after").map(|id| place_of(&id)).transpose()?;
    let mut last = None;
    for reader in &call.readers {
        let from = match after {
            Some(after) if reader.shard < after.shard => continue,
            Some(after) if reader.shard == after.shard => after.offset.advance(1).max(from),
            _ => from,
        };
        if from >= reader.stats.tail() {
            continue;
        }
        if filling.is_full() {
            return Ok((StatusCode::OK, page::list(call, &filling.data, Document::default(), last)));
        }
        let next = filling.fill(call, reader, from)?;
        last = next.0.checked_sub(1).map(|offset| ("after", format!("{}-{offset}", reader.shard.0)));
        if next < reader.stats.tail() {
            return Ok((StatusCode::OK, page::list(call, &filling.data, Document::default(), last)));
        }
    }
    let none: Option<(&str, String)> = None;
    Ok((StatusCode::OK, page::list(call, &filling.data, Document::default(), none)))
}

/// A page of events in the making.
struct Filling {
    most: usize,
    bytes: usize,
    data: Vec<Document>,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.data.len() == self.most || self.bytes > PAGE_BYTES_MAX
    }

    /// Adds the events of a shard from `from` on while there is room, and returns where the next one begins.
    fn fill(&mut self, call: &Call, reader: &ShardReader, from: Offset) -> Result<Offset, ApiError> {
        let mut next = from;
        for block in reader.log.blocks(from) {
            for event in block?.events(from) {
                if self.is_full() {
                    return Ok(next);
                }
                let event = event?;
                next = event.place.offset.advance(1);
                if let EventKind::CutAway(_) = event.kind {
                    continue;
                }
                let item = call.event_item(&event)?;
                self.bytes += item.bytes();
                self.data.push(item);
            }
        }
        Ok(next)
    }
}

/// `GET /api/events/SHARD-OFFSET`.
pub fn show_event(call: &Call) -> Reply {
    let missing = || no_event(call.id);
    let place = place_of(call.id)?;
    let reader = call.reader(place.shard).map_err(|_| missing())?;
    let event = reader.log.event(place.offset)?.ok_or_else(missing)?;
    Ok((StatusCode::OK, Document::data(call.event_item(&event)?)))
}

fn place_of(id: &str) -> Result<Place, ApiError> {
    let place = id.split_once('-').and_then(|(shard, offset)| {
        Some(Place { shard: ShardId(shard.parse().ok()?), offset: Offset(offset.parse().ok()?) })
    });
    // The last one has none behind it.
    place.filter(|place| place.offset.0 < u64::MAX).ok_or_else(|| no_event(id))
}

fn no_event(id: &str) -> ApiError {
    ApiError::not_found(format!("There is no event {id}."))
}

impl Call<'_> {
    fn event_item(&self, event: &Event) -> Result<Document, ApiError> {
        let (shard, offset) = (event.place.shard.0, event.place.offset.0);
        let attributes = Document::default()
            .with("shard", shard)
            .with("offset", offset)
            .with("kind", event.kind.kind().name())
            .with("at", rfc3339(event.at));
        let attributes = fields::add(attributes, self, event)?;
        Ok(Document::item("events", format!("{shard}-{offset}"), &attributes))
    }
}
