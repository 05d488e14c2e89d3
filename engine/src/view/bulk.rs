//! What was asked of many at once and may not have been asked of each.

use keyway_storage::{
    error::ReadError,
    event::{BulkStarted, EventKind},
    key::{Key, Tag},
    place::Offset,
};

use crate::shard::ShardReader;

/// What goes on, as one shard knows it.
pub fn open_bulks(reader: &ShardReader) -> Result<Vec<BulkStarted>, ReadError> {
    let prefix = Key::new(Tag::Bulk);
    let mut found = Vec::new();
    for row in reader.state.scan(prefix, prefix.prefix_end()) {
        let at = row?.1[..].try_into().expect("the row of a bulk request is eight bytes");
        let event = reader.log.event(Offset(u64::from_le_bytes(at)))?;
        if let Some(EventKind::BulkStarted(started)) = event.map(|event| event.kind) {
            found.push(started);
        }
    }
    Ok(found)
}
