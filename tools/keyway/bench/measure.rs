//! Makes figures of what a load saw.
//!
//! Invariant: a rate counts what was done within the measured seconds; latencies are those of all requests that arrived in
//! them, whenever they were answered.

use std::collections::BTreeMap;

use super::{
    load::{Outcome, Second, interval::Interval},
    report::{Latency, Measure, Sample},
};

/// Less CPU than this is not told: five ticks of the kernel's clock.
const CPU_SECONDS_MIN: f64 = 0.05;
/// Where the curve over the percentiles begins to show each decade in steps.
const CURVE_STEPS_PER_DECADE: u32 = 8;
/// Most decades of a curve: one request of ten million.
const CURVE_DECADES_MAX: u32 = 7;

/// The figures of a load.
pub fn of_outcome(name: &str, outcome: &Outcome) -> Measure {
    let mut all = outcome.late.clone();
    outcome.seconds.iter().for_each(|second| all.add(&second.interval));
    let done: u64 = outcome.seconds.iter().map(|second| second.interval.succeeded).sum();
    let seconds = outcome.seconds.len() as f64;
    let last = outcome.seconds.last();
    let used = |before: Option<f64>, after: Option<f64>| Some(after? - before?);
    let server = used(outcome.cpu_before.0, last.and_then(|second| second.server_cpu));
    let own = used(outcome.cpu_before.1, last.and_then(|second| second.own_cpu));
    Measure {
        name: name.to_owned(),
        seconds,
        events: done,
        per_second: if seconds > 0.0 { done as f64 / seconds } else { 0.0 },
        latency: (!all.latency_nanos.is_empty()).then(|| latency(&all)),
        statuses: all.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
        troubles: all.troubles.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        cpu_us_per_event: server.and_then(|cpu| cpu_us_per_event(cpu, done)),
        generator_cores: own.filter(|_| seconds > 0.0).map(|cpu| cpu / seconds),
        memory_bytes_max: outcome.seconds.iter().filter_map(|second| second.server_bytes).max(),
        appends: None,
        samples: samples(outcome),
    }
}

/// The figures of something that was done over and over; `statuses` and CPU are left out.
pub fn of_parts(name: &str, seconds: &[Interval], events_each: u64) -> Measure {
    let mut all = Interval::default();
    seconds.iter().for_each(|second| all.add(second));
    let sample = |(index, interval): (usize, &Interval)| Sample {
        per_second: (interval.succeeded * events_each) as f64,
        ..sample(index, interval)
    };
    Measure {
        name: name.to_owned(),
        events: all.succeeded * events_each,
        latency: (!all.latency_nanos.is_empty()).then(|| latency(&all)),
        statuses: BTreeMap::new(),
        samples: seconds.iter().enumerate().map(sample).collect(),
        ..Measure::default()
    }
}

/// CPU for each event, where there was enough of it: the kernel counts in hundredths of a second.
pub fn cpu_us_per_event(cpu_seconds: f64, events: u64) -> Option<f64> {
    (events > 0 && cpu_seconds >= CPU_SECONDS_MIN).then(|| cpu_seconds * 1e6 / events as f64)
}

/// Percentiles, and the curve.
fn latency(interval: &Interval) -> Latency {
    let histogram = &interval.latency_nanos;
    let at = |percentile: f64| interval.percentile_us(percentile);
    // Every tenth below 90 %, then ever closer to 100 %, as far as there are that many requests.
    let mut points: Vec<f64> = (0..9).map(|tenth| f64::from(tenth) * 10.0).collect();
    let decades = (histogram.len() as f64).log10().min(f64::from(CURVE_DECADES_MAX));
    for step in CURVE_STEPS_PER_DECADE..=CURVE_STEPS_PER_DECADE * CURVE_DECADES_MAX {
        let decade = f64::from(step) / f64::from(CURVE_STEPS_PER_DECADE);
        if decade <= decades {
            points.push(100.0 * (1.0 - 10_f64.powf(-decade)));
        }
    }
    Latency {
        mean_us: histogram.mean() / 1_000.0,
        p50_us: at(50.0),
        p90_us: at(90.0),
        p99_us: at(99.0),
        p999_us: at(99.9),
        p9999_us: at(99.99),
        max_us: histogram.max() as f64 / 1_000.0,
        curve: points.into_iter().map(|percentile| (percentile, at(percentile))).collect(),
    }
}

fn samples(outcome: &Outcome) -> Vec<Sample> {
    let before = [outcome.cpu_before.0].into_iter();
    let before = before.chain(outcome.seconds.iter().map(|second| second.server_cpu));
    let of_second = |(index, (second, before)): (usize, (&Second, Option<f64>))| Sample {
        cores: second.server_cpu.zip(before).map(|(after, before)| (after - before).max(0.0)),
        memory_bytes: second.server_bytes,
        ..sample(index, &second.interval)
    };
    outcome.seconds.iter().zip(before).enumerate().map(of_second).collect()
}

fn sample(index: usize, interval: &Interval) -> Sample {
    let at = |percentile| (!interval.latency_nanos.is_empty()).then(|| interval.percentile_us(percentile));
    Sample {
        second: (index + 1) as f64,
        per_second: interval.succeeded as f64,
        p50_us: at(50.0),
        p99_us: at(99.0),
        errors: interval.errors(),
        cores: None,
        memory_bytes: None,
    }
}
