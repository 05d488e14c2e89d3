//! Rows of the queue: what waits, what is claimed, what is held.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    event::{Cause, ClaimedRun, LaneId, WorkflowId},
    key::{Key, Tag},
    place::{Offset, Timestamp},
};

/// Key: lane (18), offset of the work order. A run that waits again: expired, retried or asked for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct AgainRow {
    /// Number of the run.
    pub n: u8,
    /// How often it was claimed before.
    pub attempts: u8,
    /// Its `RunRequested`; `None` for a first run.
    pub requested: Option<Offset>,
    /// Hash of the ordering key.
    pub key: Option<u64>,
}

/// Key: offset of the work order. A run that a worker has.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct LeaseRow {
    /// The run, its attempt and its lane.
    pub claimed: ClaimedRun,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The worker; 0 is the embedded executor.
    pub worker: u32,
    /// The boot in which it was claimed.
    pub boot: u64,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When it was begun.
    pub started: Option<Timestamp>,
    /// When the lease runs out.
    pub until: Timestamp,
    /// Whether someone asked that it end.
    pub cancelled: bool,
    /// Its `RunRequested`; `None` for a first run.
    pub requested: Option<Offset>,
    /// Hash of the ordering key.
    pub key: Option<u64>,
}

/// Key: lane (18). A lane that a failure stopped, or a key's own lane until it is empty again.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct HoldRow {
    /// When it goes on by itself; `Timestamp::NEVER` when it does not.
    pub until: Timestamp,
    /// Since when it is held.
    pub since: Timestamp,
    /// The work order that failed.
    pub work_order: Offset,
    /// Why it is held.
    pub cause: Cause,
    /// Whether it may go on; it stays until it is empty, so that nothing overtakes.
    pub released: bool,
}

/// A key of a row that belongs to a lane.
pub fn lane_key(tag: Tag, lane: LaneId) -> Key {
    Key::new(tag).u64(lane.owner).u16(lane.number).u64(lane.key)
}

/// The lane in a key, with the number that follows it, if one does.
pub fn lane_from_key(key: &Key) -> (LaneId, u64) {
    let u64_at =
        |at: usize| key.get(at..at + 8).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("8")));
    let number = u16::from_be_bytes(key[9..11].try_into().expect("a lane's key has 19 bytes"));
    (LaneId { owner: u64_at(1), number, key: u64_at(11) }, u64_at(19))
}
