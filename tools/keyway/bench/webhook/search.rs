//! Searches for the highest rate that holds a latency objective.
//!
//! Invariant: the rate that is reported was measured, with arrivals that wait for nothing, and held the objective without
//! an error.

use keyway_storage::limits::BENCH_PROBES_MAX;

use super::{Bench, Plan};
use crate::{args::bench::Objective, bench::report::Search, failure::Failure};

/// The first rate, as a share of what the connections carry when each waits for its answer.
const FIRST_SHARE: f64 = 0.8;
/// A rate above what the connections carry cannot be held.
const MOST_SHARE: f64 = 1.1;
/// The search is over when it is known to this share.
const PRECISION: f64 = 0.05;

/// Measures what the connections carry, and then rates below it, halving what is left in between.
pub fn search(bench: &mut Bench<'_>, objective: Objective) -> Result<(), Failure> {
    let flags = &bench.flags.load;
    let (connections, seconds) = (flags.connections[0], flags.seconds);
    let baseline = !bench.flags.target.no_baseline;
    bench.step(&Plan { connections, rate: None, seconds, baseline })?;
    let carried = bench.report.steps.last().map_or(0.0, |step| step.measured.per_second);
    let within_us = objective.within.as_secs_f64() * 1e6;
    let mut search = Search { percentile: objective.percentile, within_us, rate: None, probes: Vec::new() };
    let (mut low, mut high) = (0.0, carried * MOST_SHARE);
    let mut rate = carried * FIRST_SHARE;
    while bench.goes_on
        && carried > 0.0
        && search.probes.len() < BENCH_PROBES_MAX
        && high - low > PRECISION * high
    {
        let seen =
            bench.step(&Plan { connections, rate: Some(rate.round().max(1.0)), seconds, baseline: false })?;
        if !bench.goes_on {
            break;
        }
        let latency_us = seen.percentile_us(objective.percentile);
        let holds = seen.errors() == 0 && latency_us <= within_us;
        search.probes.push((rate.round(), latency_us, holds));
        if holds {
            (low, search.rate) = (rate, Some(rate.round()));
        } else {
            high = rate;
        }
        rate = f64::midpoint(low, high);
    }
    let rate = search.rate;
    bench.report.search = Some(search);
    match rate {
        Some(_) => Ok(()),
        None => Err(Failure::Failed("no rate was found that holds the objective".to_owned())),
    }
}
