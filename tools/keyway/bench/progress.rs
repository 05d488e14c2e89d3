//! The line that shows how far a bench is.
//!
//! Invariant: it goes to stderr, and only to a terminal: what is piped gets the report alone.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
};

use super::{load::interval::Interval, unit};

/// Seconds that the sparkline shows.
const SPARKS_MAX: usize = 24;
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows how far a bench is.
pub struct Progress {
    on_terminal: bool,
    label: String,
    rates: VecDeque<f64>,
}

impl Progress {
    /// A line on stderr, if that is a terminal.
    pub fn new() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), label: String::new(), rates: VecDeque::new() }
    }

    /// Begins with another step.
    pub fn begin(&mut self, label: &str) {
        label.clone_into(&mut self.label);
        self.rates.clear();
        self.show(label);
    }

    /// Shows a second of a load.
    pub fn second(&mut self, second: u64, warm_up: u64, seconds: u64, interval: &Interval) {
        if self.rates.len() == SPARKS_MAX {
            self.rates.pop_front();
        }
        self.rates.push_back(interval.succeeded as f64);
        let at = match second < warm_up {
            true => "warming up".to_owned(),
            false => format!("{:>3}/{seconds} s", second + 1 - warm_up),
        };
        self.show(&format!(
            "{}  {at}  {}/s  p50 {}  p99 {}  {} errors  {}",
            self.label,
            unit::count(interval.succeeded as f64),
            unit::micros(interval.percentile_us(50.0)),
            unit::micros(interval.percentile_us(99.0)),
            interval.errors(),
            sparkline(&self.rates),
        ));
    }

    /// Shows how much of a step is done.
    pub fn part(&mut self, done: u64, of: u64) {
        let percent = done * 100 / of.max(1);
        self.show(&format!("{}  {percent:>3} %", self.label));
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        self.show("");
    }

    fn show(&mut self, text: &str) {
        if self.on_terminal {
            // A terminal that takes no line takes the next one, or nobody looks.
            let _ = write!(io::stderr(), "\r\u{1b}[2K{text}").and_then(|()| io::stderr().flush());
        }
    }
}

fn sparkline(values: &VecDeque<f64>) -> String {
    let most = values.iter().copied().fold(1.0, f64::max);
    let spark = |value: &f64| SPARKS[((value / most * 7.0).round() as usize).min(7)];
    values.iter().map(spark).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_is_as_high_as_its_values() {
        assert_eq!(sparkline(&[0.0, 50.0, 100.0].into_iter().collect()), "▁▅█");
        assert_eq!(sparkline(&[0.0].into_iter().collect()), "▁");
    }
}
