//! What is asked of many at once.

use rkyv::{Archive, Deserialize, Serialize};

use crate::place::RunKey;

/// What becomes of each of them.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BulkDeed {
    /// Work orders get another run.
    Rerun {
        /// Whether on the version of the workflow that they were made for.
        original: bool,
    },
    /// Runs end.
    Cancel,
    /// Dead letters are given up.
    Discard {
        /// Why, in the sender's words.
        reason: Box<str>,
    },
}

/// Something was asked of many at once: it goes on, over restarts too, until it was asked of each. Shard 0 has it last, with
/// nobody if none are there: what it does not have was never taken in.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct BulkStarted {
    /// Its UUID, the same on all shards.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// What becomes of them.
    pub deed: BulkDeed,
    /// Of whom, oldest first: work orders with the number of their last run, runs, or dead letters with 0.
    pub of: Vec<RunKey>,
}

/// It was asked of each.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct BulkEnded {
    /// Its UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
}
