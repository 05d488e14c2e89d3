//! The append path allocates nothing per event: a turn of four thousand inputs costs as many allocations as its rows, and
//! packing and appending them costs as many as of a hundred.

#![allow(clippy::unwrap_used)]

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use common::{Flood, apply, catalog, data, open};
use keyway_engine::shard::Shard;
use keyway_ingest::time;
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability},
    event::{EventKind, LaneId, Position, Received, TriggerId, WorkflowId},
    log::{EmbeddedLog, Log},
    place::{Offset, ShardId, Timestamp},
};

fn allocations(shard: &mut Shard, left: &AtomicU64, inputs: u64) -> u64 {
    left.store(inputs, Ordering::Relaxed);
    let counted = allocation_counter::measure(|| {
        shard.turn(time::now()).unwrap();
    });
    assert_eq!(left.load(Ordering::Relaxed), 0, "one turn takes them all");
    counted.count_total
}

/// Allocations that one more input of a flood costs in a turn.
fn per_event(flood: fn(&Arc<AtomicU64>) -> Flood) -> f64 {
    let home = tempfile::tempdir().unwrap();
    let (catalog, bell) = (catalog(), Arc::default());
    let dir = data(home.path());
    let mut shard = open(&dir, Durability::Os, &catalog, &bell);
    apply(&mut shard);
    let left = Arc::new(AtomicU64::new(0));
    shard.connect(vec![Box::new(flood(&left))]);
    for _ in 0..4 {
        allocations(&mut shard, &left, 4_000);
    }
    let small: u64 = (0..8).map(|_| allocations(&mut shard, &left, 1_000)).sum();
    let large: u64 = (0..8).map(|_| allocations(&mut shard, &left, 4_000)).sum();
    let per_event = (large - small) as f64 / (8.0 * 3_000.0);
    println!("{small} allocations in 8 turns of 1,000 inputs, {large} in 8 of 4,000: {per_event} per event");
    per_event
}

// Three rows for each 256 offsets, with their keys and values in the store's memory; what is read from a stream is
// counted as open in a fourth.
const ROWS_PER_EVENT: f64 = 0.25;

#[test]
fn a_turn_allocates_for_its_rows_and_not_for_its_events() {
    let allocations = per_event(Flood::new);
    assert!(allocations < ROWS_PER_EVENT, "{allocations} allocations per event");
}

#[test]
fn a_turn_allocates_for_its_rows_and_not_for_the_messages_of_a_partition() {
    let allocations = per_event(|left| Flood::of_stream(left, "orders/Kb5mU0fLQuyTv7n8rV1y1A/0"));
    assert!(allocations < ROWS_PER_EVENT, "{allocations} allocations per event");
}

fn received() -> EventKind {
    let lane = LaneId { owner: 1, number: 0, key: 0 };
    EventKind::Received(Received {
        trigger: TriggerId([1; 16]),
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::None,
        lane,
        key: None,
        request: b"{\"method\":\"POST\"}"[..].into(),
        body: vec![b'7'; 300].into(),
        replays: None,
    })
}

/// Allocations of a turn's events on their way to the disk.
fn appended(log: &mut EmbeddedLog, block: &mut Block, event: &EventKind, events: usize) -> u64 {
    let counted = allocation_counter::measure(|| {
        block.begin(log.live().end, Timestamp(1));
        for _ in 0..events {
            block.push(event);
        }
        log.append(block).unwrap();
    });
    counted.count_total
}

#[test]
fn packing_and_appending_allocates_the_same_for_a_hundred_events_as_for_four_thousand() {
    let home = tempfile::tempdir().unwrap();
    let data = DataDir::open(home.path(), 1).unwrap();
    let mut log = data.open_shard(ShardId(0), Durability::Os, None).unwrap().log;
    let (mut block, event) = (Block::new(ShardId(0)), received());
    for _ in 0..4 {
        appended(&mut log, &mut block, &event, 4_000);
    }
    // The store now and then does more, when a buffer of its own is full: what a turn costs by itself is the least of some.
    let mut least = |events: usize| (0..8).map(|_| appended(&mut log, &mut block, &event, events)).min();
    let [few, some, many] = [100, 1_000, 4_000].map(&mut least);
    println!("{few:?} allocations for 100 events, {some:?} for 1,000, {many:?} for 4,000");
    assert_eq!((some, many), (few, few), "no allocation belongs to an event");
}
