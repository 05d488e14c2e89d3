//! Rows of the backlog: work orders that wait for their first run, of all lanes of a workflow in one line.
//!
//! One row for 256 neighbouring offsets, however many lanes share them: what comes under many keys is written as cheaply
//! as what comes under none.

use crate::{
    error::Damage,
    event::LaneId,
    key::{Key, Tag},
    place::Offset,
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

/// A work order that came to wait for its first run, with its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BacklogEntry {
    /// Where it waits.
    pub lane: LaneId,
    /// What waits there.
    pub waiting: WaitingEntry,
}

/// Key: workflow (u64), bucket. Work orders of 256 neighbouring offsets that came to wait for their first run.
///
/// Value: for each, its offset in the bucket (u8), flags (u8), and what they say is there: the hash of its key (1, u64),
/// the number of its lane (2, u16), the key of its lane (4, u64), little-endian. Rows are only added to at the end, and
/// deleted whole when nothing in them waits; until then `Taken` says what does not.
#[derive(Clone, Default, Debug)]
pub struct BacklogRow(pub Vec<u8>);

const HAS_KEY: u8 = 1;
const HAS_NUMBER: u8 = 2;
const HAS_LANE_KEY: u8 = 4;

impl BacklogRow {
    /// The key of a bucket of a workflow.
    pub fn key(owner: u64, bucket: u64) -> Key {
        Key::new(Tag::Backlog).u64(owner).u64(bucket)
    }

    /// Behind all rows of a workflow.
    pub fn end(owner: u64) -> Key {
        Key::new(Tag::Backlog).u64(owner).prefix_end()
    }

    /// Adds a work order behind the others.
    pub fn push(&mut self, lane: LaneId, waiting: WaitingEntry) {
        let has = |flag: u8, it: bool| if it { flag } else { 0 };
        let flags = has(HAS_KEY, waiting.key.is_some())
            | has(HAS_NUMBER, lane.number != 0)
            | has(HAS_LANE_KEY, lane.key != 0);
        self.0.extend_from_slice(&[(waiting.offset.0 % BUCKET_OFFSETS) as u8, flags]);
        if let Some(key) = waiting.key {
            self.0.extend_from_slice(&key.to_le_bytes());
        }
        if lane.number != 0 {
            self.0.extend_from_slice(&lane.number.to_le_bytes());
        }
        if lane.key != 0 {
            self.0.extend_from_slice(&lane.key.to_le_bytes());
        }
    }

    /// The work orders of the row of a bucket of a workflow.
    pub fn entries(
        value: &[u8],
        owner: u64,
        bucket: u64,
    ) -> impl Iterator<Item = Result<BacklogEntry, Damage>> + '_ {
        let mut rest = value;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let entry = read(&mut rest, owner, bucket);
            if entry.is_none() {
                rest = &[];
            }
            Some(entry.ok_or_else(|| Damage::new("row", "a waiting entry is cut short")))
        })
    }
}

fn read(rest: &mut &[u8], owner: u64, bucket: u64) -> Option<BacklogEntry> {
    let [low, flags] = take(rest)?;
    let mut number = |flag: u8| match flags & flag {
        0 => Some(None),
        _ => take(rest).map(|bytes| Some(u64::from_le_bytes(bytes))),
    };
    let key = number(HAS_KEY)?;
    let lane_number = if flags & HAS_NUMBER == 0 { 0 } else { u16::from_le_bytes(take(rest)?) };
    let lane_key = if flags & HAS_LANE_KEY == 0 { 0 } else { u64::from_le_bytes(take(rest)?) };
    let offset = Offset(bucket * BUCKET_OFFSETS + u64::from(low));
    let lane = LaneId { owner, number: lane_number, key: lane_key };
    Some(BacklogEntry { lane, waiting: WaitingEntry { offset, key } })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

/// The key of what of a bucket waits no longer.
pub fn taken_key(owner: u64, bucket: u64) -> Key {
    Key::new(Tag::Taken).u64(owner).u64(bucket)
}

/// The workflow and the bucket in the key of a `Backlog` or a `Taken`.
pub fn bucket_from_key(key: &Key) -> Result<(u64, u64), Damage> {
    let number =
        |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    number(1).zip(number(9)).ok_or_else(|| Damage::new("row", "its key has no bucket"))
}

/// What versions before wrote instead. Key: lane (18), bucket.
///
/// Value: for each work order that came to wait, its offset in the bucket (u8), then 0, or 1 and the hash of its key (u64).
/// Those before the offset in the lane's `Head` wait no longer.
pub struct WaitingRow;

impl WaitingRow {
    /// The work orders of a row of this bucket.
    pub fn entries(value: &[u8], bucket: u64) -> Result<Vec<WaitingEntry>, Damage> {
        let damaged = || Damage::new("row", "a waiting entry is cut short");
        let mut entries = Vec::new();
        let mut rest = value;
        while !rest.is_empty() {
            let [low, flag] = take(&mut rest).ok_or_else(damaged)?;
            let offset = Offset(bucket * BUCKET_OFFSETS + u64::from(low));
            let key = match flag {
                0 => None,
                _ => Some(u64::from_le_bytes(take(&mut rest).ok_or_else(damaged)?)),
            };
            entries.push(WaitingEntry { offset, key });
        }
        Ok(entries)
    }
}
