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
pub struct Streams {
    /// The one that was put last: inputs of one stream come in runs.
    last: Option<(Key, PositionRow)>,
    /// All others.
    rest: BTreeMap<Key, PositionRow>,
}

impl Streams {
    /// The last position of a stream.
    pub fn get(
        &self,
        trigger: TriggerId,
        stream: &str,
        rows: &Rows,
    ) -> Result<Option<PositionRow>, ReadError> {
        let key = key(trigger, stream);
        let last = self.last.as_ref().filter(|(last, _)| *last == key).map(|(_, row)| row);
        match last.or_else(|| self.rest.get(&key)) {
            Some(row) => Ok(Some(*row)),
            None => Ok(rows.get(&key)?.map(|value| PositionRow::from_value(&value)).transpose()?),
        }
    }

    /// Notes the last position of a stream.
    pub fn put(&mut self, trigger: TriggerId, stream: &str, row: PositionRow) {
        let key = key(trigger, stream);
        if let Some((before, row)) = self.last.replace((key, row)).filter(|(before, _)| *before != key) {
            self.rest.insert(before, row);
        }
    }

    /// Lets a stream have no position.
    pub fn delete(&mut self, trigger: TriggerId, stream: &str, rows: &mut Rows) {
        let key = key(trigger, stream);
        self.last.take_if(|(last, _)| *last == key);
        self.rest.remove(&key);
        rows.delete(key);
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        let rest = std::mem::take(&mut self.rest);
        // The last is newer than what the rest may have of the same stream.
        for (key, row) in rest.into_iter().chain(self.last.take()) {
            rows.put(key, row.to_value());
        }
    }
}

fn key(trigger: TriggerId, stream: &str) -> Key {
    PositionRow::key(trigger, xxh3_64(stream.as_bytes()))
}
