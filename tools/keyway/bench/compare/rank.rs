//! Whether two sets of samples differ by more than their noise: the rank test of Mann and Whitney.
//!
//! It asks only which of two samples is larger, so that neither a pause of the machine nor the shape of the noise decides.
//! Samples of neighbouring seconds are not independent of each other; the level is therefore strict, and a difference that
//! is called real should still be seen in a second pair of runs.
//!
//! Invariant: sets that are too small to tell are never called different.

/// Least samples of each set: below it no order of them is unlikely enough.
pub const SAMPLES_MIN: usize = 5;
/// A difference that noise alone shows in fewer than one of a hundred pairs is called real.
pub const LEVEL: f64 = 0.01;

/// The probability that noise alone separates two sets this far, by the normal approximation with ties and continuity
/// corrected; `None` when a set is too small to tell.
pub fn probability(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.len() < SAMPLES_MIN || other.len() < SAMPLES_MIN {
        return None;
    }
    let mut all: Vec<(f64, bool)> = one.iter().map(|value| (*value, true)).collect();
    all.extend(other.iter().map(|value| (*value, false)));
    all.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut rank_sum, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let alike = all[at..].iter().take_while(|(value, _)| *value == all[at].0).count();
        // Samples that are alike share the mean of their ranks, which count from one.
        let rank = at as f64 + f64::midpoint(1.0, alike as f64);
        rank_sum += rank * all[at..at + alike].iter().filter(|(_, is_one)| *is_one).count() as f64;
        let size = alike as f64;
        ties += size.powi(3) - size;
        at += alike;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let whole = n + m;
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (whole + 1.0 - ties / (whole * (whole - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    Some((2.0 * upper_tail(distance)).min(1.0))
}

/// The share of a normal distribution above so many deviations: Abramowitz and Stegun 26.2.17, right to 7.5e-8.
fn upper_tail(deviations: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations);
    let factors = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = factors.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    let density = (-deviations * deviations / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    density * sum
}

#[cfg(test)]
mod tests {
    use super::{LEVEL, probability, upper_tail};

    #[test]
    fn the_tail_of_the_normal_distribution_is_that_of_the_tables() {
        for (deviations, share) in [(0.0, 0.5), (1.0, 0.158_655), (1.959_964, 0.025), (3.0, 0.001_35)] {
            assert!((upper_tail(deviations) - share).abs() < 1e-5, "{deviations}");
        }
    }

    #[test]
    fn the_probability_is_the_one_reckoned_by_hand() {
        // Six of the 42 pairs are in the first set's favour; a deviation is 7, so that z is (15 - 0.5) / 7.
        let p = probability(&[1.1, 2.2, 3.3, 4.4, 5.5, 6.6], &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!(p.is_some_and(|p| (p - 0.038_32).abs() < 1e-4), "{p:?}");
    }

    #[test]
    fn noise_is_not_a_difference_and_a_step_is_one() {
        let noise = |level: f64| (0..10).map(move |n| level + f64::from(n * 7 % 10)).collect::<Vec<_>>();
        assert!(probability(&noise(100.0), &noise(100.5)).is_some_and(|p| p > 0.5));
        assert!(probability(&noise(100.0), &noise(120.0)).is_some_and(|p| p < LEVEL));
        assert_eq!(probability(&[1.0; 8], &[1.0; 8]), Some(1.0));
    }

    #[test]
    fn few_samples_tell_nothing() {
        assert_eq!(probability(&[1.0; 4], &[9.0; 40]), None);
    }
}
