//! Rows of waiting first runs as versions before wrote them: one for each lane and bucket, and a head for each lane.
//!
//! Invariant: what waits in them waits in the rows of this version afterwards, in the same order, and none of them is left.

use keyway_storage::{
    error::{CommitError, ReadError},
    event::LaneId,
    key::{Key, Tag},
    limits::RESTORE_ROWS_MAX,
    place::Offset,
    rows::{Rows, RowsReader},
    table::{BacklogEntry, BacklogRow, Bitmap, WaitingRow, lane_from_key, lane_key},
};

/// Whether there are rows of versions before.
pub fn is_old(rows: &RowsReader) -> bool {
    [Tag::Waiting, Tag::Head]
        .map(Key::new)
        .iter()
        .any(|tag| rows.scan(*tag, tag.prefix_end()).next().is_some())
}

/// Puts rows of versions before into those of this one, in slices that are committed with the watermark that they have.
pub fn renew(rows: &mut Rows) -> Result<(), ReadError> {
    while renew_slice(rows)? {
        let watermark = rows.watermark();
        rows.commit(watermark).map_err(|error: CommitError| ReadError::Io(error.to_string()))?;
    }
    Ok(())
}

fn renew_slice(rows: &mut Rows) -> Result<bool, ReadError> {
    let waiting = Key::new(Tag::Waiting);
    let found = rows.scan(waiting, waiting.prefix_end(), RESTORE_ROWS_MAX)?;
    for (key, value) in &found {
        let (lane, bucket) = lane_from_key(key);
        let head = head(rows, lane)?;
        for waiting in WaitingRow::entries(value, bucket)? {
            if waiting.offset >= head {
                add(rows, BacklogEntry { lane, waiting })?;
            }
        }
        rows.delete(*key);
    }
    if !found.is_empty() {
        return Ok(true);
    }
    // Heads say what waits in the others, and go last.
    let heads = Key::new(Tag::Head);
    let found = rows.scan(heads, heads.prefix_end(), RESTORE_ROWS_MAX)?;
    found.iter().for_each(|(key, _)| rows.delete(*key));
    Ok(!found.is_empty())
}

fn head(rows: &Rows, lane: LaneId) -> Result<Offset, ReadError> {
    let head = rows.get(&lane_key(Tag::Head, lane))?;
    let head = head.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes);
    Ok(Offset(head))
}

/// Puts a work order to its place among those of its bucket.
fn add(rows: &mut Rows, entry: BacklogEntry) -> Result<(), ReadError> {
    let (owner, bucket) = (entry.lane.owner, Bitmap::bucket(entry.waiting.offset));
    let key = BacklogRow::key(owner, bucket);
    let value = rows.get(&key)?.unwrap_or_default();
    let entries: Result<Vec<BacklogEntry>, _> = BacklogRow::entries(&value, owner, bucket).collect();
    let mut entries = entries?;
    let at = entries.partition_point(|other| other.waiting.offset < entry.waiting.offset);
    entries.insert(at, entry);
    let mut row = BacklogRow::default();
    entries.iter().for_each(|entry| row.push(entry.lane, entry.waiting));
    rows.put(key, row.0.into());
    Ok(())
}
