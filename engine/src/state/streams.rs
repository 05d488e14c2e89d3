//! Where streams are: Kafka partitions, cron triggers, replayed shards.
//!
//! Invariant: a stream's position is written once for all inputs that a commit brings of it.

use std::{collections::BTreeMap, sync::Arc};

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
    last: Option<Last>,
    /// All others.
    rest: BTreeMap<Key, PositionRow>,
}

/// A stream by its name, so that its inputs cost no hash of it.
#[derive(Debug)]
struct Last {
    trigger: TriggerId,
    stream: Arc<str>,
    row: PositionRow,
}

impl Last {
    fn is(&self, trigger: TriggerId, stream: &str) -> bool {
        // Inputs that came together share the name.
        let has_name = || std::ptr::eq(&*self.stream, stream) || *self.stream == *stream;
        self.trigger == trigger && has_name()
    }
}

impl Streams {
    /// The last position of a stream.
    pub fn get(
        &self,
        trigger: TriggerId,
        stream: &str,
        rows: &Rows,
    ) -> Result<Option<PositionRow>, ReadError> {
        if let Some(last) = self.last.as_ref().filter(|last| last.is(trigger, stream)) {
            return Ok(Some(last.row));
        }
        let key = key(trigger, stream);
        match self.rest.get(&key) {
            Some(row) => Ok(Some(*row)),
            None => Ok(rows.get(&key)?.map(|value| PositionRow::from_value(&value)).transpose()?),
        }
    }

    /// Notes the last position of a stream.
    pub fn put(&mut self, trigger: TriggerId, stream: &Arc<str>, row: PositionRow) {
        if let Some(last) = self.last.as_mut().filter(|last| last.is(trigger, stream)) {
            last.row = row;
            return;
        }
        let last = Last { trigger, stream: Arc::clone(stream), row };
        if let Some(before) = self.last.replace(last) {
            self.rest.insert(key(before.trigger, &before.stream), before.row);
        }
    }

    /// Lets a stream have no position.
    pub fn delete(&mut self, trigger: TriggerId, stream: &str, rows: &mut Rows) {
        let key = key(trigger, stream);
        self.last.take_if(|last| last.is(trigger, stream));
        self.rest.remove(&key);
        rows.delete(key);
    }

    /// Writes what changed since the last commit.
    pub fn flush(&mut self, rows: &mut Rows) {
        let rest = std::mem::take(&mut self.rest);
        // The last is newer than what the rest may have of the same stream.
        let last = self.last.take().map(|last| (key(last.trigger, &last.stream), last.row));
        for (key, row) in rest.into_iter().chain(last) {
            rows.put(key, row.to_value());
        }
    }
}

fn key(trigger: TriggerId, stream: &str) -> Key {
    PositionRow::key(trigger, xxh3_64(stream.as_bytes()))
}
