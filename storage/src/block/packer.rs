//! Packs archives into one lz4 block, and gives them back.
//!
//! Invariant: a block is packed once, before the store has it: its journal and its files keep what they are given. What
//! lz4 works with is reused, so that a turn allocates the value of the log and nothing else.

use std::fmt;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use crate::limits::{BLOCK_KEPT_BYTES_MAX, KV_SEPARATION_BYTES_MIN};

/// The memory that packing works in.
#[derive(Default)]
pub struct Packer {
    table: CompressTable,
    packed: Vec<u8>,
}

impl Packer {
    /// The archives packed, if that is worth it: it takes away an eighth at least. What the store keeps inside its tree it
    /// packs there, together with its neighbours.
    pub fn pack(&mut self, archives: &[u8]) -> Option<&[u8]> {
        if archives.len() < KV_SEPARATION_BYTES_MIN as usize {
            return None;
        }
        let bytes_max = get_maximum_output_size(archives.len());
        // Zeros are written once, not for each block.
        if self.packed.len() < bytes_max {
            self.packed.resize(bytes_max, 0);
        }
        let length = compress_into_with_table(archives, &mut self.packed, &mut self.table).ok()?;
        (length <= archives.len() - archives.len() / 8).then(|| &self.packed[..length])
    }

    /// Gives back what a large block took.
    pub fn shrink(&mut self) {
        if self.packed.len() > 2 * BLOCK_KEPT_BYTES_MAX {
            self.packed = Vec::new();
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// Puts back what was packed, all of it or nothing.
pub fn unpack(packed: &[u8], archives: &mut [u8]) -> Option<()> {
    (decompress_into(packed, archives).ok()? == archives.len()).then_some(())
}
