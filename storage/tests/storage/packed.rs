//! Blocks as the log has them, made by hand.

use bytes::Bytes;
use keyway_storage::{block::PackedBlock, place::ShardId};
use xxhash_rust::xxh3::xxh3_64;

/// Where the table begins.
pub const TABLE: usize = 40;
/// Bytes of an event in the table.
pub const ENTRY_BYTES: usize = 8;

/// The block with a checksum that is right, whatever else is in it.
pub fn sealed(mut packed: Vec<u8>) -> Bytes {
    packed[32..TABLE].fill(0);
    let checksum = xxh3_64(&packed);
    packed[32..TABLE].copy_from_slice(&checksum.to_le_bytes());
    packed.into()
}

/// Whether a block of shard 0 is refused with this bit flipped, and when it is cut off before that byte.
pub fn is_never_served(packed: &[u8], index: usize, bit: u8) -> bool {
    let mut flipped = packed.to_vec();
    flipped[index] ^= 1 << bit;
    let is_refused = |value: Vec<u8>| PackedBlock::parse(ShardId(0), value.into()).is_err();
    is_refused(flipped) && is_refused(packed[..index].to_vec())
}
