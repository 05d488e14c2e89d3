//! The blocks that a reader read last: whoever walks along a log reads each block once, not once per event.
//!
//! Invariant: blocks never change, so a kept one is as good as a fresh one; what is kept is bounded in bytes.

use std::sync::{Mutex, MutexGuard};

use crate::{
    block::PackedBlock,
    limits::{RECENT_BLOCKS_MAX, RECENT_BYTES_MAX},
    place::Offset,
};

/// Blocks, the one used last at the end.
#[derive(Default)]
pub struct Recent(Mutex<Vec<PackedBlock>>);

impl Recent {
    /// The kept block that holds an offset.
    pub fn find(&self, offset: Offset) -> Option<PackedBlock> {
        let mut blocks = self.lock();
        let holds = |block: &PackedBlock| (block.span().first..block.span().end).contains(&offset);
        let index = blocks.iter().rposition(holds)?;
        let block = blocks.remove(index);
        blocks.push(block.clone());
        Some(block)
    }

    /// Keeps a block, in the place of those that were not used for the longest time.
    pub fn keep(&self, block: &PackedBlock) {
        let mut blocks = self.lock();
        blocks.retain(|kept| kept.span().first != block.span().first);
        blocks.push(block.clone());
        while blocks.len() > RECENT_BLOCKS_MAX || blocks.len() > 1 && bytes(&blocks) > RECENT_BYTES_MAX {
            blocks.remove(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PackedBlock>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn bytes(blocks: &[PackedBlock]) -> usize {
    blocks.iter().map(PackedBlock::bytes).sum()
}
