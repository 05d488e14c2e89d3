//! The log: every event of one shard, in the order it was accepted.
//!
//! Invariant 1. Offsets are dense: from the first live one on, every offset up to the tail exists. Before it, what
//!              nobody needs is gone, and what someone needs is where it was.
//! Invariant 2. An event never changes after `append` returns, but for content that leaves it when its time is over:
//!              nothing that rows are made of does.
//! Invariant 3. `append` returns only when the events survive a power cut.
//!
//! Everything else on disk is derived from the log and may be deleted and rebuilt. The log has one writer, the
//! shard that owns it; readers see what is durable.

mod embedded;
mod memory;
mod recent;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    block::{Block, PackedBlock},
    error::{AppendError, Damage, ReadError},
    event::{Event, EventKind},
    place::{Offset, ShardId, Span, Timestamp},
};

pub use embedded::{EmbeddedLog, SyncProbe};
pub use memory::MemoryLog;
use recent::Recent;

/// One shard's log.
pub trait Log: Send {
    /// Appends a turn's events: one entry, one sync. Durable on return.
    fn append(&mut self, block: &mut Block) -> Result<Span, AppendError>;

    /// Puts a block in the place of the one with the same offsets: content was taken out of it. Durable with the next
    /// append; until then a crash may bring the old block back.
    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError>;

    /// Gives the disk back what rewritten blocks no longer need: begun on return, done some time after it. False when the
    /// disk has no room for what is written on the way.
    fn shrink(&mut self) -> bool;

    /// Whether a shrinking that was begun is not done.
    fn is_shrinking(&self) -> bool;

    /// Lets the dense part begin at `dense`, and deletes blocks before it, named by their first offsets. Durable with the
    /// next append. What is derived from the events before `dense` must be durable already: nothing derives it again.
    fn retire(&mut self, dense: Offset, gone: &[Offset]) -> Result<(), AppendError>;

    /// Makes durable what was written without a sync of its own.
    fn sync(&mut self) -> Result<(), AppendError>;

    /// The offsets from which on, and up to which, every event is there.
    fn live(&self) -> Span;

    /// Whether an append would find room on the disk.
    fn has_room(&self) -> bool;

    /// Sees to it that the next append is not refused for want of room, unless its block is larger than those of which the
    /// memory is kept; false if it may be.
    fn reserve(&mut self) -> bool;

    /// A reader of what is durable.
    fn reader(&self) -> LogReader;
}

/// Where blocks are kept, by their first offset.
pub trait BlockStore: Send + Sync {
    /// The last block whose first offset is at most `offset`.
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError>;

    /// The first block whose first offset is at least `offset`.
    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError>;

    /// Bytes on the disk, without those of the journal.
    fn disk_bytes(&self) -> u64;

    /// The first offset from which on every event is there.
    fn dense(&self) -> Offset;
}

/// Reads a log while it grows.
#[derive(Clone)]
pub struct LogReader {
    shard: ShardId,
    store: Arc<dyn BlockStore>,
    recent: Option<Arc<Recent>>,
}

impl LogReader {
    /// A reader of this shard's blocks.
    pub fn new(shard: ShardId, store: Arc<dyn BlockStore>) -> Self {
        Self { shard, store, recent: None }
    }

    /// Whose log this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// A reader that keeps the blocks that it read last, for someone who reads neighbouring events one by one.
    pub fn remembering(&self) -> Self {
        Self { recent: Some(Arc::default()), ..self.clone() }
    }

    /// Bytes on the disk, without those of the journal.
    pub fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    /// The first offset from which on every event is there.
    pub fn dense(&self) -> Offset {
        self.store.dense()
    }

    /// The block that holds an offset.
    pub fn block(&self, offset: Offset) -> Result<Option<PackedBlock>, ReadError> {
        if let Some(block) = self.recent.as_ref().and_then(|recent| recent.find(offset)) {
            return Ok(Some(block));
        }
        let Some(value) = self.store.at_or_before(offset)? else { return Ok(None) };
        let block = PackedBlock::parse(self.shard, value)?;
        if let Some(recent) = &self.recent {
            recent.keep(&block);
        }
        Ok((offset < block.span().end).then_some(block))
    }

    /// One event, unless it was cut away.
    pub fn event(&self, offset: Offset) -> Result<Option<Event>, ReadError> {
        let event = self.block(offset)?.map(|block| block.event(offset)).transpose()?;
        Ok(event.filter(|event| !matches!(event.kind, EventKind::CutAway(_))))
    }

    /// The block that holds an offset, or the first one behind it where nothing holds it any more.
    pub fn block_from(&self, offset: Offset) -> Result<Option<PackedBlock>, ReadError> {
        match self.block(offset)? {
            Some(block) => Ok(Some(block)),
            None => self.block_at_or_after(offset),
        }
    }

    /// The block behind the one that begins here, wherever that one ends.
    fn block_behind(&self, first: Offset) -> Result<Option<PackedBlock>, ReadError> {
        self.block_at_or_after(first.advance(1))
    }

    fn block_at_or_after(&self, offset: Offset) -> Result<Option<PackedBlock>, ReadError> {
        let value = self.store.at_or_after(offset)?;
        Ok(value.map(|value| PackedBlock::parse(self.shard, value)).transpose()?)
    }

    /// All blocks from the one that holds `from` on.
    pub fn blocks(&self, from: Offset) -> Blocks {
        Blocks { reader: self.clone(), next: from, last: None }
    }

    /// The offset of the first event whose turn was at `time` or later; the tail if there is none yet.
    pub fn at_or_after(&self, time: Timestamp, live: Span) -> Result<Offset, ReadError> {
        // Times never fall along a log, so a binary search over offsets finds the block.
        let (mut low, mut high) = (live.first, live.end);
        while low < high {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let block = self.block_from(middle)?;
            let first = block.as_ref().map_or(high, |block| block.span().first);
            if first > middle && middle >= self.dense() {
                return Err(Damage::new("log", "an offset is missing").into());
            }
            match block.filter(|_| first < high) {
                Some(block) if block.at() < time => low = block.span().end,
                // Between the middle and the block there is nothing, or nothing any more.
                _ if first > middle => high = middle,
                _ => high = first.max(low),
            }
        }
        Ok(low)
    }
}

/// Blocks in order, with the density of the offsets checked between them.
pub struct Blocks {
    reader: LogReader,
    next: Offset,
    /// Where the block before the next one begins.
    last: Option<Offset>,
}

impl Blocks {
    fn step(&mut self) -> Result<Option<PackedBlock>, ReadError> {
        // The first block may begin after the offset that was asked for.
        let Some(last) = self.last else { return self.reader.block_from(self.next) };
        let Some(block) = self.reader.block_behind(last)? else { return Ok(None) };
        let first = block.span().first;
        if first < self.next {
            return Err(Damage::new("log", "two blocks overlap").into());
        }
        // There are holes in what was cut only.
        if first > self.next && first > self.reader.dense() {
            return Err(Damage::new("log", "an offset is missing").into());
        }
        Ok(Some(block))
    }
}

impl Iterator for Blocks {
    type Item = Result<PackedBlock, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if let Ok(Some(block)) = &step {
            self.next = block.span().end;
            self.last = Some(block.span().first);
        }
        step.transpose()
    }
}
