//! Events as the log has them.

mod fields;

use hyper::StatusCode;
use keyway_storage::{
    event::Event,
    limits::{PAGE_BYTES_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX},
    place::{Offset, ShardId},
};
use serde_json::json;

use super::{ApiError, Reply, call::Call, document::Document, page};
use crate::time::rfc3339;

/// `GET /api/events`.
pub fn list_events(call: &Call) -> Reply {
    let last_shard = call.readers.len().saturating_sub(1) as u64;
    let shard = ShardId(page::number(call, "shard", 0, last_shard)?.unwrap_or(0) as u8);
    let from = Offset(page::number(call, "from", 0, u64::MAX)?.unwrap_or(0));
    let limit = page::number(call, "limit", 1, PAGE_ITEMS_MAX as u64)?;
    let size = page::number(call, "page_size", 1, PAGE_ITEMS_MAX as u64)?;
    let most = limit.or(size).map_or(PAGE_ITEMS_DEFAULT, |most| most as usize);
    let reader = call.reader(shard)?;
    let (mut data, mut bytes, mut next) = (Vec::new(), 0, from);
    'blocks: for block in reader.log.blocks(from) {
        for event in block?.events(from) {
            if data.len() == most || bytes > PAGE_BYTES_MAX {
                break 'blocks;
            }
            let event = event?;
            next = event.place.offset.advance(1);
            let item = call.event_item(&event)?;
            bytes += item.bytes();
            data.push(item);
        }
    }
    let tail = reader.stats.tail();
    let more = (next < tail && !data.is_empty()).then_some(("from", next.0));
    let meta = json!({ "shard": shard.0, "next": next.0, "tail": tail.0 }).into();
    Ok((StatusCode::OK, page::list(call, &data, meta, more)))
}

/// `GET /api/events/SHARD-OFFSET`.
pub fn show_event(call: &Call) -> Reply {
    let missing = || ApiError::not_found(format!("There is no event {}.", call.id));
    let (shard, offset) = call.id.split_once('-').ok_or_else(missing)?;
    let shard = ShardId(shard.parse().map_err(|_| missing())?);
    let offset = Offset(offset.parse().map_err(|_| missing())?);
    let reader = call.reader(shard).map_err(|_| missing())?;
    let event = reader.log.event(offset)?.ok_or_else(missing)?;
    Ok((StatusCode::OK, Document::data(call.event_item(&event)?)))
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
