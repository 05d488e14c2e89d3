//! Replays as the shards know them.

use std::collections::BTreeMap;

use keyway_storage::{
    error::ReadError,
    key::{Key, Tag},
    table::{ReplayRow, Table},
};

use crate::{command::ReplayId, shard::ShardReader};

/// A replay, with its row of each shard that knows it, in the order of the shards.
pub type ReplayRows = Vec<Option<ReplayRow>>;

/// A replay on all shards.
pub fn replay(readers: &[ShardReader], id: ReplayId) -> Result<ReplayRows, ReadError> {
    let row = |reader: &ShardReader| {
        let value = reader.state.get(&ReplayRow::key(id))?;
        Ok(value.map(|value| ReplayRow::from_value(&value)).transpose()?)
    };
    readers.iter().map(row).collect()
}

/// All replays that any shard knows.
pub fn replays(readers: &[ShardReader]) -> Result<BTreeMap<ReplayId, ReplayRows>, ReadError> {
    let mut found: BTreeMap<ReplayId, ReplayRows> = BTreeMap::new();
    let prefix = Key::new(Tag::Replay);
    for (index, reader) in readers.iter().enumerate() {
        for row in reader.state.scan(prefix, prefix.prefix_end()) {
            let (key, value) = row?;
            let id = key[1..17].try_into().expect("the key of a replay has 17 bytes");
            let rows = found.entry(id).or_insert_with(|| vec![None; readers.len()]);
            rows[index] = Some(ReplayRow::from_value(&value)?);
        }
    }
    Ok(found)
}
