//! Two ways to do the same work, in turns of a second, so that the noise of a machine hits both alike.
//!
//! Invariant: each side is timed by its own clock; what one does while it is not its turn is not counted.

use std::time::{Duration, Instant};

use crate::{
    bench::{
        load::interval::Interval,
        measure::{cpu_us_per_event, of_parts},
        process::Process,
        report::Measure,
    },
    failure::Failure,
};

/// One side of a contest.
pub struct Side<'a> {
    name: &'a str,
    events_each: u64,
    work: &'a mut dyn FnMut() -> Result<(), Failure>,
    seconds: Vec<Interval>,
    took: Duration,
    cpu: f64,
}

impl<'a> Side<'a> {
    /// Something that does so many events each time.
    pub fn new(name: &'a str, events_each: u64, work: &'a mut dyn FnMut() -> Result<(), Failure>) -> Self {
        Self { name, events_each, work, seconds: Vec::new(), took: Duration::ZERO, cpu: 0.0 }
    }

    /// Works for a second.
    fn second(&mut self) -> Result<(), Failure> {
        let (started, cpu) = (Instant::now(), own_cpu());
        let mut interval = Interval::default();
        while started.elapsed() < Duration::from_secs(1) {
            let begun = Instant::now();
            (self.work)()?;
            interval.note_latency(begun.elapsed());
            interval.succeeded += 1;
        }
        self.took += started.elapsed();
        self.cpu += own_cpu() - cpu;
        self.seconds.push(interval);
        Ok(())
    }

    fn measure(&self) -> Measure {
        done(of_parts(self.name, &self.seconds, self.events_each), self.took, self.cpu)
    }
}

/// Lets both sides work, a second each, as long as `goes_on` says.
pub fn contest(
    mut one: Side<'_>,
    mut other: Side<'_>,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(Measure, Measure), Failure> {
    let mut second = 0;
    while goes_on(second) {
        one.second()?;
        other.second()?;
        second += 1;
    }
    Ok((one.measure(), other.measure()))
}

/// Times something that is done once; it says how many events it did.
pub fn once(name: &str, work: impl FnOnce() -> Result<u64, Failure>) -> Result<Measure, Failure> {
    let (started, cpu) = (Instant::now(), own_cpu());
    let events = work()?;
    let (took, cpu) = (started.elapsed(), own_cpu() - cpu);
    let mut interval = Interval::default();
    interval.note_latency(took);
    interval.succeeded = 1;
    Ok(done(of_parts(name, &[interval], events), took, cpu))
}

fn done(measure: Measure, took: Duration, cpu: f64) -> Measure {
    let seconds = took.as_secs_f64();
    let events = measure.events as f64;
    Measure {
        seconds,
        per_second: if seconds > 0.0 { events / seconds } else { 0.0 },
        cpu_us_per_event: cpu_us_per_event(cpu, measure.events),
        ..measure
    }
}

fn own_cpu() -> f64 {
    Process::own().cpu_seconds().unwrap_or_default()
}
