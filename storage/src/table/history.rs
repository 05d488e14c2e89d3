//! Rows of history: what came, what became of it, and how much there is of each.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    event::{JobId, RunError, RunState, TriggerId},
    key::{Key, Tag},
    place::{Offset, RunKey, Timestamp},
};

/// Key: none. The project in force.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProjectRow {
    /// Its `ProjectApplied`.
    pub offset: Offset,
}

/// Key: trigger (16), xxh3-64 of the stream. The last position of a stream.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionRow {
    /// The last number.
    pub number: u64,
    /// The event that holds it.
    pub offset: Offset,
    /// When that was.
    pub at: Timestamp,
}

impl PositionRow {
    /// The key of a stream of a trigger.
    pub fn key(trigger: TriggerId, stream: u64) -> Key {
        Key::new(Tag::Position).bytes(&trigger.0).u64(stream)
    }
}

/// Key: trigger (16). What is open of a trigger.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenRow {
    /// Runs that have not ended, of inputs that the trigger read from a stream.
    pub runs: u64,
    /// Dead letters that are open.
    pub letters: u64,
}

impl OpenRow {
    /// The key of a trigger.
    pub fn key(trigger: TriggerId) -> Key {
        Key::new(Tag::Open).bytes(&trigger.0)
    }
}

/// Key: offset of the `Received`. A work order of which a run has ended or was asked for.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct WorkOrderRow {
    /// Its state, in the words of a run's; `Available` is pending, `Started` running.
    pub state: RunState,
    /// When it last changed.
    pub last_activity: Timestamp,
    /// Its runs, oldest first.
    pub runs: Vec<RunRow>,
}

/// A run in its work order's row.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct RunRow {
    /// Its state as far as ends go: `Available` until it has ended.
    pub state: RunState,
    /// How often it was claimed.
    pub attempts: u8,
    /// Its `RunRequested`; `None` for a first run.
    pub requested: Option<Offset>,
    /// When it was asked for; 0 for a first run, which was made with its work order.
    pub inserted: Timestamp,
    /// When it was claimed last.
    pub claimed: Option<Timestamp>,
    /// When it began last.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The job that it started with, if it was asked for with one.
    pub start: Option<JobId>,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// Its `RunFinished`.
    pub end: Option<Offset>,
}

impl RunRow {
    /// A run that waits.
    pub fn waiting() -> Self {
        Self {
            state: RunState::Available,
            attempts: 0,
            requested: None,
            inserted: Timestamp(0),
            claimed: None,
            started: None,
            finished: None,
            start: None,
            error: None,
            end: None,
        }
    }
}

impl WorkOrderRow {
    /// The key of a work order.
    pub fn key(offset: Offset) -> Key {
        Key::new(Tag::WorkOrder).u64(offset.0)
    }

    /// The key of the lease on its open run.
    pub fn lease_key(offset: Offset) -> Key {
        Key::new(Tag::Lease).u64(offset.0)
    }

    /// The last run.
    pub fn last(&self, work_order: Offset) -> RunKey {
        RunKey { work_order, n: self.runs.len() as u8 }
    }
}

/// Key: none. Exact counts of one shard.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CountsRow {
    /// Work orders by state, `Available` being pending and `Started` running.
    pub work_orders: [u64; 10],
    /// Runs by state.
    pub runs: [u64; 10],
    /// Dead letters that are open.
    pub dead_letters: u64,
    /// How often the log was opened.
    pub boots: u64,
}
