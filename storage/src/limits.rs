//! Every bound, with its unit in the name and its reason beside it.

/// Most commands one turn may decide. Bounds the time a caller waits behind others: one sync.
pub const BATCH_COMMANDS_MAX: usize = 4_096;
/// Most bytes of inputs one turn may take in. Bounds a block, and with it the memory of a turn.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Most events one block may hold: the commands of a turn, and what their reports and holds add.
pub const BLOCK_EVENTS_MAX: usize = 65_536;
/// Most bytes of a block's events. A full batch always fits, with room for what deciding adds.
pub const BLOCK_BYTES_MAX: usize = 64 << 20;
/// Largest request body that may be configured. A body becomes one event, so this bounds an event too.
pub const PAYLOAD_BYTES_MAX: usize = 10_000_000;
/// Most runs of one work order: the number of a run is part of its id.
pub const RUNS_PER_WORK_ORDER_MAX: u8 = 200;
/// Most shards of a data dir: the number of a shard is one byte of an id.
pub const SHARDS_MAX: u16 = 256;

// A full-size payload must always fit in an empty batch, or its sender would retry for ever.
const _: () = assert!(BATCH_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX > 2 * BATCH_BYTES_MAX);
/// Most runs of one shard that callers wait for. Each costs a map entry and a parked connection.
pub const FOLLOWS_MAX: usize = 16_384;
