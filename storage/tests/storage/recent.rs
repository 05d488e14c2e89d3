//! A reader that keeps what it read last reads the same as one that does not, and asks the store for less.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use keyway_storage::{
    block::Block,
    error::ReadError,
    event::Opened,
    limits::RECENT_BLOCKS_MAX,
    log::{BlockStore, LogReader},
    place::{Offset, ShardId, Timestamp},
};

const SHARD: ShardId = ShardId(3);
const EVENTS_PER_BLOCK: u64 = 4;

/// Blocks of four events each, and how often one was asked for.
struct Counted(Vec<Bytes>, AtomicUsize);

impl Counted {
    fn blocks(count: u64) -> Arc<Self> {
        let pack = |index: u64| {
            let mut block = Block::new(SHARD);
            block.begin(Offset(index * EVENTS_PER_BLOCK), Timestamp(index));
            for offset in 0..EVENTS_PER_BLOCK {
                block.push(&Opened { boot: index * EVENTS_PER_BLOCK + offset }.into());
            }
            block.pack()
        };
        Arc::new(Self((0..count).map(pack).collect(), AtomicUsize::new(0)))
    }

    fn take_asked(&self) -> usize {
        self.1.swap(0, Ordering::Relaxed)
    }
}

impl BlockStore for Counted {
    fn at_or_before(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let index = (offset.0 / EVENTS_PER_BLOCK) as usize;
        Ok(self.0.get(index).or_else(|| self.0.last()).cloned())
    }

    fn at_or_after(&self, offset: Offset) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.get(offset.0.div_ceil(EVENTS_PER_BLOCK) as usize).cloned())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn dense(&self) -> Offset {
        Offset(0)
    }
}

#[test]
fn neighbouring_events_are_read_with_one_question_per_block() {
    let store = Counted::blocks(10);
    let plain = LogReader::new(SHARD, Arc::clone(&store) as Arc<dyn BlockStore>);
    let remembering = plain.remembering();
    let all =
        |reader: &LogReader| (0..40).rev().map(|offset| reader.event(Offset(offset)).unwrap()).collect();
    let expected: Vec<_> = all(&plain);
    assert_eq!(store.take_asked(), 40);
    let found: Vec<_> = all(&remembering);
    assert_eq!(store.take_asked(), 10);
    assert_eq!(found, expected);
    assert_eq!(remembering.event(Offset(40)).unwrap(), None);
}

#[test]
fn only_so_many_blocks_are_kept_and_those_used_last_are_among_them() {
    let count = RECENT_BLOCKS_MAX as u64 + 1;
    let store = Counted::blocks(count);
    let reader = LogReader::new(SHARD, Arc::clone(&store) as Arc<dyn BlockStore>).remembering();
    let read = |block: u64| reader.event(Offset(block * EVENTS_PER_BLOCK)).unwrap().unwrap();
    (0..count - 1).map(read).for_each(drop);
    read(0);
    assert_eq!(store.take_asked(), RECENT_BLOCKS_MAX);
    read(count - 1);
    assert_eq!(store.take_asked(), 1);
    read(0);
    assert_eq!(store.take_asked(), 0, "it was used a moment ago");
    read(1);
    assert_eq!(store.take_asked(), 1, "it was not used for the longest time");
}
