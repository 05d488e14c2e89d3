//! Chance that repeats itself, and inputs changed by it.

/// Longest input; what is repeated often enough to be longer is cut.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Numbers and texts at which parsers break.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\r\n\r\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"%",
    b"%00",
    b"%ff",
    b"[",
    b"][",
    b"]",
    b"{",
    b"}",
    b"&",
    b"=",
    b";",
    b",",
    b":",
    b"--",
    b"*",
    b"/",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"99999999999999999999999999999999",
    b"null",
    b"true",
];

/// Numbers that look like chance; the same seed gives the same ones (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end.max(1) as u64) as usize
    }

    /// One of the inputs, changed in one to six places.
    pub fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(6) {
            self.change_once(&mut input, inputs);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change_once(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() + 1 - at).min(64);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            3 => drop(input.splice(at..end, WORDS[self.below(WORDS.len())].iter().copied())),
            4 => drop(input.drain(at..end)),
            5 => {
                let times = [2, 3, 40, 2_000][self.below(4)];
                let repeated = input[at..end].repeat(times);
                input.splice(at..end, repeated);
            }
            6 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }
}
