//! Chance, repeatable: the same seed gives the same load.
//!
//! Invariant: nothing here is secret or unique; ids of requests come from elsewhere.

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// A stream of numbers that look random: SplitMix64.
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.unit() * bound as f64) as usize).min(bound - 1)
    }
}

/// Hexadecimal digits without an end: text that packs as badly as most ids, names and times do, and not to nothing.
pub fn hexadecimal(seed: u64) -> impl Iterator<Item = u8> {
    let (mut random, mut digits, mut left) = (Random::new(seed), 0, 0);
    std::iter::repeat_with(move || {
        if left == 0 {
            (digits, left) = (random.next(), u64::BITS / 4);
        }
        let digit = HEXADECIMAL[(digits & 15) as usize];
        (digits, left) = (digits >> 4, left - 1);
        digit
    })
}

/// Numbers of which the first are drawn more often than the others: the share of the n-th is as 1 / n^exponent.
pub struct Zipf {
    /// Shares, summed up from the first.
    sums: Vec<f64>,
}

impl Zipf {
    /// So many numbers, with this skew.
    pub fn new(count: u32, exponent: f64) -> Self {
        assert!(count > 0);
        let mut sum = 0.0;
        let share = |n: u32| f64::from(n).powf(-exponent);
        let sums = (1..=count).map(|n| {
            sum += share(n);
            sum
        });
        Self { sums: sums.collect() }
    }

    /// The next number, from 0.
    pub fn next(&self, random: &mut Random) -> usize {
        let whole = self.sums.last().copied().unwrap_or_default();
        let point = random.unit() * whole;
        self.sums.partition_point(|sum| *sum <= point).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Zipf};

    #[test]
    fn the_first_key_has_the_share_that_zipf_says() {
        let (zipf, mut random) = (Zipf::new(1_000, 1.0), Random::new(7));
        let first = (0..100_000).filter(|_| zipf.next(&mut random) == 0).count();
        // One over the thousandth harmonic number, 7.485.
        assert!((12_900..13_900).contains(&first), "{first}");
    }

    #[test]
    fn without_skew_all_keys_are_alike() {
        let (zipf, mut random) = (Zipf::new(10, 0.0), Random::new(7));
        let mut counts = [0; 10];
        (0..100_000).for_each(|_| counts[zipf.next(&mut random)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
