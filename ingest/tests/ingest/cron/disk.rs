//! A disk that outlives a crash, and that fails where a test wants it to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use keyway_storage::{
    block::Block,
    error::{AppendError, ReadError},
    log::{BlockStore, Log, LogReader},
    place::{Offset, ShardId, Span},
};

/// How the next append goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process dies before anything is on disk.
    Before,
    /// The process dies when everything is on disk, before anyone is told.
    After,
    /// There is no room.
    Full,
}

#[derive(Default)]
struct Platter {
    blocks: BTreeMap<Offset, Bytes>,
    end: Offset,
    fault: Option<Fault>,
}

/// The log of shard 0; clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<Platter>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }
}

impl Disk {
    /// Lets the next append go wrong.
    pub fn fail(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }
}

impl Log for Disk {
    fn append(&mut self, block: &mut Block) -> Result<Span, AppendError> {
        let mut platter = self.0.lock();
        let span = block.span();
        assert_eq!(span.first, platter.end, "offsets are dense");
        let fault = platter.fault.take();
        let dead = || AppendError::Poisoned { offset: span.first, cause: "a crash".to_owned() };
        match fault {
            Some(Fault::Full) => return Err(AppendError::Full { free_bytes: 0 }),
            Some(Fault::Before) => return Err(dead()),
            Some(Fault::After) | None => {}
        }
        platter.blocks.insert(span.first, block.pack());
        platter.end = span.end;
        if fault.is_none() { Ok(span) } else { Err(dead()) }
    }

    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError> {
        self.0.lock().blocks.insert(block.span().first, block.pack());
        Ok(())
    }

    fn shrink(&mut self) -> bool {
        true
    }

    fn is_shrinking(&self) -> bool {
        false
    }

    fn retire(&mut self, _: Offset, _: &[Offset]) -> Result<(), AppendError> {
        unreachable!("no history is cut here")
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        Ok(())
    }

    fn live(&self) -> Span {
        Span { first: Offset(0), end: self.0.lock().end }
    }

    fn reserve(&mut self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn reader(&self) -> LogReader {
        LogReader::new(ShardId(0), Arc::clone(&self.0) as Arc<dyn BlockStore>)
    }
}

impl BlockStore for Shared {
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        Ok(self.lock().blocks.range(..=offset).next_back().map(|(_, value)| value.clone()))
    }

    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        Ok(self.lock().blocks.range(offset..).next().map(|(_, value)| value.clone()))
    }

    fn disk_bytes(&self) -> u64 {
        self.lock().blocks.values().map(|value| value.len() as u64).sum()
    }

    fn dense(&self) -> Offset {
        Offset(0)
    }
}
