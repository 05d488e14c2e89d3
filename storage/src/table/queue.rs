//! Rows of the queue: what waits, what is claimed, what is held.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    error::Damage,
    event::{Cause, ClaimedRun, LaneId, WorkflowId},
    key::{Key, Tag},
    place::{Offset, Timestamp},
};

use super::bitmap::BUCKET_OFFSETS;

/// A work order that waits for its first run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingEntry {
    /// Its `Received`.
    pub offset: Offset,
    /// Hash of its ordering key.
    pub key: Option<u64>,
}

/// Key: lane (18), bucket. Work orders of 256 neighbouring offsets that wait for their first run in a lane.
///
/// Value: for each, its offset in the bucket (u8), then 0, or 1 and the hash of its key (u64, little-endian).
/// Rows are only added to at the end and deleted whole; the lane's `Head` says which entries are gone.
#[derive(Clone, Default, Debug)]
pub struct WaitingRow(pub Vec<u8>);

impl WaitingRow {
    /// The bucket that an offset belongs to.
    pub fn bucket(offset: Offset) -> u64 {
        offset.0 / BUCKET_OFFSETS
    }

    /// The key of a bucket of a lane.
    pub fn key(lane: LaneId, bucket: u64) -> Key {
        lane_key(Tag::Waiting, lane).u64(bucket)
    }

    /// Adds a work order behind the others.
    pub fn push(&mut self, entry: WaitingEntry) {
        self.0.push((entry.offset.0 % BUCKET_OFFSETS) as u8);
        match entry.key {
            None => self.0.push(0),
            Some(key) => {
                self.0.push(1);
                self.0.extend_from_slice(&key.to_le_bytes());
            }
        }
    }

    /// The work orders of a row of this bucket.
    pub fn entries(value: &[u8], bucket: u64) -> Result<Vec<WaitingEntry>, Damage> {
        let damaged = || Damage::new("row", "a waiting entry is cut short");
        let mut entries = Vec::new();
        let mut rest = value;
        while let [low, flag, tail @ ..] = rest {
            let offset = Offset(bucket * BUCKET_OFFSETS + u64::from(*low));
            let (key, tail) = match flag {
                0 => (None, tail),
                _ => {
                    let (key, tail) = tail.split_first_chunk::<8>().ok_or_else(damaged)?;
                    (Some(u64::from_le_bytes(*key)), tail)
                }
            };
            entries.push(WaitingEntry { offset, key });
            rest = tail;
        }
        if rest.is_empty() { Ok(entries) } else { Err(damaged()) }
    }
}

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
