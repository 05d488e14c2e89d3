//! The ticks of a trigger that follows a clock: the last one that was made, and the last one that was passed over.

use keyway_storage::{
    error::ReadError,
    event::{EventKind, TICKS, TICKS_SKIPPED, TriggerId},
    place::Timestamp,
    table::{PositionRow, Table},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::shard::ShardReader;

/// A tick that was passed over.
#[derive(Debug)]
pub struct Skipped {
    /// When it was due.
    pub due: Timestamp,
    /// When it was passed over.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// When the last tick that was made was due.
pub fn last_tick(reader: &ShardReader, trigger: TriggerId) -> Result<Option<Timestamp>, ReadError> {
    let row = position(reader, trigger, TICKS)?;
    Ok(row.map(|row| Timestamp(row.number.saturating_mul(1_000_000))))
}

/// The last tick that was passed over, if the log still has it.
pub fn last_skipped(reader: &ShardReader, trigger: TriggerId) -> Result<Option<Skipped>, ReadError> {
    let Some(row) = position(reader, trigger, TICKS_SKIPPED)? else { return Ok(None) };
    let Some(event) = reader.log.event(row.offset)? else { return Ok(None) };
    let EventKind::TickSkipped(skipped) = event.kind else { return Ok(None) };
    Ok(Some(Skipped { due: skipped.due, at: event.at, reason: skipped.reason.into() }))
}

fn position(
    reader: &ShardReader,
    trigger: TriggerId,
    stream: &str,
) -> Result<Option<PositionRow>, ReadError> {
    let value = reader.state.get(&PositionRow::key(trigger, xxh3_64(stream.as_bytes())))?;
    Ok(value.map(|value| PositionRow::from_value(&value)).transpose()?)
}
