//! The log on fjall: one entry per block, one journal write, one fdatasync.
//!
//! Invariant: after a failed write or sync nothing is appended any more until the process starts again, because
//! nobody knows what the disk holds. A full disk is noticed before anything is written, so it never comes to that.

mod shrink;

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc};

use bytes::Bytes;
use fjall::{Database, Keyspace, PersistMode};

use super::{BlockStore, Log, LogReader};
use crate::{
    block::{Block, PackedBlock},
    disk,
    error::{AppendError, OpenError, ReadError},
    key::{Key, Tag},
    limits::{BLOCK_BYTES_MAX, DISK_RESERVE_BYTES, SHRINK_ROOM_BYTES_MIN},
    place::{Offset, ShardId, Span},
};
use shrink::Shrinker;

/// Most bytes of one value: a block with its table.
const PACKED_BYTES_MAX: u64 = 2 * BLOCK_BYTES_MAX as u64;

/// Looks at every sync, and may fail it: how tests prove that acknowledgements wait.
pub trait SyncProbe: Send + Sync {
    /// Called before the sync of the block that ends at `end`.
    fn before_sync(&self, end: Offset) -> Result<(), String>;
}

/// One shard's log in its database.
pub struct EmbeddedLog {
    shard: ShardId,
    database: Database,
    blocks: Keyspace,
    directory: PathBuf,
    live: Span,
    mode: PersistMode,
    probe: Option<Arc<dyn SyncProbe>>,
    poisoned: Option<String>,
    /// Bytes that may be appended before the disk is asked again how much is free.
    room_bytes: u64,
    shrinker: Shrinker,
}

impl EmbeddedLog {
    /// Finds the ends of the log in this keyspace.
    pub fn open(
        shard: ShardId,
        database: &Database,
        blocks: &Keyspace,
        directory: PathBuf,
        mode: PersistMode,
        probe: Option<Arc<dyn SyncProbe>>,
    ) -> Result<Self, OpenError> {
        let damaged = |how: String| OpenError::Damaged { path: directory.clone(), how };
        let end = |guard: Option<fjall::Guard>| -> Result<Option<PackedBlock>, OpenError> {
            let Some(guard) = guard else { return Ok(None) };
            let value = guard.value().map_err(|error| damaged(error.to_string()))?;
            let block = PackedBlock::parse(shard, value.into());
            block.map(Some).map_err(|damage| damaged(damage.to_string()))
        };
        let live = match (end(blocks.first_key_value())?, end(blocks.last_key_value())?) {
            (Some(first), Some(last)) => Span { first: first.span().first, end: last.span().end },
            _ => Span::default(),
        };
        let (database, blocks) = (database.clone(), blocks.clone());
        let (poisoned, room_bytes, shrinker) = (None, 0, Shrinker::default());
        Ok(Self { shard, database, blocks, directory, live, mode, probe, poisoned, room_bytes, shrinker })
    }

    /// Makes durable what was appended without a sync of its own.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| self.poison(error.to_string()))
    }

    fn poison(&mut self, cause: String) -> AppendError {
        self.poisoned = Some(cause.clone());
        self.shrinker.leave();
        AppendError::Poisoned { offset: self.live.end, cause }
    }

    /// Asks the disk only when the bytes that it last had are used up, not in every turn.
    fn find_room(&mut self, bytes: u64) -> Result<(), AppendError> {
        if self.room_bytes < bytes {
            let free_bytes = disk::free_bytes(&self.directory);
            if free_bytes < DISK_RESERVE_BYTES + bytes {
                return Err(AppendError::Full { free_bytes });
            }
            // Others write to the same disk: look again long before our own bytes could have filled it.
            let share = (free_bytes - DISK_RESERVE_BYTES) / 16;
            self.room_bytes = share.min(2 * PACKED_BYTES_MAX).max(bytes);
        }
        Ok(())
    }
}

impl Log for EmbeddedLog {
    fn append(&mut self, block: &mut Block) -> Result<Span, AppendError> {
        assert!(!block.is_empty());
        let span = block.span();
        assert_eq!(span.first, self.live.end, "offsets are dense");
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { offset: self.live.end, cause: cause.clone() });
        }
        let value = block.pack();
        self.find_room(value.len() as u64)?;
        self.room_bytes -= value.len() as u64;
        if let Some(probe) = self.probe.clone()
            && let Err(cause) = probe.before_sync(span.end)
        {
            return Err(self.poison(cause));
        }
        let mut batch = self.database.batch().durability(Some(self.mode));
        batch.insert(&self.blocks, &*Key::new(Tag::Block).u64(span.first.0), value);
        batch.commit().map_err(|error| self.poison(error.to_string()))?;
        if self.live.is_empty() {
            self.live.first = span.first;
        }
        self.live.end = span.end;
        assert_eq!(self.live.end, block.next());
        Ok(span)
    }

    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError> {
        let span = block.span();
        assert!(span.first >= self.live.first);
        assert!(span.end <= self.live.end);
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { offset: self.live.end, cause: cause.clone() });
        }
        let value = block.pack();
        // Out of the reserve, if need be: what it makes room for is more than what it takes.
        let free_bytes = disk::free_bytes(&self.directory);
        if free_bytes < DISK_RESERVE_BYTES / 2 + value.len() as u64 {
            return Err(AppendError::Full { free_bytes });
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.blocks, &*Key::new(Tag::Block).u64(span.first.0), value);
        batch.commit().map_err(|error| self.poison(error.to_string()))
    }

    fn shrink(&mut self) -> bool {
        let free_bytes = disk::free_bytes(&self.directory);
        if self.poisoned.is_some() || free_bytes < SHRINK_ROOM_BYTES_MIN {
            tracing::warn!(free_bytes, "there is no room to shrink the log; it is tried again");
            return false;
        }
        self.shrinker.ask(&self.blocks);
        true
    }

    fn live(&self) -> Span {
        self.live
    }

    fn has_room(&self) -> bool {
        disk::free_bytes(&self.directory) >= DISK_RESERVE_BYTES + BLOCK_BYTES_MAX as u64 / 16
    }

    fn reserve(&mut self) -> bool {
        self.find_room(PACKED_BYTES_MAX).is_ok()
    }

    fn reader(&self) -> LogReader {
        LogReader::new(self.shard, Arc::new(Blocks(self.blocks.clone())))
    }
}

struct Blocks(Keyspace);

impl BlockStore for Blocks {
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        self.0.range(keys(0, offset.0)).next_back().map(value_of).transpose()
    }

    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        self.0.range(keys(offset.0, u64::MAX)).next().map(value_of).transpose()
    }

    fn disk_bytes(&self) -> u64 {
        self.0.disk_space()
    }
}

fn keys(first: u64, last: u64) -> RangeInclusive<Vec<u8>> {
    Key::new(Tag::Block).u64(first).to_vec()..=Key::new(Tag::Block).u64(last).to_vec()
}

fn value_of(guard: fjall::Guard) -> Result<Bytes, ReadError> {
    Ok(guard.value()?.into())
}
