//! What the server counts of its appends, read from `/metrics`.
//!
//! Invariant: only differences of two readings are used, so that it does not matter how long the server has run.

use std::collections::BTreeMap;

use crate::bench::report::Appends;

/// One reading.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Cumulated counts by upper bound in microseconds, over all shards; the last bound has no end.
    buckets: BTreeMap<u64, u64>,
    seconds: f64,
    appends: u64,
    events: u64,
}

impl Metrics {
    /// Reads the text that Prometheus scrapes.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let value: f64 = value.parse().unwrap_or_default();
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            match name {
                "keyway_append_duration_seconds_bucket" => {
                    let bound = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
                    let seconds = bound.and_then(|bound| bound.parse::<f64>().ok()).unwrap_or(f64::INFINITY);
                    let micros = if seconds.is_finite() { (seconds * 1e6).round() as u64 } else { u64::MAX };
                    *metrics.buckets.entry(micros).or_default() += value as u64;
                }
                "keyway_append_duration_seconds_sum" => metrics.seconds += value,
                "keyway_append_duration_seconds_count" => metrics.appends += value as u64,
                "keyway_log_events_total" => metrics.events += value as u64,
                _ => {}
            }
        }
        metrics
    }

    /// What was appended since another reading.
    pub fn since(&self, before: &Self) -> Appends {
        let count = self.appends.saturating_sub(before.appends);
        let each = |value: f64| if count == 0 { 0.0 } else { value / count as f64 };
        let mut below = 0;
        let bucket = |(bound, cumulated): (&u64, &u64)| {
            let until = cumulated.saturating_sub(before.buckets.get(bound).copied().unwrap_or_default());
            let inside = until.saturating_sub(below);
            below = until;
            ((*bound != u64::MAX).then_some(*bound as f64), inside)
        };
        Appends {
            count,
            events_mean: (count > 0).then(|| each(self.events.saturating_sub(before.events) as f64)),
            mean_us: each((self.seconds - before.seconds) * 1e6),
            buckets: self.buckets.iter().map(bucket).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    const BEFORE: &str = "# TYPE keyway_append_duration_seconds histogram\n\
        keyway_append_duration_seconds_sum{shard=\"0\"} 0.5\n\
        keyway_append_duration_seconds_count{shard=\"0\"} 10\n\
        keyway_append_duration_seconds_bucket{le=\"0.0001\",shard=\"0\"} 4\n\
        keyway_append_duration_seconds_bucket{le=\"+Inf\",shard=\"0\"} 10\n\
        keyway_log_events_total{shard=\"0\"} 10\n# EOF\n";
    const AFTER: &str = "keyway_append_duration_seconds_sum{shard=\"0\"} 0.7\n\
        keyway_append_duration_seconds_count{shard=\"0\"} 20\n\
        keyway_append_duration_seconds_count{shard=\"1\"} 10\n\
        keyway_append_duration_seconds_bucket{le=\"0.0001\",shard=\"0\"} 9\n\
        keyway_append_duration_seconds_bucket{le=\"+Inf\",shard=\"0\"} 20\n\
        keyway_append_duration_seconds_bucket{le=\"0.0001\",shard=\"1\"} 10\n\
        keyway_append_duration_seconds_bucket{le=\"+Inf\",shard=\"1\"} 10\n\
        keyway_log_events_total{shard=\"0\"} 50\n";

    #[test]
    fn appends_are_the_difference_over_all_shards() {
        let appends = Metrics::parse(AFTER).since(&Metrics::parse(BEFORE));
        assert_eq!(appends.count, 20);
        assert_eq!(appends.events_mean, Some(2.0));
        assert!((appends.mean_us - 10_000.0).abs() < 0.01, "{}", appends.mean_us);
        assert_eq!(appends.buckets, [(Some(100.0), 15), (None, 5)]);
    }
}
