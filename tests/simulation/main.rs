//! The engine's pure core under a seeded schedule of inputs, claims, reports, crashes, cancels and passing time.
//!
//! Invariant of the test: everything that happens follows from the seed. A seed that failed once stays in `PAST`.
//! `KEYWAY_SIMULATION_SEEDS=N` says how many seeds to run, `KEYWAY_SIMULATION_SEED=S` runs one of them.

#![allow(clippy::unwrap_used)]

mod again;
mod copy;
mod model;
mod world;

use world::World;

const SEEDS: u64 = 10_000;
const STEPS: usize = 60;
/// Seeds that once found a bug.
const PAST: &[u64] = &[142, 275, 373, 7_250, 13_253];

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.finish();
}

#[test]
fn every_seed_keeps_what_the_engine_promises() {
    if let Some(seed) = number("KEYWAY_SIMULATION_SEED") {
        return run(seed);
    }
    let seeds = number("KEYWAY_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let own = (0..seeds).skip(thread as usize).step_by(threads as usize);
                for seed in own.chain(PAST.iter().copied().filter(|_| thread == 0)) {
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
