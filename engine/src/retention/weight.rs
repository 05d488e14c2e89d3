//! How many bytes there are of what ended, by what would go.

use std::ops::AddAssign;

use keyway_storage::{
    error::ReadError,
    event::{Content, Event, WorkflowId},
    place::Offset,
};

use crate::shard::ShardReader;

/// Bytes of each content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight([u64; Content::ALL.len()]);

/// Something that ended, and how much there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// The event that ended it.
    pub at: Offset,
    /// The workflow that it is of, unless that is gone.
    pub workflow: Option<WorkflowId>,
    /// How much there is.
    pub weight: Weight,
}

impl Weight {
    /// The bytes of one content.
    pub fn of(&self, content: Content) -> u64 {
        self.0[content as usize]
    }

    /// The bytes that an event of a work order or a dead letter has.
    pub fn of_history(reader: &ShardReader, event: Event) -> Result<Self, ReadError> {
        let offset = event.place.offset;
        let packed = reader.log.block(offset)?.map_or(0, |block| block.event_bytes(offset));
        let mut weight = Self::of_content(event);
        weight.0[Content::History as usize] = packed as u64;
        Ok(weight)
    }

    /// The bytes of what can be wiped of an event.
    pub fn of_content(mut event: Event) -> Self {
        let mut weight = Self::default();
        for content in Content::WIPED {
            weight.0[content as usize] = event.kind.wipe(content, event.at);
        }
        weight
    }

    /// How much less there is of everything when this content goes.
    pub fn without(&self, content: Content) -> Self {
        if content == Content::History {
            return *self;
        }
        let mut gone = Self::default();
        gone.0[content as usize] = self.of(content);
        // Its events get smaller.
        gone.0[Content::History as usize] = self.of(content).min(self.of(Content::History));
        gone
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}
