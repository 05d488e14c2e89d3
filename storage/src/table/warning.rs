//! Rows of warnings: when people were last warned of something, and what they have not been told yet.

use crate::{
    event::{Concern, TriggerId, Warned, WorkflowId},
    key::{Key, Tag},
    place::Offset,
};

/// What one embargo is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The trigger, if it is about one.
    pub trigger: Option<TriggerId>,
    /// What it is about.
    pub concern: Concern,
}

impl Subject {
    /// What a warning is about.
    pub fn of(warned: &Warned) -> Self {
        Self { workflow: warned.workflow, trigger: warned.trigger, concern: warned.concern }
    }

    /// The key of its row with this tag, `Embargo` or `Told`.
    pub fn key(&self, tag: Tag) -> Key {
        let trigger = self.trigger.map_or([0; 16], |trigger| trigger.0);
        Key::new(tag).u64(self.workflow.0).bytes(&trigger).u8(self.concern as u8)
    }
}

/// The key of a warning that waits to be delivered.
pub fn notice_key(warned: Offset) -> Key {
    Key::new(Tag::Notice).u64(warned.0)
}
