//! Rows of `state` and `views`: what each holds and how its key is made.
//!
//! Invariant: the same events give the same rows, byte for byte. A row is the rkyv archive of its struct.

mod backlog;
mod bitmap;
mod cut;
mod history;
mod once;
mod queue;
mod replay;
mod schedule;
mod warning;
mod wipe;

use bytes::Bytes;
use rkyv::{
    Archive, Deserialize, Serialize,
    api::high::{HighDeserializer, HighSerializer, HighValidator},
    bytecheck::CheckBytes,
    rancor::Failure,
    ser::allocator::ArenaHandle,
    util::AlignedVec,
};

pub use backlog::{BacklogEntry, BacklogRow, WaitingEntry, WaitingRow, bucket_from_key, taken_key};
pub use bitmap::{BUCKET_OFFSETS, Bitmap, by_state_key, by_trigger_key, report_key};
pub use cut::CutRow;
pub use history::{CountsRow, OpenRow, PositionRow, ProjectRow, RunRow, WorkOrderRow};
pub use once::{OnceEnd, OnceRow};
pub use queue::{AgainRow, HoldRow, LeaseRow, lane_from_key, lane_key};
pub use replay::{ReplayRow, ReplayState};
pub use schedule::{CursorRow, ScheduleRow};
pub use warning::{Subject, notice_key};
pub use wipe::WipeRow;

use crate::{error::Damage, key::Key};

/// A row with a fixed shape.
pub trait Table: Sized {
    /// The value for the store.
    fn to_value(&self) -> Bytes;

    /// Reads a value of the store.
    fn from_value(value: &[u8]) -> Result<Self, Damage>;
}

impl<T> Table for T
where
    T: Archive + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Failure>>,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, Failure>> + Deserialize<T, HighDeserializer<Failure>>,
{
    fn to_value(&self) -> Bytes {
        let archive =
            rkyv::to_bytes::<Failure>(self).expect("a row is small, and memory is all that it needs");
        Bytes::copy_from_slice(&archive)
    }

    fn from_value(value: &[u8]) -> Result<Self, Damage> {
        rkyv::from_bytes::<T, Failure>(value).map_err(|_| Damage::new("row", "its archive is not valid"))
    }
}

/// The key of a row that there is once per shard.
pub fn single_key(tag: crate::key::Tag) -> Key {
    Key::new(tag)
}
