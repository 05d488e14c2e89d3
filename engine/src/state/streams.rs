//! Where streams are: Kafka partitions, cron triggers, replayed shards.
//!
//! Invariant: a stream's position is written once for all inputs that a commit brings of it.

use std::collections::BTreeMap;

use keyway_storage::{
    error::ReadError,
    event::TriggerId,
    key::Key,
    rows::Rows,
    table::{PositionRow, Table},
};
use xxhash_rust::xxh3::xxh3_64;

/// Last positions that changed since the last commit.
#[derive(Debug, Default)]
pub struct Streams(BTreeMap<Key, PositionRow>);

impl Streams {
    /// The last position of a stream.
    pub fn get(
        &self,
        trigger: TriggerId,
        stream: &str,
        rows: &Rows,
    ) -> Result<Option<PositionRow>, ReadError> {
        let key = key(trigger, stream);
        if let Some(row) = self.0.get(&key) {
            return Ok(Some(*row));
        }
        Ok(rows.get(&key)?.map(|value| PositionRow::from_value(&value)).transpose()?)
    }

    /// Notes the last position of a stream.
    pub fn put(&mut self, trigger: TriggerId, stream: &str, row: PositionRow) {
        self.0.insert(key(trigger, stream), row);
    }

    /// Lets a stream have no position.
    pub fn delete(&mut self, trigger: TriggerId, stream: &str, rows: &mut Rows) {
        let key = key(trigger, stream);
        self.0.remove(&key);
        rows.delete(key);
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        for (key, row) in std::mem::take(&mut self.0) {
            rows.put(key, row.to_value());
        }
    }
}

fn key(trigger: TriggerId, stream: &str) -> Key {
    PositionRow::key(trigger, xxh3_64(stream.as_bytes()))
}
