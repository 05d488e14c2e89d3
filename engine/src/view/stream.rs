//! Streams: which number is due, and what is open of their triggers.

use keyway_storage::{
    error::ReadError,
    event::TriggerId,
    key::{Key, Tag},
    place::Timestamp,
    table::{OpenRow, PositionRow, Table},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::shard::ShardReader;

/// The number of a stream that is due on one shard, with the time of the event that says so; `None` if it never began here.
pub fn due(
    reader: &ShardReader,
    trigger: TriggerId,
    stream: &str,
) -> Result<Option<(u64, Timestamp)>, ReadError> {
    let hash = xxh3_64(stream.as_bytes());
    if let Some(value) = reader.state.get(&PositionRow::key(trigger, hash))? {
        let row = PositionRow::from_value(&value)?;
        return Ok(Some((row.number + 1, row.at)));
    }
    let begun = reader.state.get(&Key::new(Tag::Stream).bytes(&trigger.0).u64(hash))?;
    let at = begun.and_then(|value| value[..].try_into().ok());
    Ok(at.map(|at| (0, Timestamp(u64::from_le_bytes(at)))))
}

/// What is open of a trigger on one shard.
pub fn open(reader: &ShardReader, trigger: TriggerId) -> Result<OpenRow, ReadError> {
    let value = reader.state.get(&OpenRow::key(trigger))?;
    Ok(value.map_or(Ok(OpenRow::default()), |value| OpenRow::from_value(&value))?)
}
