//! The row of what was cut off the history.

use rkyv::{Archive, Deserialize, Serialize};

use crate::place::{Offset, Timestamp};

/// Key: none. How much of a shard's history is gone.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct CutRow {
    /// The first offset of which nothing was taken out of the log.
    pub before: Offset,
    /// When that was last.
    pub at: Timestamp,
    /// How many work orders went.
    pub work_orders: u64,
    /// How many runs they had, by the state that those ended in.
    pub runs: [u64; 10],
    /// How many dead letters went.
    pub letters: u64,
    /// How many events left the log.
    pub events: u64,
    /// How many bytes they had.
    pub bytes: u64,
}
