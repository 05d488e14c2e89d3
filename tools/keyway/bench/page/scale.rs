//! Scales of charts: from values to places, and the values that are worth a line.
//!
//! Invariant: every value of a chart lies on its scale.

/// Where a decade has lines.
const PARTS: [f64; 3] = [1.0, 2.0, 5.0];

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Evenly, from zero.
    Linear,
    /// By their size.
    Logarithmic,
    /// Percentiles, by how few are left above them: each decade takes as much room as the one before.
    Percentile,
}

/// A scale from values to 0..1.
#[derive(Debug, Clone)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
}

impl Scale {
    /// A scale that all of these values lie on.
    pub fn new(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(|value| bend(kind, value)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match kind {
            Kind::Linear => low = low.min(0.0),
            Kind::Percentile => low = 0.0,
            // Lines above and below all values: what lies between two of them can be read.
            Kind::Logarithmic if low < high => (low, high) = (round(low, false), round(high, true)),
            Kind::Logarithmic => {}
        }
        if high - low < 1e-9 {
            high = low + 1.0;
        }
        Self { kind, low, high }
    }

    /// Where a value lies.
    pub fn place(&self, value: f64) -> f64 {
        (bend(self.kind, value) - self.low) / (self.high - self.low)
    }

    /// Values that get a line.
    pub fn ticks(&self) -> Vec<f64> {
        let inside = |value: &f64| (-1e-9..=1.0 + 1e-9).contains(&self.place(*value));
        match self.kind {
            Kind::Linear => {
                let step = step((self.high - self.low) / 5.0);
                (0..=12)
                    .map(|n| (self.low / step).ceil() * step + f64::from(n) * step)
                    .filter(inside)
                    .collect()
            }
            Kind::Logarithmic => {
                let parts: &[f64] = if self.high - self.low < 2.5 { &PARTS } else { &PARTS[..1] };
                let decades = (self.low.floor() as i32)..=(self.high.ceil() as i32);
                let of_decade = |decade: i32| parts.iter().map(move |part| part * 10_f64.powi(decade));
                decades.flat_map(of_decade).filter(inside).collect()
            }
            Kind::Percentile => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];
                all.into_iter().filter(inside).collect()
            }
        }
    }
}

/// The next line of a decade at or below a bent value, or at or above it.
fn round(value: f64, up: bool) -> f64 {
    let decade = value.floor();
    let lines = PARTS.map(|part| decade + part.log10());
    match up {
        true => lines.into_iter().find(|line| *line >= value - 1e-9).unwrap_or(decade + 1.0),
        false => lines.into_iter().rfind(|line| *line <= value + 1e-9).unwrap_or(decade),
    }
}

fn bend(kind: Kind, value: f64) -> f64 {
    match kind {
        Kind::Linear => value,
        Kind::Logarithmic => value.max(1e-3).log10(),
        Kind::Percentile => -((100.0 - value).max(1e-6) / 100.0).log10(),
    }
}

/// The next of 1, 2, 5, 10, 20, ...
fn step(rough: f64) -> f64 {
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().find(|step| step * decade >= rough * 0.999).unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use super::{Kind, Scale};

    #[test]
    fn a_linear_scale_begins_at_zero_and_has_round_lines() {
        let scale = Scale::new(Kind::Linear, [12.0, 48.0].into_iter());
        assert_eq!(scale.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!((scale.place(24.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_scale_by_size_has_a_line_above_and_below_all_values() {
        let scale = Scale::new(Kind::Logarithmic, [6_400.0, 18_000.0].into_iter());
        let near = |found: &[f64], expected: &[f64]| {
            found.iter().zip(expected).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-9)
        };
        let (ticks, expected) = (scale.ticks(), [5_000.0, 10_000.0, 20_000.0]);
        assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
        assert!(near(&ticks, &expected), "{ticks:?}");
        assert!(scale.place(6_400.0) > 0.0);
        assert!(scale.place(18_000.0) < 1.0);
    }

    #[test]
    fn a_scale_of_percentiles_gives_each_decade_the_same_room() {
        let scale = Scale::new(Kind::Percentile, [0.0, 99.99].into_iter());
        for (percentile, place) in [(0.0, 0.0), (90.0, 0.25), (99.0, 0.5), (99.9, 0.75), (99.99, 1.0)] {
            assert!((scale.place(percentile) - place).abs() < 1e-6, "{percentile}");
        }
    }

    #[test]
    fn values_that_are_all_alike_have_a_scale_too() {
        for kind in [Kind::Linear, Kind::Logarithmic, Kind::Percentile] {
            assert!(Scale::new(kind, [0.0, 0.0].into_iter()).place(0.0).is_finite());
            assert!(Scale::new(kind, [].into_iter()).ticks().len() < 20);
        }
    }
}
