//! What a load thread saw in one second.
//!
//! Invariant: what was refused or broke off is counted and has no latency; what was not answered in time has the time
//! that it waited as its latency, so that a server cannot look fast by falling silent.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

/// Longest latency that is told from a longer one: an hour, in nanoseconds.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// What one thread, or all of them, saw in one second.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Latencies in nanoseconds.
    pub latency_nanos: Histogram<u64>,
    /// Requests that were answered with success.
    pub succeeded: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by what became of them.
    pub troubles: BTreeMap<&'static str, u64>,
}

impl Default for Interval {
    fn default() -> Self {
        let latency_nanos = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, DIGITS);
        let latency_nanos = latency_nanos.expect("the bounds are an hour, and three digits");
        Self { latency_nanos, succeeded: 0, statuses: BTreeMap::new(), troubles: BTreeMap::new() }
    }
}

impl Interval {
    /// Notes a latency.
    pub fn note_latency(&mut self, latency: Duration) {
        self.latency_nanos.saturating_record(latency.as_nanos() as u64);
    }

    /// Notes an answer.
    pub fn note_answer(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
        self.succeeded += u64::from(is_success(status));
    }

    /// Notes a request without an answer.
    pub fn note_trouble(&mut self, trouble: &'static str) {
        *self.troubles.entry(trouble).or_default() += 1;
    }

    /// Takes in what another thread, or another second, saw.
    pub fn add(&mut self, other: &Self) {
        self.latency_nanos.add(&other.latency_nanos).expect("all histograms have the same bounds");
        self.succeeded += other.succeeded;
        other.statuses.iter().for_each(|(status, count)| *self.statuses.entry(*status).or_default() += count);
        other.troubles.iter().for_each(|(name, count)| *self.troubles.entry(name).or_default() += count);
    }

    /// Requests that were refused, broke off or were not answered.
    pub fn errors(&self) -> u64 {
        let refused =
            self.statuses.iter().filter(|(status, _)| !is_success(**status)).map(|(_, count)| count);
        refused.chain(self.troubles.values()).sum()
    }

    /// The latency at a percentile, in microseconds.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.latency_nanos.value_at_quantile(percentile / 100.0) as f64 / 1_000.0
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.latency_nanos.reset();
        self.succeeded = 0;
        self.statuses.clear();
        self.troubles.clear();
    }
}

/// Whether a status says that the request was taken.
pub fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}
