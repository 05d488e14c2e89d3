//! Lanes and keys that a failure blocks until someone decides.

use keyway_storage::{
    error::ReadError,
    event::{Cause, LaneId, WorkflowId},
    key::{Key, Tag},
    table::{HoldRow, Table, lane_from_key},
};

use crate::shard::ShardReader;

/// What is blocked of a workflow on one shard.
pub fn blocked(reader: &ShardReader, workflow: WorkflowId) -> Result<Vec<(LaneId, HoldRow)>, ReadError> {
    let prefix = Key::new(Tag::Hold).u64(workflow.0);
    let mut found = Vec::new();
    for row in reader.state.scan(prefix, prefix.prefix_end()) {
        let (key, value) = row?;
        let hold = HoldRow::from_value(&value)?;
        if hold.cause == Cause::Blocked && !hold.released {
            found.push((lane_from_key(&key).0, hold));
        }
    }
    Ok(found)
}
