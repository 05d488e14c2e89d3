//! The engine's pure core under a seeded schedule of inputs, claims, reports, crashes, cancels and passing time.
//!
//! Invariant of the test: everything that happens follows from the seed. A seed that failed once stays in `PAST`.
//! `KEYWAY_SIMULATION_SEEDS=N` says how many seeds to run, `KEYWAY_SIMULATION_SEED=S` runs one of them.

#![allow(clippy::unwrap_used)]

mod again;
mod copy;
mod cut;
mod kafka;
mod model;
mod reshard;
mod wish;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use kafka::Kafka;
use keyway_storage::{log::Log, place::Offset};
use world::World;

const SEEDS: u64 = 10_000;
const STEPS: usize = 60;
/// Seeds of the schedule with a broker, each with more that goes wrong.
const KAFKA_SEEDS: u64 = 1_000;
const KAFKA_STEPS: usize = 120;
/// Seeds that once found a bug.
const PAST: &[u64] = &[142, 275, 373, 7_250, 13_253, 43_643];
const KAFKA_PAST: &[u64] = &[37_859];

/// Over all seeds: how many work orders were cut, how many of them for the bytes of a workflow, how many logs, and how many
/// dead letters became work orders.
static COUNTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.finish();
    let logs = world.shards.iter().filter(|own| own.log.live().first > Offset(0)).count() as u64;
    let resent = world.model.resent as u64;
    for (all, count) in COUNTS.iter().zip([world.cuts + world.relieved, world.relieved, logs, resent]) {
        all.fetch_add(count, Ordering::Relaxed);
    }
}

#[test]
fn every_seed_keeps_what_the_engine_promises() {
    all(SEEDS, PAST, run);
    let [orders, relieved, logs, letters] = COUNTS.each_ref().map(|all| all.load(Ordering::Relaxed));
    if number("KEYWAY_SIMULATION_SEED").is_none() {
        assert!(orders > relieved);
        assert!(relieved > 0);
        assert!(logs > 0);
        assert!(letters > 0);
    }
}

fn run_kafka(seed: u64) {
    let mut kafka = Kafka::new(seed);
    for _ in 0..KAFKA_STEPS {
        kafka.step();
    }
    kafka.finish();
}

#[test]
fn every_seed_reads_kafka_once_and_in_order_whatever_the_broker_does() {
    all(KAFKA_SEEDS, KAFKA_PAST, run_kafka);
}

/// Runs seeds on all cores.
fn all(seeds: u64, past: &[u64], run: fn(u64)) {
    if let Some(seed) = number("KEYWAY_SIMULATION_SEED") {
        return run(seed);
    }
    let seeds = number("KEYWAY_SIMULATION_SEEDS").unwrap_or(seeds);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let own = (0..seeds).skip(thread as usize).step_by(threads as usize);
                for seed in own.chain(past.iter().copied().filter(|_| thread == 0)) {
                    let outcome = std::panic::catch_unwind(|| run(seed));
                    assert!(
                        outcome.is_ok(),
                        "seed {seed} failed: KEYWAY_SIMULATION_SEED={seed} runs it alone"
                    );
                }
            });
        }
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
