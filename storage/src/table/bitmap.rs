//! Rows of `views`: sets of offsets, 256 neighbouring ones to a row.
//!
//! A set's row is 32 bytes, bit n of which stands for offset `256 * bucket + n`. Sets grow with the log, not with the
//! number of things in it, and walking one newest first is a walk over keys.

use crate::{
    error::Damage,
    event::{RunState, TriggerId},
    key::{Key, Tag},
    place::{Offset, RunKey},
};

/// Offsets in one row.
pub const BUCKET_OFFSETS: u64 = 256;

/// The offsets of one bucket that belong to a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bitmap(pub [u8; 32]);

impl Bitmap {
    /// The bucket that an offset belongs to.
    pub fn bucket(offset: Offset) -> u64 {
        offset.0 / BUCKET_OFFSETS
    }

    /// Reads a row.
    pub fn from_value(value: &[u8]) -> Result<Self, Damage> {
        value.try_into().map(Self).map_err(|_| Damage::new("row", "a set is not 32 bytes"))
    }

    /// Adds an offset.
    pub fn insert(&mut self, offset: Offset) {
        let bit = (offset.0 % BUCKET_OFFSETS) as usize;
        self.0[bit / 8] |= 1 << (bit % 8);
    }

    /// Adds the offsets of another set of the same bucket.
    pub fn unite(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, more)| *byte |= more);
    }

    /// Takes an offset out.
    pub fn remove(&mut self, offset: Offset) {
        let bit = (offset.0 % BUCKET_OFFSETS) as usize;
        self.0[bit / 8] &= !(1 << (bit % 8));
    }

    /// Whether an offset is in.
    pub fn contains(&self, offset: Offset) -> bool {
        let bit = (offset.0 % BUCKET_OFFSETS) as usize;
        self.0[bit / 8] & (1 << (bit % 8)) != 0
    }

    /// Whether no offset is in.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 32]
    }

    /// The offsets, ascending, as those of this bucket.
    pub fn offsets(self, bucket: u64) -> impl DoubleEndedIterator<Item = Offset> {
        (0..BUCKET_OFFSETS)
            .filter(move |bit| self.0[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
            .map(move |bit| Offset(bucket * BUCKET_OFFSETS + bit))
    }
}

/// Key of the work orders of a trigger; all zeros stands for all triggers.
pub fn by_trigger_key(trigger: TriggerId, bucket: u64) -> Key {
    Key::new(Tag::ByTrigger).bytes(&trigger.0).u64(bucket)
}

/// Key of the work orders that ended in a state, or wait again after having ended once.
pub fn by_state_key(state: RunState, bucket: u64) -> Key {
    Key::new(Tag::ByState).u8(state as u8).u64(bucket)
}

/// Key of the events that report on a run.
pub fn report_key(run: RunKey, bucket: u64) -> Key {
    Key::new(Tag::Report).u64(run.work_order.0).u8(run.n).u64(bucket)
}
