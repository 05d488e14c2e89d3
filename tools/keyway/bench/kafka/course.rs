//! How far something is over time, and the figures that follow from it.
//!
//! Invariant: the clock begins with the first message that is seen, not with the wait for a connection.

use std::time::{Duration, Instant};

use crate::bench::{
    measure::cpu_us_per_event,
    process::Process,
    report::{Measure, Sample},
};

/// The course of reading a topic.
pub struct Course {
    process: Process,
    /// When the first was seen, how many there were then, and the CPU until then.
    begun: Option<(Instant, u64, f64)>,
    last: (Instant, u64, f64),
    samples: Vec<Sample>,
    /// The end of the last sample.
    mark: (Instant, u64, f64),
}

impl Course {
    /// Nothing is seen yet; what is read costs this process.
    pub fn new(process: Process) -> Self {
        let now = (Instant::now(), 0, process.cpu_seconds().unwrap_or_default());
        Self { process, begun: None, last: now, samples: Vec::new(), mark: now }
    }

    /// So many were read by now.
    pub fn reach(&mut self, count: u64) {
        let at = Instant::now();
        if count == 0 || count == self.last.1 && at < self.mark.0 + Duration::from_secs(1) {
            return;
        }
        // Asking what a process used costs more than a message does: once a second, and at the first.
        let due = self.begun.is_none() || at >= self.mark.0 + Duration::from_secs(1);
        let cpu = if due { self.cpu() } else { self.last.2 };
        self.last = (at, count, cpu);
        if self.begun.is_none() {
            (self.begun, self.mark) = (Some(self.last), self.last);
        } else if due {
            let seconds = (at - self.mark.0).as_secs_f64();
            self.samples.push(Sample {
                second: (self.samples.len() + 1) as f64,
                per_second: (count - self.mark.1) as f64 / seconds,
                cores: Some((cpu - self.mark.2) / seconds),
                memory_bytes: self.process.memory_bytes(),
                ..Sample::default()
            });
            self.mark = self.last;
        }
    }

    /// The figures.
    pub fn measure(self, name: &str) -> Measure {
        let (begun, events) = match self.begun {
            Some(begun) => (begun, self.last.1 - begun.1),
            None => (self.last, 0),
        };
        let seconds = (self.last.0 - begun.0).as_secs_f64();
        Measure {
            name: name.to_owned(),
            seconds,
            events,
            per_second: if seconds > 0.0 { events as f64 / seconds } else { 0.0 },
            cpu_us_per_event: cpu_us_per_event(self.cpu() - begun.2, events),
            memory_bytes_max: self.samples.iter().filter_map(|sample| sample.memory_bytes).max(),
            samples: self.samples,
            ..Measure::default()
        }
    }

    fn cpu(&self) -> f64 {
        self.process.cpu_seconds().unwrap_or_default()
    }
}
