//! The log on fjall: one entry per block, one journal write, one fdatasync.
//!
//! Invariant: after a failed write or sync nothing is appended any more until the process starts again, because
//! nobody knows what the disk holds. A full disk is noticed before anything is written, so it never comes to that.

mod ffi;
mod freeing;
mod shrink;
mod smoothing;
mod worker;

use std::{
    io,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fjall::{Database, Keyspace, PersistMode};
use xxhash_rust::xxh3::xxh3_64;

use super::{BlockStore, Log, LogReader};
use crate::{
    block::{self, Block, PackedBlock},
    directory::ManifestFile,
    disk,
    error::{AppendError, Damage, OpenError, ReadError},
    key::{Key, Tag},
    limits::{BATCH_BYTES_MAX, BLOCK_KEPT_BYTES_MAX, DISK_RESERVE_BYTES, SHRINK_ROOM_BYTES_MIN},
    place::{Offset, ShardId, Span},
};
use shrink::Shrinker;
use smoothing::Smoothing;
use worker::Worker;

/// Most bytes of one value, a block with its table, that brings no project file.
const PACKED_BYTES_MAX: u64 = 2 * BLOCK_KEPT_BYTES_MAX as u64;

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
    _freeing: Option<Worker>,
    _smoothing: Option<Smoothing>,
    /// Where `live` begins, for readers.
    dense: Arc<AtomicU64>,
    manifest: Arc<ManifestFile>,
    /// Whether the manifest says that blocks may be packed.
    is_packed: bool,
}

impl EmbeddedLog {
    /// Finds the ends of the log in the first of these keyspaces of a shard.
    pub fn open(
        shard: ShardId,
        database: &Database,
        keyspaces: &[Keyspace; 3],
        directory: PathBuf,
        mode: PersistMode,
        probe: Option<Arc<dyn SyncProbe>>,
        manifest: Arc<ManifestFile>,
    ) -> Result<Self, OpenError> {
        let blocks = &keyspaces[0];
        let damaged = |how: String| OpenError::Damaged { path: directory.clone(), how };
        let end = |guard: Option<fjall::Guard>| -> Result<Option<PackedBlock>, OpenError> {
            let Some(guard) = guard else { return Ok(None) };
            let value = guard.value().map_err(|error| damaged(error.to_string()))?;
            let block = PackedBlock::parse(shard, value.into());
            block.map(Some).map_err(|damage| damaged(damage.to_string()))
        };
        let all = || blocks.range(keys(0, u64::MAX));
        let mut live = match (end(all().next())?, end(all().next_back())?) {
            (Some(first), Some(last)) => Span { first: first.span().first, end: last.span().end },
            _ => Span::default(),
        };
        match read_dense(blocks).map_err(|error| damaged(error.to_string()))? {
            Some(Offset(dense)) if dense > live.end.0 => {
                return Err(damaged(format!("its log ends before offset {dense}, up to which it was cut")));
            }
            None if live.first > Offset(0) => {
                let first = live.first.0;
                return Err(damaged(format!("its log begins at offset {first}, and was never cut")));
            }
            Some(dense) => live.first = dense,
            None => {}
        }
        let dense = Arc::new(AtomicU64::new(live.first.0));
        let (database, blocks) = (database.clone(), blocks.clone());
        let (poisoned, room_bytes, shrinker) = (None, 0, Shrinker::default());
        Ok(Self {
            shard,
            database,
            blocks,
            directory,
            live,
            mode,
            probe,
            poisoned,
            room_bytes,
            shrinker,
            _freeing: freeing::start(keyspaces.to_vec()),
            _smoothing: Smoothing::start(keyspaces),
            dense,
            manifest,
            is_packed: false,
        })
    }

    /// Puts a block where history was cut, into a log that is filled and has no dense part yet.
    pub fn plant(&mut self, block: &mut Block) -> Result<(), AppendError> {
        assert_eq!(self.live, Span::default(), "what was cut is before all else");
        self.refuse_poisoned()?;
        self.take_room(block)?;
        let value = self.pack(block)?;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.blocks, &*Key::new(Tag::Block).u64(block.span().first.0), value);
        batch.commit().map_err(|error| self.poison(error.to_string()))
    }

    /// Lets the log begin here, behind what was planted. An event must come: a log does not end where it was cut.
    pub fn begin_at(&mut self, dense: Offset) -> Result<(), AppendError> {
        assert_eq!(self.live, Span::default(), "it begins once");
        self.refuse_poisoned()?;
        self.note_cut()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.blocks, &*Key::new(Tag::Dense), dense_value(dense));
        self.live = Span { first: dense, end: dense };
        self.dense.store(dense.0, Ordering::Release);
        batch.commit().map_err(|error| self.poison(error.to_string()))
    }

    fn refuse_poisoned(&self) -> Result<(), AppendError> {
        match &self.poisoned {
            Some(cause) => Err(AppendError::Poisoned { offset: self.live.end, cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn poison(&mut self, cause: String) -> AppendError {
        self.poisoned = Some(cause.clone());
        self.shrinker.leave();
        AppendError::Poisoned { offset: self.live.end, cause }
    }

    /// Before anything goes: from here on a version that would find a hole refuses the data dir.
    fn note_cut(&mut self) -> Result<(), AppendError> {
        let noted = self.manifest.note_cut();
        noted.map_err(|error| self.not_noted(&error))
    }

    /// What is written of a block. From the first packed one on a version that does not know them refuses the data dir.
    fn pack(&mut self, block: &mut Block) -> Result<Bytes, AppendError> {
        let value = block.pack();
        if !self.is_packed && block::is_packed(&value) {
            let noted = self.manifest.note_packed();
            noted.map_err(|error| self.not_noted(&error))?;
            self.is_packed = true;
        }
        Ok(value)
    }

    /// The manifest could not be written anew.
    fn not_noted(&mut self, error: &io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull => AppendError::Full { free_bytes: disk::free_bytes(&self.directory) },
            _ => self.poison(error.to_string()),
        }
    }

    /// Room for a block as if it did not pack: what is promised before it is known is enough either way.
    fn take_room(&mut self, block: &Block) -> Result<(), AppendError> {
        let bytes = block.whole_bytes() as u64;
        self.find_room(bytes)?;
        self.room_bytes -= bytes;
        Ok(())
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
        self.refuse_poisoned()?;
        self.take_room(block)?;
        let value = self.pack(block)?;
        if let Some(probe) = self.probe.clone()
            && let Err(cause) = probe.before_sync(span.end)
        {
            return Err(self.poison(cause));
        }
        let mut batch = self.database.batch().durability(Some(self.mode));
        batch.insert(&self.blocks, &*Key::new(Tag::Block).u64(span.first.0), value);
        batch.commit().map_err(|error| self.poison(error.to_string()))?;
        self.live.end = span.end;
        assert_eq!(self.live.end, block.next());
        Ok(span)
    }

    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError> {
        let span = block.span();
        assert!(span.end <= self.live.end);
        self.refuse_poisoned()?;
        let value = self.pack(block)?;
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

    fn is_shrinking(&self) -> bool {
        self.shrinker.is_busy()
    }

    fn retire(&mut self, dense: Offset, gone: &[Offset]) -> Result<(), AppendError> {
        assert!(dense >= self.live.first);
        assert!(dense < self.live.end);
        assert!(gone.iter().all(|first| *first < dense));
        self.refuse_poisoned()?;
        self.note_cut()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        if dense > self.live.first {
            batch.insert(&self.blocks, &*Key::new(Tag::Dense), dense_value(dense));
        }
        for first in gone {
            batch.remove(&self.blocks, &*Key::new(Tag::Block).u64(first.0));
        }
        // Before the blocks go: whoever misses one finds that it may be gone.
        self.live.first = dense;
        self.dense.store(dense.0, Ordering::Release);
        batch.commit().map_err(|error| self.poison(error.to_string()))
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| self.poison(error.to_string()))
    }

    fn live(&self) -> Span {
        self.live
    }

    fn has_room(&self) -> bool {
        disk::free_bytes(&self.directory) >= DISK_RESERVE_BYTES + BATCH_BYTES_MAX as u64 / 4
    }

    fn reserve(&mut self) -> bool {
        self.find_room(PACKED_BYTES_MAX).is_ok()
    }

    fn reader(&self) -> LogReader {
        let (keyspace, dense) = (self.blocks.clone(), Arc::clone(&self.dense));
        LogReader::new(self.shard, Arc::new(Blocks { keyspace, dense }))
    }
}

struct Blocks {
    keyspace: Keyspace,
    dense: Arc<AtomicU64>,
}

impl BlockStore for Blocks {
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        self.keyspace.range(keys(0, offset.0)).next_back().map(value_of).transpose()
    }

    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        self.keyspace.range(keys(offset.0, u64::MAX)).next().map(value_of).transpose()
    }

    fn disk_bytes(&self) -> u64 {
        self.keyspace.disk_space()
    }

    fn dense(&self) -> Offset {
        Offset(self.dense.load(Ordering::Acquire))
    }
}

fn dense_value(dense: Offset) -> Vec<u8> {
    [dense.0.to_le_bytes(), xxh3_64(&dense.0.to_le_bytes()).to_le_bytes()].concat()
}

/// Where the dense part of a log begins that was cut.
fn read_dense(blocks: &Keyspace) -> Result<Option<Offset>, ReadError> {
    let Some(value) = blocks.get(&*Key::new(Tag::Dense))? else { return Ok(None) };
    let words =
        value.split_first_chunk::<8>().and_then(|(dense, rest)| Some((*dense, rest.try_into().ok()?)));
    let words = words.map(|(dense, sum)| (u64::from_le_bytes(dense), u64::from_le_bytes(sum)));
    match words.filter(|(dense, sum)| xxh3_64(&dense.to_le_bytes()) == *sum) {
        Some((dense, _)) => Ok(Some(Offset(dense))),
        None => Err(Damage::new("log", "where it was cut is not what was written").into()),
    }
}

fn keys(first: u64, last: u64) -> RangeInclusive<Vec<u8>> {
    Key::new(Tag::Block).u64(first).to_vec()..=Key::new(Tag::Block).u64(last).to_vec()
}

fn value_of(guard: fjall::Guard) -> Result<Bytes, ReadError> {
    Ok(guard.value()?.into())
}
