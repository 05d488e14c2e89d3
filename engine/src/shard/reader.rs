//! A shard as other threads read it.
//!
//! Invariant: reading never makes the shard wait. Who was told of an event finds it: the reader waits for the rows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_utils::Backoff;
use keyway_storage::{limits::SETTLE_MS, log::LogReader, place::ShardId, rows::RowsReader};

use crate::stats::Stats;

/// Reads a shard from other threads.
#[derive(Clone)]
pub struct ShardReader {
    /// Which shard.
    pub shard: ShardId,
    /// Its log.
    pub log: LogReader,
    /// Committed rows of `state`.
    pub state: RowsReader,
    /// Committed rows of `views`.
    pub views: RowsReader,
    /// Its counters.
    pub stats: Arc<Stats>,
}

impl ShardReader {
    /// A reader for one request: it waits until the rows reflect what is durable now, and reads each block once.
    ///
    /// The wait is that between a turn's answers and its commit. It is bounded: a shard that stopped is read as it is.
    #[expect(
        clippy::disallowed_methods,
        reason = "a wait is bounded by the real clock, nothing is decided by it"
    )]
    pub fn settled(&self) -> Self {
        let tail = self.stats.tail();
        let deadline = Instant::now() + Duration::from_millis(SETTLE_MS);
        let backoff = Backoff::new();
        while self.stats.settled() < tail && Instant::now() < deadline {
            backoff.snooze();
        }
        self.remembering()
    }

    /// The same shard for someone who reads neighbouring events one by one: a block is read and checked once.
    pub fn remembering(&self) -> Self {
        Self { log: self.log.remembering(), ..self.clone() }
    }
}
