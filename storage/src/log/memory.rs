//! A log without a disk, for the simulation: it forgets nothing until it is dropped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{BlockStore, Log, LogReader};
use crate::{
    block::Block,
    error::{AppendError, ReadError},
    place::{Offset, ShardId, Span},
};

/// Blocks in memory. Clones share them, like two opens of the same disk.
#[derive(Clone)]
pub struct MemoryLog {
    shard: ShardId,
    blocks: Arc<Shared>,
    live: Span,
}

#[derive(Default)]
struct Shared {
    blocks: Mutex<BTreeMap<Offset, Bytes>>,
    dense: AtomicU64,
}

impl MemoryLog {
    /// An empty log of this shard.
    pub fn new(shard: ShardId) -> Self {
        Self { shard, blocks: Arc::default(), live: Span::default() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Offset, Bytes>> {
        self.blocks.lock().expect("no holder of this lock panics")
    }
}

impl Log for MemoryLog {
    fn append(&mut self, block: &mut Block) -> Result<Span, AppendError> {
        let span = block.span();
        assert_eq!(span.first, self.live.end, "offsets are dense");
        self.blocks.lock().insert(span.first, block.pack());
        self.live.end = span.end;
        Ok(span)
    }

    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError> {
        let first = block.span().first;
        let old = self.blocks.lock().insert(first, block.pack());
        assert!(old.is_some(), "a block is put in the place of another");
        Ok(())
    }

    fn shrink(&mut self) -> bool {
        true
    }

    fn is_shrinking(&self) -> bool {
        false
    }

    fn retire(&mut self, dense: Offset, gone: &[Offset]) -> Result<(), AppendError> {
        self.blocks.dense.store(dense.0, Ordering::Release);
        let mut blocks = self.blocks.lock();
        gone.iter().for_each(|first| drop(blocks.remove(first)));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        Ok(())
    }

    fn live(&self) -> Span {
        Span { first: self.blocks.dense(), ..self.live }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&mut self) -> bool {
        true
    }

    fn reader(&self) -> LogReader {
        LogReader::new(self.shard, Arc::clone(&self.blocks) as Arc<dyn BlockStore>)
    }
}

impl BlockStore for Shared {
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        Ok(self.lock().range(..=offset).next_back().map(|(_, value)| value.clone()))
    }

    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        Ok(self.lock().range(offset..).next().map(|(_, value)| value.clone()))
    }

    fn disk_bytes(&self) -> u64 {
        self.lock().values().map(|value| value.len() as u64).sum()
    }

    fn dense(&self) -> Offset {
        Offset(self.dense.load(Ordering::Acquire))
    }
}
