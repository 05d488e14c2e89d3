//! Views that a request may rely on to show it everything.
//!
//! Invariant: what is found through them lacks nothing that was durable when the request came. While they are derived
//! anew, after a rebuild or a crash, the request is refused; lists only say how much they lack.

use keyway_engine::shard::ShardReader;
use keyway_storage::place::Offset;

use super::ApiError;

/// Views that reflect all of their logs, of all shards.
pub struct Whole<'a> {
    readers: &'a [ShardReader],
    drops: Vec<u64>,
    /// Where each log ended.
    pub ends: Vec<Offset>,
}

impl<'a> Whole<'a> {
    /// The views of these shards; refused while they lack something.
    pub fn of(readers: &'a [ShardReader]) -> Result<Self, ApiError> {
        let drops = drops(readers);
        let ends: Option<Vec<Offset>> = readers.iter().map(ShardReader::whole).collect();
        Ok(Self { readers, drops, ends: ends.ok_or_else(behind)? })
    }

    /// Refuses what was found through views that were dropped meanwhile.
    pub fn check(&self) -> Result<(), ApiError> {
        if drops(self.readers) == self.drops { Ok(()) } else { Err(behind()) }
    }
}

/// How often the views of each shard were dropped.
pub fn drops(readers: &[ShardReader]) -> Vec<u64> {
    readers.iter().map(|reader| reader.stats.view_drops()).collect()
}

fn behind() -> ApiError {
    let message = "The views are derived from the log, so not everything that fits is found. Try again when \
                   `keyway status` shows no lag.";
    ApiError::unavailable(message)
}
