//! When requests are sent: at times that are fixed in advance, whatever the server does.
//!
//! Invariant: a slow answer moves no arrival. The latency of a request counts from its arrival, so that one that had to
//! wait for a free connection has waited.

use std::time::Duration;

use super::random::Random;

/// The arrivals of one load thread.
pub struct Schedule {
    mean_seconds: f64,
    next_seconds: f64,
    random: Option<Random>,
}

impl Schedule {
    /// This thread's share of a rate: thread number `thread` of `threads`. With `random` by chance, without evenly.
    pub fn new(rate: f64, thread: usize, threads: usize, random: Option<Random>) -> Self {
        let mean_seconds = threads as f64 / rate;
        let mut schedule = Self { mean_seconds, next_seconds: thread as f64 / rate, random };
        if schedule.random.is_some() {
            schedule.next_seconds = 0.0;
            schedule.advance();
        }
        schedule
    }

    /// When the next request arrives, from the beginning.
    pub fn next(&self) -> Duration {
        Duration::from_secs_f64(self.next_seconds)
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        let pause = match &mut self.random {
            // Pauses between arrivals that do not know of each other are exponentially distributed.
            Some(random) => -(1.0 - random.unit()).ln(),
            None => 1.0,
        };
        self.next_seconds += pause * self.mean_seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Schedule};

    fn arrivals(schedule: &mut Schedule, seconds: f64) -> usize {
        let mut count = 0;
        while schedule.next().as_secs_f64() < seconds {
            schedule.advance();
            count += 1;
        }
        count
    }

    #[test]
    fn threads_share_a_rate() {
        let count: usize = (0..3).map(|n| arrivals(&mut Schedule::new(1_000.0, n, 3, None), 10.0)).sum();
        assert!((9_997..=10_003).contains(&count), "{count}");
    }

    #[test]
    fn arrivals_by_chance_keep_the_rate() {
        let count = arrivals(&mut Schedule::new(1_000.0, 0, 1, Some(Random::new(3))), 100.0);
        assert!((99_000..101_000).contains(&count), "{count}");
    }
}
