//! Dead letters in a data dir whose server is stopped, as if a reader of Kafka had left them.

use std::path::Path;

use bytes::Bytes;
use keyway_engine::shard::last_time;
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability},
    event::{DeadLettered, Letter, Position, Reason, TriggerId},
    log::Log,
    place::ShardId,
};
use serde_json::json;

/// Dead letters in each log, one a turn.
pub fn write_letters(data: &Path, of: impl Fn(ShardId) -> Vec<DeadLettered>) {
    let data = DataDir::open_existing(data).unwrap();
    let mut ends = Vec::new();
    for shard in data.shards() {
        let mut store = data.open_shard(shard, Durability::Fsync, None).unwrap();
        let mut block = Block::new(shard);
        for letter in of(shard) {
            let end = store.log.live().end;
            let last = last_time(&store.log.reader(), end).unwrap();
            block.begin(end, last.plus_millis(1));
            block.push(&letter.into());
            store.log.append(&mut block).unwrap();
        }
        ends.push(store.log.live().end);
    }
    data.note_tails(&ends).unwrap();
}

/// A message of the topic `measures` that became no work order.
pub fn dead_letter(trigger: TriggerId, n: u64, key: u64, raw: String) -> DeadLettered {
    let request = json!({
        "headers": [], "key": key.to_string(), "offset": n, "partition": key % 2, "topic": "measures", "ts": 1,
    });
    let letter = Letter {
        request: Bytes::from(request.to_string()),
        raw: Some(raw.into_bytes().into()),
        reason: Reason::NoRunCreated,
        detail: "no run was made".into(),
    };
    DeadLettered { trigger, position: Position::None, letter }
}
