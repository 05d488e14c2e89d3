//! A shard as other threads read it.
//!
//! Invariant: reading never makes the shard wait. Who was told of an event finds it: the reader waits for the rows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_utils::Backoff;
use keyway_storage::{
    limits::SETTLE_MS,
    log::LogReader,
    place::{Offset, ShardId},
    rows::RowsReader,
};

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
    pub fn settled(&self) -> Self {
        let tail = self.stats.tail();
        wait(|| self.stats.settled() >= tail);
        self.remembering()
    }

    /// Where the log ends, once the views reflect all of it; `None` when they are too far behind to wait for.
    pub fn whole(&self) -> Option<Offset> {
        let tail = self.stats.tail();
        wait(|| self.stats.settled() >= tail && self.stats.views() >= tail).then_some(tail)
    }

    /// The same shard for someone who reads neighbouring events one by one: a block is read and checked once.
    pub fn remembering(&self) -> Self {
        Self { log: self.log.remembering(), ..self.clone() }
    }
}

/// Waits for something that a turn brings about, for a bounded time; false if it did not come.
#[expect(
    clippy::disallowed_methods,
    reason = "a wait is bounded by the real clock, nothing is decided by it"
)]
fn wait(is_there: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_millis(SETTLE_MS);
    let backoff = Backoff::new();
    while !is_there() {
        if Instant::now() >= deadline {
            return false;
        }
        backoff.snooze();
    }
    true
}
