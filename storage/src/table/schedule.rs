//! Rows of triggers that follow a clock.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    event::TriggerId,
    key::{Key, Tag},
    place::{Offset, Timestamp},
};

/// Key: trigger (16). The schedule that a trigger follows; absent while it follows none.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScheduleRow {
    /// Its hash.
    pub schedule: u64,
    /// Since when.
    pub since: Timestamp,
}

impl ScheduleRow {
    /// The key of a trigger.
    pub fn key(trigger: TriggerId) -> Key {
        Key::new(Tag::Schedule).bytes(&trigger.0)
    }
}

/// Key: trigger (16). What the next runs of a trigger start with; absent while that is `{}`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct CursorRow {
    /// Its `CursorSet`.
    pub set: Offset,
}

impl CursorRow {
    /// The key of a trigger.
    pub fn key(trigger: TriggerId) -> Key {
        Key::new(Tag::Cursor).bytes(&trigger.0)
    }
}
