//! The append path allocates nothing per event: a turn of four thousand inputs costs as many allocations as its rows.

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
use keyway_storage::directory::Durability;

fn allocations(shard: &mut Shard, left: &AtomicU64, inputs: u64) -> u64 {
    left.store(inputs, Ordering::Relaxed);
    let counted = allocation_counter::measure(|| {
        shard.turn(time::now()).unwrap();
    });
    assert_eq!(left.load(Ordering::Relaxed), 0, "one turn takes them all");
    counted.count_total
}

#[test]
fn a_turn_allocates_for_its_rows_and_not_for_its_events() {
    let home = tempfile::tempdir().unwrap();
    let (catalog, bell) = (catalog(), Arc::default());
    let dir = data(home.path());
    let mut shard = open(&dir, Durability::Os, &catalog, &bell);
    apply(&mut shard);
    let left = Arc::new(AtomicU64::new(0));
    shard.connect(vec![Box::new(Flood::new(&left))]);
    for _ in 0..4 {
        allocations(&mut shard, &left, 4_000);
    }
    let small: u64 = (0..8).map(|_| allocations(&mut shard, &left, 1_000)).sum();
    let large: u64 = (0..8).map(|_| allocations(&mut shard, &left, 4_000)).sum();
    let per_event = (large - small) as f64 / (8.0 * 3_000.0);
    println!("{small} allocations in 8 turns of 1,000 inputs, {large} in 8 of 4,000: {per_event} per event");
    // Three rows for each 256 offsets, with their keys and values in the store's memory.
    assert!(per_event < 0.25, "{per_event} allocations per event");
}
