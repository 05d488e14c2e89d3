//! The rate limit of a webhook under a clock that a test turns: exact over time and at once, from any number of threads.

use std::{sync::Barrier, thread};

use keyway_ingest::trigger::webhook::{bucket::Bucket, settings::RateLimit};
use keyway_storage::{limits::RATE_LIMIT_MAX, place::Timestamp};

const START: u64 = 1_779_357_600_000_000;
const SECOND: u64 = 1_000_000;

fn bucket(requests_per_second: u32, burst: u32) -> Bucket {
    Bucket::new(RateLimit { requests_per_second, burst })
}

fn at(micros: u64) -> Timestamp {
    Timestamp(START + micros)
}

/// How many of so many requests at one time are taken.
fn taken(bucket: &Bucket, requests: usize, now: Timestamp) -> usize {
    (0..requests).take_while(|_| bucket.take(now).is_ok()).count()
}

#[test]
fn a_burst_is_taken_at_once_and_the_rest_at_the_rate() {
    let bucket = bucket(50, 100);
    assert_eq!(taken(&bucket, 500, at(0)), 100);
    assert_eq!(taken(&bucket, 500, at(19_999)), 0);
    assert_eq!(taken(&bucket, 500, at(20_000)), 1);
    assert_eq!(taken(&bucket, 500, at(SECOND)), 49);
    // A pause fills it up to the burst, and not beyond.
    assert_eq!(taken(&bucket, 500, at(60 * SECOND)), 100);
}

#[test]
fn a_refusal_says_after_how_many_whole_seconds_there_is_room() {
    let slow = bucket(1, 1);
    assert_eq!(slow.take(at(0)), Ok(()));
    assert_eq!(slow.take(at(0)), Err(1));
    assert_eq!(slow.take(at(999_999)), Err(1));
    assert_eq!(slow.take(at(SECOND)), Ok(()));
    let fast = bucket(1_000, 1);
    assert_eq!((fast.take(at(0)), fast.take(at(0))), (Ok(()), Err(1)));
}

#[test]
fn a_clock_that_goes_back_does_not_shut_the_door() {
    let bucket = bucket(10, 5);
    assert_eq!(taken(&bucket, 9, at(3_600 * SECOND)), 5);
    assert_eq!(taken(&bucket, 9, at(0)), 0);
    assert_eq!(taken(&bucket, 9, at(SECOND / 10)), 1);
    assert_eq!(taken(&bucket, 99, at(SECOND)), 5);
}

#[test]
fn the_rate_is_exact_over_a_minute_whatever_it_is() {
    for rate in [1, 3, 7, 50, 999, 12_345, 300_000, RATE_LIMIT_MAX as u32] {
        let bucket = bucket(rate, 1.max(rate / 10));
        let step = 1_000.min(SECOND / u64::from(rate) + 1);
        // The burst is spent first.
        taken(&bucket, rate as usize, at(0));
        let seconds = if rate > 10_000 { 1 } else { 60 };
        let asks = (1..=seconds * SECOND / step).map(|n| at(n * step));
        let most = rate as usize / 500 + 2;
        let got: usize = asks.map(|now| taken(&bucket, most, now)).sum();
        let wanted = rate as usize * seconds as usize;
        assert!(got.abs_diff(wanted) <= 1 + wanted / 1_000, "{rate}/s: {got} instead of {wanted}");
    }
}

#[test]
fn doors_that_take_at_once_take_exactly_what_there_is() {
    const DOORS: usize = 4;
    const ROUNDS: u64 = 500;
    let (bucket, barrier) = (bucket(1_000, 200), Barrier::new(DOORS));
    // All doors look at the clock at the same time, every ten milliseconds, and take all they can get.
    let door = || {
        let rounds = (0..ROUNDS).map(|round| {
            barrier.wait();
            taken(&bucket, usize::MAX, at(round * SECOND / 100))
        });
        rounds.sum::<usize>()
    };
    let counts: Vec<usize> = thread::scope(|scope| {
        let doors: Vec<_> = (0..DOORS).map(|_| scope.spawn(door)).collect();
        doors.into_iter().map(|door| door.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), 200 + 10 * (ROUNDS as usize - 1));
}
