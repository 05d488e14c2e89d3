//! Where partitions of a topic are read: on all shards alike, whatever the number of shards was before.

use keyway_engine::route::Route;
use keyway_storage::{
    event::{Position, TriggerId},
    place::ShardId,
    routes::Routes,
};

/// More than a machine of today has cores for.
const SHARDS: u16 = 64;
const TOPICS: [&str; 3] = ["orders/b7f0c7a4-4a83-4f0a-9d0c-1f8f4d8a2b11", "patients/-", "lab.results/2f"];

fn owner(routes: &Routes, topic: &str, partition: u32) -> ShardId {
    let position = Position::Next { stream: format!("{topic}/{partition}").into(), number: 7 };
    Route { trigger: TriggerId([7; 16]), serial: None, key: None, position: &position }.owner(routes).unwrap()
}

/// How many of the partitions each shard has.
fn held(routes: &Routes, topic: &str, partitions: u32) -> Vec<u32> {
    let mut held = vec![0; usize::from(routes.taking())];
    (0..partitions).for_each(|partition| held[usize::from(owner(routes, topic, partition).0)] += 1);
    held
}

#[test]
fn partitions_are_spread_evenly_over_any_number_of_shards() {
    for shards in 1..=SHARDS {
        let routes = Routes::plain(shards);
        for topic in TOPICS {
            for partitions in [1, 2, 3, 8, 50, 600] {
                let held = held(&routes, topic, partitions);
                let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
                assert!(most - least <= 1, "{shards} shards, {topic}, {partitions} partitions: {held:?}");
            }
        }
    }
}

#[test]
fn partitions_are_spread_over_the_shards_of_a_data_dir_that_was_resharded() {
    for (before, after) in [(1, 2), (1, 4), (2, 3), (2, 8), (4, 2), (3, 5)] {
        let wide = Routes::plain(before).widened();
        let routes = wide.spread(after, &vec![None; wide.len()]);
        for topic in TOPICS {
            let held = held(&routes, topic, 32 * u32::from(after));
            assert!(
                held.iter().all(|held| (24..=40).contains(held)),
                "{before} -> {after}, {topic}: {held:?}"
            );
        }
    }
}

#[test]
fn what_is_no_partition_has_one_owner() {
    let routes = Routes::plain(8);
    let stream = |stream: &str| {
        let position = Position::Next { stream: stream.into(), number: 7 };
        Route { trigger: TriggerId([7; 16]), serial: None, key: None, position: &position }.hash()
    };
    assert_eq!(stream("orders"), stream("orders"));
    assert_ne!(stream("orders"), stream("orders/-"));
    assert_ne!(stream("orders/-/0"), stream("orders/-/1"));
    assert!(routes.owner(stream("ticks").unwrap()).0 < 8);
}
