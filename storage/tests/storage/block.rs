//! Blocks in tests.

use keyway_storage::{
    block::Block,
    event::EventKind,
    place::{Offset, ShardId, Timestamp},
};

/// A block of these events of shard 0.
pub fn block_of(first: u64, kinds: &[EventKind]) -> Block {
    let mut block = Block::new(ShardId(0));
    block.begin(Offset(first), Timestamp(1_000 * first));
    for kind in kinds {
        block.push(kind);
    }
    block
}
