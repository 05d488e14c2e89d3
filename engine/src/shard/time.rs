//! The time of a shard: what the clock shows, and what its log goes by.
//!
//! Invariant: the time of the log never goes back and never stands still for ever. While it is ahead of the clock, after
//! the clock was set back, it moves half as fast: leases end later than they were to, and the clock catches up.

use keyway_storage::{limits::CLOCK_LAG_STEP_MS, place::Timestamp};

/// What a shard knows of the time.
#[derive(Debug, Clone, Copy)]
pub struct ShardTime {
    /// What the machine's clock shows.
    pub wall: Timestamp,
    /// The time of what is appended now.
    pub log: Timestamp,
}

impl ShardTime {
    /// The time of a shard whose log has nothing later than `last`.
    pub fn new(wall: Timestamp, last: Timestamp) -> Self {
        Self { wall, log: wall.max(last) }
    }

    /// Takes note of what the clock shows now, and returns the time of the log.
    pub fn pass_to(&mut self, wall: Timestamp) -> Timestamp {
        // A clock that was far behind and is set right has not let all that time pass.
        let passed = wall.0.saturating_sub(self.wall.0).min(CLOCK_LAG_STEP_MS * 1_000);
        self.wall = wall;
        self.log = wall.max(Timestamp(self.log.0.saturating_add(passed / 2)));
        self.log
    }
}
